import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compileHosts, hostMatches, parseHost } from '../src/core/host.ts'
import { anyReadingMatches, compileRule, everyReadingMatches, patternProblem, readPath } from '../src/core/match.ts'
import { readTarget } from '../src/core/path.ts'

const allows = (patterns: readonly string[], path: string, method = 'GET', methods?: readonly string[]): boolean =>
  everyReadingMatches([compileRule({ paths: patterns, ...(methods && { methods }) })], method, readPath(path))
const denies = (patterns: readonly string[], path: string, method = 'GET', methods?: readonly string[]): boolean =>
  anyReadingMatches([compileRule({ paths: patterns, ...(methods && { methods }) })], method, readPath(path))

describe('patterns that allow', () => {
  test.each<[pattern: string, path: string, allowed: boolean]>([
    ['/', '/', true],
    ['/', '/a', false],
    ['/orders', '/orders', true],
    ['/orders', '/orders/', false],
    ['/orders/', '/orders/', true],
    ['/orders/', '/orders', false],
    ['/orders', '/Orders', false],
    ['/Orders', '/Orders', true],
    ['/orders', '/orders/1', false],
    ['/orders/*', '/orders/1', true],
    ['/orders/*', '/orders/', false],
    ['/orders/*', '/orders', false],
    ['/orders/*', '/orders/1/2', false],
    ['/orders/{id}', '/orders/1', true],
    ['/orders/{id}/items', '/orders/1/items', true],
    ['/orders/{id}/items', '/orders//items', false],
    ['/*/*', '/a/b', true],
    ['/*/*', '/a', false],
    ['/**', '/', true],
    ['/**', '/a', true],
    ['/**', '/a/b/', true],
    ['/orders/**', '/orders', true],
    ['/orders/**', '/orders/', true],
    ['/orders/**', '/orders/1/2', true],
    ['/orders/**', '/ordersx', false],
    ['/orders/{id}/**', '/orders', false],
    ['/orders/{id}/**', '/orders/1', true],
    ['/a%20b', '/a%20b', true],
    ['/a%20b', '/a+b', false],
    ['/a;v=1/b', '/a;v=1/b', true],
    ['/%2A', '/%2A', true],
    ['/%2A', '/x', false],
    ['/%7Bid%7D', '/%7Bid%7D', true],
    ['/%7Bid%7D', '/x', false],
    // What some server would read as something else is not allowed by what it looks like.
    ['/a/*', '/a/x%3Fy', true],
    ['/a/x', '/a/x;v=1', false],
    ['/a/*', '/a/%252e%252e', false],
    ['/a/**', '/a/%252e%252e/b', false],
    ['/a/**', '/a/%252Fb', true],
    ['/a/*', '/a/x%252Fy', false],
    ['/a/x', '/a/x.', false],
  ])('%s, %s: %s', (pattern, path, allowed) => expect(allows([pattern], path)).toBe(allowed))

  test('several patterns may share the readings of one path among them', () => {
    expect(allows(['/a/*', '/a/*/*'], '/a/x%252Fy')).toBe(true)
  })

  test('no pattern allows nothing, and no list of patterns everything', () => {
    expect(allows([], '/')).toBe(false)
    expect(everyReadingMatches([], 'GET', readPath('/'))).toBe(false)
    expect(everyReadingMatches([compileRule({})], 'ANY', readPath('/x'))).toBe(true)
  })
})

describe('patterns that deny', () => {
  test.each<[pattern: string, path: string, denied: boolean]>([
    ['/admin', '/admin', true],
    ['/admin', '/admin/', true],
    ['/admin/', '/admin', true],
    ['/admin', '/ADMIN', true],
    ['/Admin', '/admin', true],
    ['/admin', '/admin.', true],
    ['/admin', '/admin%20', true],
    ['/admin', '/admin;x=1', true],
    ['/admin', '/admin%3Bx', true],
    ['/admin', '/admin%3Fx', true],
    ['/admin', '/admin%23x', true],
    ['/admin', '/%2561dmin', true],
    ['/admin', '/%252561dmin', true],
    ['/admin', '/x/%252e%252e/admin', true],
    ['/admin', '/x;y/%252e%252e/admin', true],
    ['/admin/**', '/admin%252Fx', true],
    ['/admin/**', '/admin%255Cx', true],
    ['/%C3%A9t%C3%A9', '/%C3%89T%C3%89', true],
    ['/a%20b', '/a%20b', true],
    ['/a%20b', '/A%20B', true],
    ['/admin', '/administrator', false],
    ['/admin', '/x/admin', false],
    ['/admin', '/admin/x', false],
    ['/*/secret', '/a/SECRET', true],
    ['/{tenant}/secret', '/a/b/secret', false],
    ['/%2A', '/anything', false],
    ['/%7Bx%7D', '/anything', false],
    ['/%2A', '/%2A', true],
    ['/%2A', '/*', true],
  ])('%s, %s: %s', (pattern, path, denied) => expect(denies([pattern], path)).toBe(denied))
})

