import { readdirSync, readFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { dirname, join, normalize } from 'node:path'
import { describe, expect, test } from 'vitest'

/** The layers, and whom each may import besides itself. A folder that is not here may not be there. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  api: [],
  core: ['api'],
  runtime: [],
  kube: ['api', 'runtime'],
  operator: ['api', 'core', 'kube', 'runtime'],
  sidecar: ['api', 'core', 'runtime'],
  cli: ['api', 'core', 'kube', 'runtime'],
  standalone: ['api', 'core', 'kube', 'runtime', 'operator', 'sidecar'],
  // Beside these, the roles' composition roots, each loaded when it is asked for.
  'main.ts': ['runtime'],
}

/** One package, one home: files, or folders with a slash at the end. */
const homes: Readonly<Record<string, readonly string[]>> = {
  ajv: ['api/schema.ts'],
  commander: ['main.ts', 'cli/'],
  'ipaddr.js': ['core/address.ts'],
  pino: ['runtime/log.ts'],
  'prom-client': ['runtime/metrics.ts'],
  undici: ['kube/transport.ts'],
  yaml: ['api/crd.ts', 'core/manifest.ts', 'core/settings.ts', 'kube/credentials.ts'],
  '@kubernetes/client-node': ['kube/client.ts', 'kube/transport.ts', 'kube/credentials.ts'],
}

/** What the pure layers may use of Node: the same answer for the same input, and nothing that waits. */
const pureModules: Readonly<Record<string, readonly string[]>> = { api: [], core: ['node:crypto', 'node:zlib'] }

const fromCrypto = [
  'createHash',
  'createHmac',
  'createPrivateKey',
  'createPublicKey',
  'hash',
  'KeyObject',
  'sign',
  'timingSafeEqual',
  'verify',
]

interface Import {
  readonly target: string
  readonly names: string
  readonly isType: boolean
  readonly isDynamic: boolean
}

interface Source {
  readonly file: string
  readonly layer: string
  /** Without comments and the text of strings, so that words in prose are not taken for code. */
  readonly code: string
  readonly imports: readonly Import[]
}

const root = join(import.meta.dirname, '../src')
const sources = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .sort()
  .map((file) => readSource(file, readFileSync(join(root, file), 'utf8')))
const files = new Set(sources.map(({ file }) => file))

function readSource(file: string, text: string): Source {
  const bare = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|[^:'"`\\])\/\/.*$/gm, '$1')
  const statements = /^(import|export)\s+(type\s+)?(?:([\w*{][^;'"]*?)\s+from\s+)?'([^']+)'/gm
  const fixed = [...bare.matchAll(statements)].map(([, , type, names = '', target]) => ({
    target: target!,
    names,
    // A list in which every name is a type leaves nothing at run time either.
    isType: type !== undefined || /^\{(\s*type [^,}]+,?)+\s*\}$/.test(names),
    isDynamic: false,
  }))
  const dynamic = [...bare.matchAll(/\bimport\('([^']+)'\)/g)].map(([, target]) => ({
    target: target!,
    names: '',
    isType: false,
    isDynamic: true,
  }))
  const code = bare.replace(/'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"/g, "''")
  return { file, layer: layerOf(file), code, imports: [...fixed, ...dynamic] }
}

function layerOf(file: string): string {
  return file.split('/')[0]!
}

const resolve = ({ file }: Source, target: string): string => normalize(join(dirname(file), target))
const isOwn = ({ target }: Import): boolean => target.startsWith('.')
const isStart = (file: string): boolean => file.endsWith('/start.ts')
const packageOf = (target: string): string => target.split('/', target.startsWith('@') ? 2 : 1).join('/')
const isWithin = (file: string, places: readonly string[]): boolean =>
  places.some((place) => (place.endsWith('/') ? file.startsWith(place) : file === place))

/** Violations of a rule over all imports, as lines that say who does what. */
const offences = (offends: (source: Source, imported: Import) => boolean): string[] =>
  sources.flatMap((source) =>
    source.imports
      .filter((imported) => offends(source, imported))
      .map(({ target }) => `src/${source.file} imports ${target}`),
  )

const withCode = (pattern: RegExp, where: (source: Source) => boolean = () => true): string[] =>
  sources.filter((source) => where(source) && pattern.test(source.code)).map(({ file }) => `src/${file}`)

const isPure = ({ layer }: Source): boolean => layer in pureModules

test('the sources are found and read', () => {
  expect(sources.length).toBeGreaterThan(50)
  const decide = sources.find(({ file }) => file === 'core/authorize/decide.ts')!
  expect(decide.imports.filter(({ isType }) => !isType).map(({ target }) => target)).toContain('../path.ts')
  expect(decide.imports.find(({ target }) => target === './decision.ts')?.isType).toBe(true)
})

test('every folder is a layer of the table', () => {
  expect([...new Set(sources.map(({ layer }) => layer))].filter((layer) => !(layer in mayImport))).toEqual([])
})

test('imports of our own name an existing file', () => {
  expect(offences((source, imported) => isOwn(imported) && !files.has(resolve(source, imported.target)))).toEqual([])
})

test('layers import only those below them', () => {
  const offends = (source: Source, imported: Import): boolean => {
    if (!isOwn(imported)) return false
    const target = resolve(source, imported.target)
    if (source.file === 'main.ts' && imported.isDynamic && isStart(target)) return false
    return ![source.layer, ...mayImport[source.layer]!].includes(layerOf(target))
  }
  expect(offences(offends)).toEqual([])
})

test('the table itself has no cycle', () => {
  const below = (layer: string, path: readonly string[] = []): readonly string[] =>
    path.includes(layer)
      ? [[...path, layer].join(' → ')]
      : mayImport[layer]!.flatMap((next) => below(next, [...path, layer]))
  expect(Object.keys(mayImport).flatMap((layer) => below(layer))).toEqual([])
})

test('rooms of the core do not import each other', () => {
  const room = (file: string): string | undefined => /^core\/([^/]+)\//.exec(file)?.[1]
  const offends = (source: Source, imported: Import): boolean => {
    const [from, to] = [room(source.file), isOwn(imported) ? room(resolve(source, imported.target)) : undefined]
    // What lies beside the rooms is what they share: it knows none of them.
    return source.layer === 'core' && to !== undefined && from !== to
  }
  expect(offences(offends)).toEqual([])
})

test('composition roots are leaves', () => {
  const offends = (source: Source, imported: Import): boolean => {
    if (!isOwn(imported)) return false
    const target = resolve(source, imported.target)
    if (target === 'main.ts') return true
    return isStart(target) && source.file !== 'main.ts' && source.layer !== 'standalone'
  }
  expect(offences(offends)).toEqual([])
})

test('each package has one home', () => {
  const offends = ({ file }: Source, { target }: Import): boolean =>
    !target.startsWith('.') && !target.startsWith('node:') && !isWithin(file, homes[packageOf(target)] ?? [])
  expect(offences(offends)).toEqual([])
})

test('modules of Node are named as such', () => {
  expect(offences((_, { target }) => builtinModules.includes(target))).toEqual([])
})

test('the home of every package is used, and every dependency has one', () => {
  const manifest = JSON.parse(readFileSync(join(root, '../package.json'), 'utf8')) as { dependencies: object }
  const used = new Set(sources.flatMap(({ imports }) => imports.map(({ target }) => packageOf(target))))
  expect(Object.keys(manifest.dependencies).filter((name) => !used.has(name) || !(name in homes))).toEqual([])
})

test('api and core use of Node what needs neither a clock nor a disk', () => {
  const offends = (source: Source, { target }: Import): boolean =>
    isPure(source) && target.startsWith('node:') && !pureModules[source.layer]!.includes(target)
  expect(offences(offends)).toEqual([])
})

test('the core draws no randomness', () => {
  const offends = (source: Source, { target, names }: Import): boolean =>
    isPure(source) &&
    target === 'node:crypto' &&
    names
      .replace(/[{}]|\btype\b/g, '')
      .split(',')
      .some((name) => name.trim() !== '' && !fromCrypto.includes(name.trim()))
  expect(offences(offends)).toEqual([])
})

describe('what the core cannot reach', () => {
  test.each([
    ['a clock', /\bDate\.now\b|\bperformance\b|\bDate\(\)|new Date(?!\()/],
    ['randomness', /\bMath\.random\b|\brandomUUID\b|\bgetRandomValues\b/],
    ['timers', /\b(?:setTimeout|setInterval|setImmediate|queueMicrotask)\b/],
    ['the process', /\bprocess\./],
    ['the network', /\bfetch\(|\bWebSocket\b/],
    ['a log', /\bconsole\./],
    ['waiting', /\basync\b|\bawait\b|\bPromise\b/],
  ])('%s', (_, pattern) => {
    expect(withCode(pattern, isPure)).toEqual([])
  })
})

test('the environment is read in main.ts alone', () => {
  expect(withCode(/\bprocess\.env\b|\bprocess\.argv\b/, ({ file }) => file !== 'main.ts')).toEqual([])
})

test('only main.ts writes to the console or ends the process', () => {
  expect(withCode(/\bconsole\.|\bprocess\.exit\b|\bprocess\.std/, ({ file }) => file !== 'main.ts')).toEqual([])
})

test('importing a module does nothing', () => {
  // A statement at the left margin is a declaration, an import or an export; main.ts is there to act.
  const acts = ({ file, code }: Source): string[] =>
    code
      .replace(/`(?:[^`\\]|\\.)*`/g, '``')
      .split('\n')
      .filter((line) => /^[A-Za-z_$([]/.test(line))
      .filter(
        (line) => !/^(?:import|export|const|(?:async )?function\*?|class|interface|type|declare|abstract)\b/.test(line),
      )
      .map((line) => `src/${file}: ${line}`)
  expect(sources.filter(({ file }) => file !== 'main.ts').flatMap(acts)).toEqual([])
  // A constant may be computed; it may not be a connection, a file or a timer.
  expect(
    withCode(
      /^(?:export )?const \w+[^=\n]*= (?:await |new (?:Pool|Agent|Server|Socket|Registry)|create(?:Server|Log|Metrics|Pool)|connect\(|set(?:Timeout|Interval)\()/m,
    ),
  ).toEqual([])
})

test('nothing is re-exported: a name has one place', () => {
  expect(withCode(/^export (?:type )?(?:\*|\{[^}]*\})\s*from\b/m)).toEqual([])
})

test('names of files say what is in them', () => {
  const vague = /(?:^|[/-])(?:utils?|helpers?|common|misc|types|services?|managers?|index|shared)(?:[/.-]|$)/
  expect([...files].filter((file) => vague.test(file))).toEqual([])
  expect([...files].filter((file) => !/^(?:[a-z0-9-]+\/)*[a-z0-9-]+\.ts$/.test(file))).toEqual([])
})

test('no module needs itself at run time', () => {
  const needs = new Map(
    sources.map((source) => [
      source.file,
      source.imports
        .filter((imported) => isOwn(imported) && !imported.isType && !imported.isDynamic)
        .map(({ target }) => resolve(source, target)),
    ]),
  )
  const done = new Set<string>()
  const cycles: string[] = []
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) cycles.push([...path.slice(path.indexOf(file)), file].join(' → '))
    if (done.has(file) || path.includes(file)) return
    for (const next of needs.get(file) ?? []) visit(next, [...path, file])
    done.add(file)
  }
  for (const file of needs.keys()) visit(file, [])
  expect(cycles).toEqual([])
})
