import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Metafile } from 'esbuild'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { bundle } from '../build.ts'

// A program of the same make as ours: one entry, roles imported when asked for, every package that we depend on.
const program = {
  'main.ts': `
    const role = process.argv[2]
    if (role === 'operator') await (await import('./operator.ts')).start()
    if (role === 'sidecar') (await import('./sidecar.ts')).start()`,
  'operator.ts': `
    import { KubeConfig } from '@kubernetes/client-node'
    import { Ajv } from 'ajv'
    import { Command } from 'commander'
    import ipaddr from 'ipaddr.js'
    import { register } from 'prom-client'
    import { Agent } from 'undici'
    import { parse } from 'yaml'
    import { sayHello } from './log.ts'
    export async function start() {
      new KubeConfig().loadFromDefault()
      const valid = new Ajv().compile({ type: 'object' })(parse('a: 1'))
      await Promise.all([new Agent().close(), register.metrics()])
      sayHello({ valid, address: ipaddr.parse('10.0.0.1').toString(), command: new Command('a').name() })
    }`,
  'sidecar.ts': `
    import { sayHello } from './log.ts'
    export const start = () => sayHello({})
    export function failingOnPurpose() { throw new Error('on purpose') }
    if (process.argv[3] === 'fail') failingOnPurpose()`,
  'log.ts': `
    import { pino } from 'pino'
    export const sayHello = (fields: object) => pino({ base: null, timestamp: false }).info(fields, 'hello')`,
}

const directory = mkdtempSync(join(tmpdir(), 'postern-bundle-'))
const output = join(directory, 'dist')
let metafile: Metafile
beforeAll(async () => {
  mkdirSync(join(directory, 'src'))
  for (const [name, text] of Object.entries(program)) writeFileSync(join(directory, 'src', name), text)
  const packages = join(directory, 'node_modules')
  symlinkSync(fileURLToPath(new URL('../node_modules', import.meta.url)), packages)
  metafile = await bundle(join(directory, 'src/main.ts'), output)
  rmSync(packages)
})
afterAll(() => rmSync(directory, { recursive: true }))

const run = (...args: string[]) => promisify(execFile)(process.execPath, [join(output, 'postern.js'), ...args])

test('runs where there are no packages', async () => {
  const { stdout, stderr } = await run('operator')
  const said = { level: 30, valid: true, address: '10.0.0.1', command: 'a', msg: 'hello' }
  expect(JSON.parse(stdout)).toEqual(said)
  expect(stderr).toBe('')
})

test('gives a role only what it uses', async () => {
  expect(JSON.parse((await run('sidecar')).stdout)).toEqual({ level: 30, msg: 'hello' })
  const packages = packagesLoadedBy('sidecar.ts')
  expect(packages).toContain('pino')
  expect(packages).not.toContain('@kubernetes/client-node')
  expect(packagesLoadedBy('operator.ts')).toContain('@kubernetes/client-node')
})

test('keeps names for stack traces', async () => {
  await expect(run('sidecar', 'fail')).rejects.toThrow(/on purpose.*at failingOnPurpose /s)
})

test('carries the licences of what is in it, and of nothing else', () => {
  const notices = readFileSync(join(output, 'NOTICES.txt'), 'utf8')
  expect(notices).toMatch(/^pino \d+\.\d+\.\d+ \(MIT\)\n\n.*MIT License/ms)
  expect(notices).toMatch(/^@kubernetes\/client-node \d+\.\d+\.\d+ \(Apache-2\.0\)$/m)
  expect(notices).not.toMatch(/^vitest /m)
})

/** Packages in the chunk of a source file and in all chunks that it imports at once. */
function packagesLoadedBy(source: string): readonly string[] {
  const start = Object.entries(metafile.outputs).find(([, { entryPoint }]) => entryPoint?.endsWith(source))?.[0]
  const seen = new Set<string>()
  const visit = (name: string): void => {
    if (seen.has(name)) return
    seen.add(name)
    for (const { path, kind } of metafile.outputs[name]?.imports ?? []) if (kind === 'import-statement') visit(path)
  }
  if (start !== undefined) visit(start)
  const inputs = [...seen].flatMap((name) => Object.keys(metafile.outputs[name]?.inputs ?? {}))
  return inputs.map((input) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(input)?.[1] ?? '')
}
