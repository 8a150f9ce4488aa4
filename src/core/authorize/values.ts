/** Values of resources as a key holds them: exact ones, and beginnings. */
export interface ValueMatcher {
  readonly exact: ReadonlySet<string>
  readonly prefixes: readonly string[]
}

export const compileValues = (values: readonly string[]): ValueMatcher => ({
  exact: new Set(values.filter((value) => !value.endsWith('*'))),
  prefixes: values.filter((value) => value.endsWith('*')).map((value) => value.slice(0, -1)),
})

export const valueMatches = ({ exact, prefixes }: ValueMatcher, value: string): boolean =>
  exact.has(value) || prefixes.some((prefix) => value.startsWith(prefix))

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * The text that bytes stand for, given one character per byte. Undefined where they are not UTF-8, or have control
 * characters in them: no such value can be granted, and somebody might cut it short there.
 */
export function textOf(bytes: string): string | undefined {
  if (/[\x00-\x1f\x7f]/.test(bytes)) return undefined
  if (!/[\x80-\xff]/.test(bytes)) return bytes
  try {
    return utf8.decode(Buffer.from(bytes, 'latin1'))
  } catch {
    return undefined
  }
}
