import { parse as parseYaml } from 'yaml'
import type { Parsed } from '../api/schema.ts'
import { parseSettings, type Settings } from '../api/settings.ts'

/** The settings that a YAML text holds; an empty text holds the defaults. */
export function readSettings(text: string): Parsed<Settings> {
  try {
    return parseSettings(parseYaml(text) ?? {})
  } catch (error) {
    return { ok: false, problems: [{ path: '', message: error instanceof Error ? error.message : String(error) }] }
  }
}
