import { readFile } from 'node:fs/promises'
import { parseSettings, type Settings } from '../api/settings.ts'
import { readSettings } from '../core/settings.ts'
import { UsageError } from '../runtime/usage-error.ts'

/** Throws an Error that names the file and every problem in it. */
export async function loadSettings(file: string | undefined): Promise<Settings> {
  const parsed = file === undefined ? parseSettings({}) : readSettings(await readFile(file, 'utf8'))
  if (parsed.ok) return parsed.value
  throw new UsageError(parsed.problems.map(({ path, message }) => `${file}: settings${path}: ${message}`).join('\n'))
}
