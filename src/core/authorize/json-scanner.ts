/** What a pointer leads to: a string, null for any other value, undefined for nothing. */
export type PointedValue = string | null | undefined

/** Parsers differ on how deep they go, and nobody names a resource there. */
const maxDepth = 128
/** Longer numbers mean something else to every parser. */
const maxScalarBytes = 256

interface Container {
  readonly isObject: boolean
  /** Pointers, as a bit set, on whose way this container lies. */
  readonly onTheWay: number
  /** Those whose member has been seen. */
  seen: number
  /** Of an array: the index of the element that comes next. */
  index: number
}

const step = {
  value: 0,
  valueOrEnd: 1,
  nameOrEnd: 2,
  name: 3,
  colon: 4,
  commaOrEnd: 5,
  string: 6,
  escape: 7,
  hexDigits: 8,
  lowSurrogate: 9,
  lowSurrogateMark: 10,
  utf8: 11,
  scalar: 12,
  end: 13,
} as const

const quote = 0x22
const backslash = 0x5c
const scalarText = /^(?:true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)$/
const escapes: ReadonlyMap<number, string> = new Map(
  ['""', '\\\\', '//', 'b\b', 'f\f', 'n\n', 'r\r', 't\t'].map((pair) => [pair.charCodeAt(0), pair[1]!]),
)

/**
 * Reads JSON (RFC 8259) as it comes, strictly, for the values at a few pointers (RFC 6901). What two parsers could read in
 * two ways is refused: a byte order mark, anything but UTF-8, control characters, lone surrogates, numbers that are none,
 * text behind the value. And, in the objects on the way to a pointer, a member that comes twice, or whose name differs
 * from the one that is meant in upper and lower case alone (Go takes it for the same), or that has a NUL in it (C ends
 * there).
 *
 * Nothing is known for good before the end: the last member of the outermost object may still be the second of its name,
 * or text may follow. So what was found so far can lead to a refusal, but only a body that was read to its end is let pass.
 */
export class JsonScanner {
  /** What was found so far, by pointer. At the end, pointers that lead nowhere are here too. */
  readonly values = new Map<string, PointedValue>()
  private readonly pointers: readonly string[]
  private readonly tokens: readonly (readonly string[])[]
  private readonly containers: Container[] = []
  private at: number = step.value
  /** Pointers on whose way the present value lies. */
  private onTheWay: number
  private isName = false
  /** Whether the present string is one that matters; then it is gathered in `text`. */
  private isGathered = false
  private text = ''
  private codeUnit = 0
  private digits = 0
  private highSurrogate = 0
  private codePoint = 0
  private continuations = 0
  private lowestContinuation = 0x80
  private highestContinuation = 0xbf

  /** @param pointers at most 31, each beginning with a slash */
  constructor(pointers: readonly string[]) {
    this.pointers = pointers
    this.tokens = pointers.map(tokensOf)
    this.onTheWay = 2 ** pointers.length - 1
  }

  /** @returns false where the text is refused: it need not be read on */
  read(bytes: Buffer, start = 0, end = bytes.length): boolean {
    for (let index = start; index < end; index += 1) {
      if (this.at === step.string) {
        index = this.skipPlain(bytes, index, end)
        if (index === end) return true
      }
      if (!this.take(bytes[index]!)) return false
    }
    return true
  }

  /** @returns false where the text was not whole */
  finish(): boolean {
    if (this.at === step.scalar && !this.endScalar()) return false
    if (this.at !== step.end) return false
    for (const pointer of this.pointers) if (!this.values.has(pointer)) this.values.set(pointer, undefined)
    return true
  }

  /** Most of a body is plain text within strings: a loop for that alone. */
  private skipPlain(bytes: Buffer, start: number, end: number): number {
    let index = start
    for (; index < end; index += 1) {
      const byte = bytes[index]!
      if (byte < 0x20 || byte === quote || byte === backslash || byte >= 0x80) break
    }
    if (this.isGathered) this.text += bytes.toString('latin1', start, index)
    return index
  }