describe('methods', () => {
  test.each<[methods: readonly string[] | undefined, method: string, matches: boolean]>([
    [undefined, 'DELETE', true],
    [['GET'], 'GET', true],
    [['GET'], 'HEAD', true],
    [['HEAD'], 'HEAD', true],
    [['HEAD'], 'GET', false],
    [['GET'], 'POST', false],
    [['GET'], 'OPTIONS', false],
    [['POST', 'OPTIONS'], 'OPTIONS', true],
    [['GET'], 'get', false],
  ])('%j, %s: %s', (methods, method, matches) => {
    expect(allows(['/**'], '/', method, methods)).toBe(matches)
    expect(denies(['/**'], '/', method, methods)).toBe(matches)
  })
})

describe('patterns that would not match what they seem to say', () => {
  test.each<[pattern: string, problem: string | undefined]>([
    ['/orders/{id}/**', undefined],
    ['/**', undefined],
    ['/a%20b/*', undefined],
    ['/a%2Fb', 'enc-slash'],
    ['/a/../b', 'dot-seg'],
    ['/a//b', 'empty-seg'],
    ['/%41', '/A'],
    ['/%7E', '/~'],
    ['/%00', 'ctl-pct'],
    ['/%FF', 'utf8'],
    ['/a.../;x', 'param-only-seg'],
  ])('%s: %s', (pattern, problem) => {
    if (problem === undefined) expect(patternProblem(pattern)).toBeUndefined()
    else expect(patternProblem(pattern)).toContain(problem)
  })
})

// Servers as they are: each makes its own of the path that it receives.

const decode = (text: string): string =>
  text.replace(/%([0-9A-Fa-f]{2})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)))
const withoutParameters = (text: string): string => text.replace(/;[^/]*/g, '')
const mergeSlashes = (text: string): string => text.replace(/\/+/g, '/')
const backslashes = (text: string): string => text.replaceAll('\\', '/')
const trimDots = (text: string): string => text.replace(/(?<=[^/. ])[. ]+(?=\/|$)/g, '')
function dotSegments(text: string): string {
  const out: string[] = []
  const segments = text.split('/').slice(1)
  for (const [at, segment] of segments.entries()) {
    if (segment === '..') out.pop()
    else if (segment !== '.') out.push(segment)
    if (at === segments.length - 1 && (segment === '.' || segment === '..')) out.push('')
  }
  return `/${out.join('/')}`
}
const clean = (text: string): string => dotSegments(mergeSlashes(text))

const servers: Readonly<Record<string, (path: string) => string>> = {
  'takes it as it is': (path) => path,
  'decodes once': (path) => clean(decode(path)),
  'decodes twice, as behind a decoding proxy': (path) => clean(decode(decode(path))),
  'decodes three times': (path) => clean(decode(decode(decode(path)))),
  'strips parameters, then decodes': (path) => clean(decode(withoutParameters(path))),
  'decodes, then strips parameters': (path) => clean(withoutParameters(decode(path))),
  'decodes twice, then strips parameters': (path) => clean(withoutParameters(decode(decode(path)))),
  'takes backslashes for slashes': (path) => clean(backslashes(decode(path))),
  'takes decoded backslashes for slashes': (path) => clean(backslashes(decode(decode(path)))),
  'has a file system that ignores case': (path) => clean(decode(path)).toLowerCase(),
  'has a file system that ignores dots and spaces at ends': (path) => trimDots(clean(decode(path))),
  'cuts at a decoded question mark': (path) => clean(decode(path).split('?')[0]!),
  'cuts at a decoded number sign': (path) => clean(decode(path).split('#')[0]!),
  'does not mind a slash at the end': (path) => path.replace(/\/$/, '') || '/',
}

const name = fc.constantFrom('a', 'b', 'admin', 'secret', 'x.y')
const plain = fc.array(name, { minLength: 1, maxLength: 3 }).map((names) => `/${names.join('/')}`)
const pattern = fc.tuple(plain, fc.constantFrom('', '', '/**', '/*', '/')).map(([path, end]) => path + end)

/** Ways to write a path so that one server or another still finds the same thing. */
const spell: readonly ((path: string, at: number) => string)[] = [
  (path) => path,
  (path, at) => escapeAt(path, at),
  (path, at) => escapeAt(path, at).replace('%', '%25'),
  (path, at) => escapeAt(path, at).replace('%', '%2525'),
  (path, at) => insertAt(path, at, '/%252e'),
  (path, at) => insertAt(path, at, '/b/%252e%252e'),
  (path, at) => insertAt(path, at, '/b/%2e%252E'),
  (path, at) => insertAt(path, at, ';v=1'),
  (path, at) => insertAt(path, at, '%3Bv'),
  (path, at) => insertAt(path, at, '%253bv'),
  (path) => path.replace(/\/([^/]*)$/, '%252F$1'),
  (path) => path.replace(/\/([^/]*)$/, '%255c$1'),
  (path) => path.toUpperCase(),
  (path) => `${path}.`,
  (path) => `${path}%20`,
  (path) => `${path}%3Fq`,
  (path) => `${path}%23f`,
  (path) => `${path}/`,
  (path) => `${path}/%2e`,
]
function escapeAt(path: string, place: number): string {
  const letters = [...path.matchAll(/(?<!%.?)[a-z](?!%)/gi)].map(({ index }) => index)
  const at = letters[place % Math.max(letters.length, 1)]
  if (at === undefined) return path
  return `${path.slice(0, at)}%${path.charCodeAt(at).toString(16)}${path.slice(at + 1)}`
}
function insertAt(path: string, place: number, text: string): string {
  const ends = [...path.matchAll(/(?<=[^/])(?=\/|$)/g)].map(({ index }) => index)
  const at = ends[place % Math.max(ends.length, 1)] ?? path.length
  return path.slice(0, at) + text + path.slice(at)
}

