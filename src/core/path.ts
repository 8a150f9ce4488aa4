/**
 * Request targets. Servers read one path in many ways; so what could be read in two ways is refused, one canonical form is
 * forwarded, and policy is asked about every reading that some server is known to have.
 */

/** Why a request target is refused. */
export type TargetProblem =
  | 'no-leading-slash'
  | 'char'
  | 'pct'
  | 'ctl-pct'
  | 'enc-slash'
  | 'dot-seg'
  | 'empty-seg'
  | 'param-only-seg'
  | 'utf8'

export interface Target {
  /** Unreserved characters decoded, escapes in upper case: the path that is forwarded. */
  readonly path: string
  /** With its `?`, exactly as received; empty where there is none. */
  readonly query: string
}

/** A path in which nothing can be read in two ways, save for a slash at its end. */
const plainPath = /^(?:\/[A-Za-z0-9_-]+(?:[.][A-Za-z0-9_-]+)*)*\/?$/
const forbiddenInPath = /[\x00-\x20\x7f-\xff"<>^`{|}\\#]/
const forbiddenInQuery = /[\x00-\x20\x7f-\xff#]/
const brokenEscape = /%(?![0-9A-Fa-f]{2})/
const controlEscape = /%(?:[01][0-9A-Fa-f]|7[Ff])/
const slashEscape = /%(?:2[Ff]|5[Cc])/

/** Reads a target in origin-form (RFC 9112 §3.2.1), one character per byte. */
export function readTarget(target: string): Target | TargetProblem {
  if (target.charCodeAt(0) !== 0x2f) return 'no-leading-slash'
  const mark = target.indexOf('?')
  const path = mark === -1 ? target : target.slice(0, mark)
  const query = mark === -1 ? '' : target.slice(mark)
  if (query !== '' && forbiddenInQuery.test(query)) return 'char'
  // Most paths are plain, and for them the rest has nothing to find.
  if (plainPath.test(path) && path !== '') return { path, query }
  if (forbiddenInPath.test(path)) return 'char'
  if (brokenEscape.test(path)) return 'pct'
  if (controlEscape.test(path)) return 'ctl-pct'
  if (slashEscape.test(path)) return 'enc-slash'
  const canonical = canonicalPath(path)
  return segmentProblem(canonical) ?? (isUtf8(canonical) ? { path: canonical, query } : 'utf8')
}

/** Decodes escaped unreserved characters (RFC 3986 §2.3) once, and puts the other escapes in upper case. */
export function canonicalPath(path: string): string {
  if (!path.includes('%')) return path
  return path.replace(/%([0-9A-Fa-f]{2})/g, (triplet, digits: string) => {
    const character = String.fromCharCode(Number.parseInt(digits, 16))
    return /[A-Za-z0-9._~-]/.test(character) ? character : triplet.toUpperCase()
  })
}

function segmentProblem(path: string): TargetProblem | undefined {
  const segments = path.slice(1).split('/')
  for (const [index, segment] of segments.entries()) {
    const stripped = segment.replace(/(?:;|%3[Bb]).*$/, '')
    const bare = isDots(stripped) ? stripped : withoutEnding(stripped, ['.', '%20'])
    if (bare === '.' || bare === '..') return 'dot-seg'
    if (segment === '' && index < segments.length - 1) return 'empty-seg'
    if (bare === '' && segment !== '') return 'param-only-seg'
  }
  return undefined
}

const isDots = (segment: string): boolean => /^\.+$/.test(segment)

/** A pattern would try at each dot of a long run whether it is the end: hostile paths make that slow. */
function withoutEnding(text: string, endings: readonly string[]): string {
  let end = text.length
  for (;;) {
    const ending = endings.find((candidate) => text.endsWith(candidate, end))
    if (ending === undefined || end === 0) return text.slice(0, end)
    end -= ending.length
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true })

function isUtf8(path: string): boolean {
  if (!/%[89A-Fa-f]/.test(path)) return true
  try {
    utf8.decode(Buffer.from(decodeOnce(path), 'latin1'))
    return true
  } catch {
    return false
  }
}

/**
 * The readings of a canonical path, always in the same order and number, so that a pattern's reading can be compared with
 * a path's reading of the same kind. Many are equal to each other; for most paths all but the last are equal to the first.
 */
export function readings(path: string): readonly string[] {
  if (plainPath.test(path))
    return Array.from(readers, (_, index) => (index === readers.length - 1 ? withoutTrailingSlashes(path) : path))
  return readers.map((read) => read(path))
}

const readers: readonly ((path: string) => string)[] = [
  (path) => path,
  (path) => withoutParameters(path),
  (path) => normalised(decodeOnce(path)),
  (path) => normalised(withoutParameters(decodeOnce(path))),
  (path) => normalised(decodeTwice(path)),
  (path) => normalised(withoutParameters(decodeTwice(path))),
  (path) => normalised(decodeOnce(decodeTwice(path))),
  (path) => withoutTrailingDots(normalised(decodeOnce(path))),
  (path) => normalised(decodeOnce(path).replace(/[?#].*$/s, '')),
  // Once decoded, no path has a backslash. Decoded twice it may have, and not every server takes that for a slash.
  (path) => merged(decodeTwice(path)),
  (path) => merged(withoutParameters(decodeTwice(path))),
  (path) => merged(decodeOnce(decodeTwice(path))),
  (path) => withoutTrailingSlashes(path),
]

const withoutParameters = (path: string): string => path.replace(/(?:;|%3[Bb])[^/]*/g, '')
/** One character per byte. */
export const decodeOnce = (path: string): string =>
  path.includes('%')
    ? path.replace(/%([0-9A-Fa-f]{2})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)))
    : path
const decodeTwice = (path: string): string => decodeOnce(decodeOnce(path))
const withoutTrailingSlashes = (path: string): string => withoutEnding(path, ['/']) || '/'

const withoutTrailingDots = (path: string): string =>
  path
    .split('/')
    .map((segment) => (isDots(segment) ? segment : withoutEnding(segment, ['.', ' '])))
    .join('/')

const normalised = (path: string): string => merged(path.replaceAll('\\', '/'))

/** Without dot segments and empty ones. */
function merged(path: string): string {
  const kept: string[] = []
  const segments = path.split('/').slice(1)
  const last = segments.at(-1)
  for (const segment of segments) {
    if (segment === '..') kept.pop()
    else if (segment !== '' && segment !== '.') kept.push(segment)
  }
  const endsInSlash = last === '' || last === '.' || last === '..'
  return kept.length === 0 ? '/' : `/${kept.join('/')}${endsInSlash ? '/' : ''}`
}