  private take(byte: number): boolean {
    switch (this.at) {
      case step.string:
        return this.takeInString(byte)
      case step.escape:
        return this.takeEscape(byte)
      case step.hexDigits:
        return this.takeHexDigit(byte)
      case step.lowSurrogate:
        this.at = step.lowSurrogateMark
        return byte === backslash
      case step.lowSurrogateMark:
        this.at = step.hexDigits
        return byte === 0x75
      case step.utf8:
        return this.takeContinuation(byte)
      case step.scalar:
        if (isScalar(byte)) {
          this.text += String.fromCharCode(byte)
          return this.text.length <= maxScalarBytes
        }
        return this.endScalar() && this.take(byte)
    }
    if (byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) return true
    switch (this.at) {
      case step.valueOrEnd:
        return byte === 0x5d ? this.close() : this.beginValue(byte)
      case step.value:
        return this.beginValue(byte)
      case step.nameOrEnd:
        return byte === 0x7d ? this.close() : this.beginName(byte)
      case step.name:
        return this.beginName(byte)
      case step.colon:
        this.at = step.value
        return byte === 0x3a
      case step.commaOrEnd:
        return this.takeCommaOrEnd(byte)
      default:
        return false
    }
  }

  private beginValue(byte: number): boolean {
    const container = this.containers.at(-1)
    if (container?.isObject === false) {
      this.onTheWay = this.matching(container, String(container.index))
      container.index += 1
    }
    const depth = this.containers.length
    let found = 0
    if (this.onTheWay !== 0) {
      for (const [number, tokens] of this.tokens.entries())
        if (tokens.length === depth && this.onTheWay & (1 << number)) found |= 1 << number
    }
    if (byte === quote) {
      this.beginString(false, found !== 0)
      this.onTheWay = found
      return true
    }
    for (const [number, pointer] of this.pointers.entries()) if (found & (1 << number)) this.values.set(pointer, null)
    if (byte === 0x7b || byte === 0x5b) {
      this.containers.push({ isObject: byte === 0x7b, onTheWay: this.onTheWay & ~found, seen: 0, index: 0 })
      this.at = byte === 0x7b ? step.nameOrEnd : step.valueOrEnd
      return this.containers.length <= maxDepth
    }
    this.text = String.fromCharCode(byte)
    this.at = step.scalar
    return isScalar(byte)
  }

  private beginName(byte: number): boolean {
    this.beginString(true, this.containers.at(-1)!.onTheWay !== 0)
    return byte === quote
  }

  private beginString(isName: boolean, isGathered: boolean): void {
    this.at = step.string
    this.isName = isName
    this.isGathered = isGathered
    this.text = ''
  }

  private takeInString(byte: number): boolean {
    if (byte === quote) return this.endString()
    if (byte === backslash) {
      this.at = step.escape
      return true
    }
    return byte >= 0x80 && this.beginSequence(byte)
  }

  private endString(): boolean {
    if (!this.isName) {
      for (const [number, pointer] of this.pointers.entries())
        if (this.onTheWay & (1 << number)) this.values.set(pointer, this.text)
      this.endValue()
      return true
    }
    this.at = step.colon
    const container = this.containers.at(-1)!
    this.onTheWay = 0
    if (!this.isGathered) return true
    if (this.text.includes('\0')) return false
    this.onTheWay = this.matching(container, this.text)
    if (this.onTheWay & container.seen) return false
    container.seen |= this.onTheWay
    return !this.isDisguised(container, this.text)
  }

  /** Pointers that go on from the container with this name or index. */
  private matching({ onTheWay }: Container, token: string): number {
    if (onTheWay === 0) return 0
    const depth = this.containers.length - 1
    let matching = 0
    for (const [number, tokens] of this.tokens.entries())
      if (onTheWay & (1 << number) && tokens[depth] === token) matching |= 1 << number
    return matching
  }

