import { textOf } from './values.ts'

/**
 * The values of a query parameter. Undefined where another reader could find other ones: under a name that only some take
 * for this one (`model[]`, `Model`, `mo%64el` decoded twice), behind a semicolon, or in another decoding.
 *
 * @param query with its question mark, one character per byte; empty where there is none
 */
export function queryValues(query: string, name: string): readonly string[] | undefined {
  const values: string[] = []
  for (const part of query.slice(1).split('&')) {
    if (part === '') continue
    const pieces = part.split(';')
    const names = pieces.map(nameOf)
    if (names[0] === name && pieces.length === 1) {
      const equals = part.indexOf('=')
      const value = decodings(equals === -1 ? '' : part.slice(equals + 1))
      if (value === undefined) return undefined
      values.push(...value)
    } else if (names.some((other) => isTakenFor(other, name))) {
      return undefined
    }
  }
  return values
}

const nameOf = (part: string): string => {
  const equals = part.indexOf('=')
  return equals === -1 ? part : part.slice(0, equals)
}

/** Upper and lower case, array brackets, leading blanks, and the characters that PHP makes underscores of. */
function isTakenFor(other: string, name: string): boolean {
  const normal = (text: string): string =>
    text
      .toLowerCase()
      .replace(/^[ +]+/, '')
      .replace(/[[\0].*$/s, '')
      .replace(/[ +.]/g, '_')
  const once = percentDecoded(other) ?? other
  return [other, once, percentDecoded(once) ?? once].some((reading) => normal(reading) === normal(name))
}

/** A plus is a blank in forms and a plus elsewhere: both readings. Undefined where decoding again would make a difference. */
function decodings(raw: string): readonly string[] | undefined {
  const decoded = percentDecoded(raw)
  if (decoded === undefined || /%[0-9A-Fa-f]{2}/.test(decoded)) return undefined
  const text = textOf(decoded)
  if (text === undefined) return undefined
  if (!raw.includes('+')) return [text]
  const asForm = textOf(percentDecoded(raw.replaceAll('+', ' '))!)
  return asForm === undefined ? undefined : [text, asForm]
}

/** Undefined where an escape is broken. */
const percentDecoded = (text: string): string | undefined =>
  /%(?![0-9A-Fa-f]{2})/.test(text)
    ? undefined
    : text.replace(/%([0-9A-Fa-f]{2})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)))