const spelling = fc
  .tuple(plain, fc.array(fc.tuple(fc.constantFrom(...spell), fc.nat(20)), { maxLength: 3 }))
  .map(([path, changes]) => changes.reduce((text, [change, at]) => change(text, at), path))

/** Whether a pattern means what a server resolves to, as a person would read the pattern. */
function means(text: string, resolved: string): boolean {
  const [segments, path] = [text.split('/').slice(1), resolved.split('/').slice(1)]
  const rest = segments.at(-1) === '**'
  if (rest) segments.pop()
  if (rest ? path.length < segments.length : path.length !== segments.length) return false
  return segments.every((segment, at) => (segment === '*' ? path[at] !== '' : segment === path[at]))
}

test('nothing that any server would resolve to a denied path is let through', () => {
  const seen = new Map<string, number>()
  fc.assert(
    fc.property(fc.array(pattern, { minLength: 1, maxLength: 3 }), spelling, (patterns, text) => {
      const target = readTarget(text)
      if (typeof target === 'string') return
      for (const [server, resolve] of Object.entries(servers)) {
        const resolved = resolve(target.path)
        if (!patterns.some((denied) => means(denied, resolved))) continue
        seen.set(server, (seen.get(server) ?? 0) + 1)
        expect([server, text, denies(patterns, target.path)]).toEqual([server, text, true])
      }
    }),
    { numRuns: 6000 },
  )
  // Every server was fooled now and then, or the spellings are too tame.
  expect(Object.keys(servers).filter((server) => (seen.get(server) ?? 0) < 20)).toEqual([])
})

test('what is allowed lies within the patterns, whoever serves it', () => {
  let allowed = 0
  const caseless = (server: string): boolean => server.includes('ignores case')
  fc.assert(
    fc.property(fc.array(pattern, { minLength: 1, maxLength: 3 }), spelling, (patterns, text) => {
      const target = readTarget(text)
      if (typeof target === 'string' || !allows(patterns, target.path)) return
      allowed += 1
      for (const [server, resolve] of Object.entries(servers)) {
        if (caseless(server)) continue
        const resolved = resolve(target.path)
        // A slash at the end is no other thing to a server that does not mind it.
        const within = patterns.some((granted) => means(granted, resolved) || means(granted, `${resolved}/`))
        expect([server, text, resolved, within]).toEqual([server, text, resolved, true])
      }
    }),
    { numRuns: 6000 },
  )
  expect(allowed).toBeGreaterThan(80)
})

describe('hosts', () => {
  test.each<[text: string, host: string | undefined]>([
    ['a.example', 'a.example'],
    ['A.Example', 'a.example'],
    ['a.example.', 'a.example'],
    ['a.example:8080', 'a.example'],
    ['a.example.:8080', 'a.example'],
    ['10.0.0.1:80', '10.0.0.1'],
    ['[2001:DB8::1]', '[2001:db8::1]'],
    ['[::1]:8080', '[::1]'],
    ['my_service', 'my_service'],
    ['', undefined],
    ['a..', undefined],
    ['.a', undefined],
    ['a:', undefined],
    ['a:b', undefined],
    ['a:123456', undefined],
    ['a/b', undefined],
    ['user@a', undefined],
    ['a,b', undefined],
    ['a b', undefined],
    ['a;b', undefined],
    ['"a"', undefined],
    ['é', undefined],
    ['2001:db8::1', undefined],
    ['[::1', undefined],
    ['[::1]x', undefined],
    ['[::g]', undefined],
    ['[:::]', undefined],
    ['[10.0.0.1]', undefined],
    ['[fe80::1%eth0]', undefined],
  ])('%j is read as %j', (text, host) => expect(parseHost(text)).toBe(host))

  test.each<[hosts: readonly string[], host: string, matches: boolean]>([
    [[], 'anything', true],
    [['a.example'], 'a.example', true],
    [['a.example'], 'b.a.example', false],
    [['*.example'], 'a.example', true],
    [['*.example'], 'b.a.example', false],
    [['*.example'], 'example', false],
    [['*.example'], '.example', false],
    [['a.example', '*.b.example'], 'x.b.example', true],
  ])('%j, %s: %s', (hosts, host, matches) => expect(hostMatches(compileHosts(hosts), host)).toBe(matches))

  test('many hosts are compared as few are', () => {
    const hosts = Array.from({ length: 500 }, (_, number) => `h${number}.example`)
    expect(hostMatches(compileHosts(hosts), parseHost('H499.EXAMPLE.:80')!)).toBe(true)
  })
})