  private isDisguised({ onTheWay }: Container, name: string): boolean {
    const depth = this.containers.length - 1
    const folded = fold(name)
    return this.tokens.some(
      (tokens, number) => onTheWay & (1 << number) && tokens[depth] !== name && fold(tokens[depth]!) === folded,
    )
  }

  private takeEscape(byte: number): boolean {
    if (byte === 0x75) {
      this.at = step.hexDigits
      return true
    }
    const character = escapes.get(byte)
    if (character === undefined) return false
    this.at = step.string
    if (this.isGathered) this.text += character
    return true
  }

  private takeHexDigit(byte: number): boolean {
    const digit = Number.parseInt(String.fromCharCode(byte), 16)
    if (Number.isNaN(digit)) return false
    this.codeUnit = this.codeUnit * 16 + digit
    this.digits += 1
    if (this.digits < 4) return true
    const unit = this.codeUnit
    this.codeUnit = 0
    this.digits = 0
    this.at = step.string
    const isLow = unit >= 0xdc00 && unit <= 0xdfff
    if (isLow !== (this.highSurrogate !== 0)) return false
    if (unit >= 0xd800 && unit <= 0xdbff) {
      this.highSurrogate = unit
      this.at = step.lowSurrogate
      return true
    }
    if (this.isGathered) this.text += isLow ? String.fromCharCode(this.highSurrogate, unit) : String.fromCharCode(unit)
    this.highSurrogate = 0
    return true
  }

  /** The lead byte of a character of several (Unicode, table 3-7: no overlong forms, no surrogates, nothing beyond). */
  private beginSequence(byte: number): boolean {
    this.at = step.utf8
    this.lowestContinuation = byte === 0xe0 ? 0xa0 : byte === 0xf0 ? 0x90 : 0x80
    this.highestContinuation = byte === 0xed ? 0x9f : byte === 0xf4 ? 0x8f : 0xbf
    if (byte >= 0xc2 && byte <= 0xdf) {
      this.continuations = 1
      this.codePoint = byte & 0x1f
    } else if (byte >= 0xe0 && byte <= 0xef) {
      this.continuations = 2
      this.codePoint = byte & 0x0f
    } else if (byte >= 0xf0 && byte <= 0xf4) {
      this.continuations = 3
      this.codePoint = byte & 0x07
    } else {
      return false
    }
    return true
  }

  private takeContinuation(byte: number): boolean {
    if (byte < this.lowestContinuation || byte > this.highestContinuation) return false
    this.lowestContinuation = 0x80
    this.highestContinuation = 0xbf
    this.codePoint = (this.codePoint << 6) | (byte & 0x3f)
    this.continuations -= 1
    if (this.continuations > 0) return true
    this.at = step.string
    if (this.isGathered) this.text += String.fromCodePoint(this.codePoint)
    return true
  }

  private endScalar(): boolean {
    this.endValue()
    return scalarText.test(this.text)
  }

  private takeCommaOrEnd(byte: number): boolean {
    const { isObject } = this.containers.at(-1)!
    if (byte === 0x2c) {
      this.at = isObject ? step.name : step.value
      return true
    }
    return byte === (isObject ? 0x7d : 0x5d) && this.close()
  }

  private close(): boolean {
    this.containers.pop()
    this.endValue()
    return true
  }

  private endValue(): void {
    this.at = this.containers.length === 0 ? step.end : step.commaOrEnd
  }
}

/** RFC 6901 §4: `~1` first, so that `~01` becomes `~1`. */
const tokensOf = (pointer: string): string[] =>
  pointer
    .slice(1)
    .split('/')
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'))

const isScalar = (byte: number): boolean =>
  (byte >= 0x30 && byte <= 0x39) ||
  (byte >= 0x61 && byte <= 0x7a) ||
  byte === 0x2d ||
  byte === 0x2e ||
  byte === 0x2b ||
  byte === 0x45

/** Without upper and lower case, and such letters as fold into ASCII elsewhere (the long s, the Kelvin sign). */
const fold = (name: string): string => name.toUpperCase().toLowerCase()
