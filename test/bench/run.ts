/** `npm run bench -- NAME [--json FILE]`: runs one measurement, and prints its table. */

import { writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'

const benches: Readonly<Record<string, () => Promise<object[]>>> = {
  decide: async () => (await import('./decide.ts')).decideBench(),
  decisions: async () => (await import('./decisions.ts')).decisionsBench(),
  keys: async () => (await import('./keys.ts')).keysBench(),
  proxy: async () => (await import('./proxy.ts')).proxyBench(),
}

const { positionals, values } = parseArgs({ allowPositionals: true, options: { json: { type: 'string' } } })
const [name = ''] = positionals
const bench = Object.hasOwn(benches, name) ? benches[name] : undefined
if (positionals.length !== 1 || !bench) {
  process.stderr.write(`usage: npm run bench -- ${Object.keys(benches).join(' | ')} [--json FILE]\n`)
  process.exit(2)
}
const rows = await bench()
console.table(rows)
if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(rows, null, 2)}\n`)
