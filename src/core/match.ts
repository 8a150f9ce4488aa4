import type { RequestMatch } from '../api/access-policy.ts'
import { decodeOnce, readings, readTarget } from './path.ts'

/** Requests by method and path, compiled. */
export interface RequestRule {
  readonly methods: ReadonlySet<string> | undefined
  readonly patterns: readonly PathPattern[] | undefined
}

/** A path in each of its readings, split into segments. Equal readings are the same array. */
export interface PathReadings {
  readonly exact: readonly Segments[]
  /** In lower case. */
  readonly folded: readonly Segments[]
}

type Segments = readonly string[]

interface PathPattern {
  readonly exact: readonly PatternSegments[]
  readonly folded: readonly PatternSegments[]
  /** The names of segments as written, by position: `{id}` of `/orders/{id}` is at 1. */
  readonly names: ReadonlyMap<string, number>
}

interface PatternSegments {
  /** Undefined stands for any one segment. */
  readonly segments: readonly (string | undefined)[]
  /** Whether any further segments may follow. */
  readonly rest: boolean
}

/** Why a path pattern cannot be used: a pattern that is not in canonical form would never match what it seems to say. */
export function patternProblem(pattern: string): string | undefined {
  const sample = pattern.replace(/\/\{[^/]*\}/g, '/x').replace(/\/\*{1,2}(?=\/|$)/g, '/x')
  const target = readTarget(sample)
  if (typeof target === 'string') return `is not a canonical path (${target})`
  return target.path === sample && target.query === ''
    ? undefined
    : `is not in canonical form: it would read ${target.path}`
}

export const compileRule = (match: RequestMatch): RequestRule => ({
  methods: match.methods && new Set(match.methods),
  patterns: match.paths?.map(compilePattern),
})

export function readPath(path: string): PathReadings {
  const read = memoised((reading) => reading.slice(1).split('/'))
  const all = readings(path)
  return { exact: all.map(read), folded: all.map((reading) => read(fold(reading))) }
}

/** Whether the rules admit the request in every reading of its path. */
export function everyReadingMatches(rules: readonly RequestRule[], method: string, path: PathReadings): boolean {
  const applicable = rules.filter((rule) => methodMatches(rule, method))
  return path.exact.every((segments, reading) =>
    applicable.some(
      (rule) => !rule.patterns || rule.patterns.some((pattern) => segmentsMatch(pattern.exact[reading]!, segments)),
    ),
  )
}

/** Whether the rules concern the request in any reading of its path, upper and lower case being the same. */
export function anyReadingMatches(rules: readonly RequestRule[], method: string, path: PathReadings): boolean {
  return rules.some(
    (rule) =>
      methodMatches(rule, method) &&
      (!rule.patterns ||
        rule.patterns.some((pattern) =>
          path.exact.some(
            (segments, reading) =>
              segmentsMatch(pattern.exact[reading]!, segments) ||
              segmentsMatch(pattern.folded[reading]!, path.folded[reading]!),
          ),
        )),
  )
}

/**
 * What stands in the path where patterns that match have the segment `{name}`, decoded, one character per byte. Undefined
 * where no such pattern matches; null where readings, or patterns, differ on what it is.
 */
export function namedSegment(
  rules: readonly RequestRule[],
  method: string,
  path: PathReadings,
  name: string,
): string | null | undefined {
  let found: string | undefined
  for (const rule of rules) {
    if (!methodMatches(rule, method)) continue
    for (const { exact, names } of rule.patterns ?? []) {
      const at = names.get(name)
      if (at === undefined || !path.exact.some((segments, reading) => segmentsMatch(exact[reading]!, segments)))
        continue
      for (const segments of path.exact) {
        const value = decodeOnce(segments[at] ?? '')
        if (value === '' || (found !== undefined && found !== value)) return null
        found = value
      }
    }
  }
  return found
}

/** HEAD is allowed and refused where GET is (RFC 9110 §9.3.2). */
const methodMatches = ({ methods }: RequestRule, method: string): boolean =>
  methods === undefined || methods.has(method) || (method === 'HEAD' && methods.has('GET'))

function compilePattern(pattern: string): PathPattern {
  const rest = pattern.endsWith('/**')
  const fixed = rest ? pattern.slice(0, -3) || '/' : pattern
  const all = readings(fixed.replace(/\/(?:\*|\{[^/]*\})(?=\/|$)/g, `/${wildcard}`))
  const read = (change: (segment: string) => string) =>
    memoised(
      (reading): PatternSegments => ({
        segments: (reading === '/' && rest ? [] : reading.slice(1).split('/')).map((segment) =>
          segment === wildcard ? undefined : change(segment),
        ),
        rest,
      }),
    )
  const names = pattern
    .split('/')
    .slice(1)
    .map((segment) => /^\{(.*)\}$/.exec(segment)?.[1])
  return {
    exact: all.map(read((segment) => segment)),
    folded: all.map(read(fold)),
    names: new Map(names.flatMap((name, at) => (name === undefined ? [] : [[name, at]]))),
  }
}

/** Stands for `*` and `{name}` while a pattern is read: no escape decodes to it, as `%2A` would to `*`. */
const wildcard = '\uffff'

function segmentsMatch({ segments, rest }: PatternSegments, path: Segments): boolean {
  if (rest ? path.length < segments.length : path.length !== segments.length) return false
  return segments.every((segment, index) => (segment === undefined ? path[index] !== '' : segment === path[index]))
}

/** Lower case of the text that the bytes encode, where they encode one. */
const fold = (path: string): string =>
  (/^[\x00-\x7f]*$/.test(path) ? path : Buffer.from(path, 'latin1').toString('utf8')).toLowerCase()

function memoised<T>(make: (text: string) => T): (text: string) => T {
  const made = new Map<string, T>()
  return (text) => {
    if (!made.has(text)) made.set(text, make(text))
    return made.get(text)!
  }
}
