import type { BodyReader } from './body-reader.ts'
import { carriageReturn, colon, isToken, isValue, lineFeed } from './grammar.ts'

const maxSizeDigits = 12
const maxExtensionBytes = 256
// Counted over the whole body: extensions are paid for by whoever parses them and are worth nothing to anybody.
const maxExtensionBytesInBody = 16 * 1024
const maxTrailerBytes = 8 * 1024

// Some parsers, Node's among them, heed these even in trailers; nobody sends them there in good faith.
const headFields: ReadonlySet<string> = new Set([
  'connection',
  'content-length',
  'host',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
])

const step = {
  size: 0,
  moreSize: 1,
  extensionName: 2,
  moreExtensionName: 3,
  extensionValue: 4,
  moreExtensionValue: 5,
  sizeLineFeed: 6,
  data: 7,
  dataReturn: 8,
  dataLineFeed: 9,
  trailerLine: 10,
  trailerName: 11,
  trailerValue: 12,
  trailerLineFeed: 13,
  endLineFeed: 14,
  end: 15,
} as const

/**
 * A chunked body (RFC 9112 §7.1), with nothing between the lines: CRLF is both characters, a size is hexadecimal digits
 * alone, an extension is `;name` or `;name=token`. Extensions and trailers are checked, bounded and dropped.
 */
export class ChunkedReader implements BodyReader {
  readonly ranges: number[] = []
  private at: number = step.size
  private remaining = 0
  private sizeDigits = 0
  private extensionBytes = 0
  private extensionBytesInBody = 0
  private trailerBytes = 0
  private trailerName = ''

  get complete(): boolean {
    return this.at === step.end
  }

  read(bytes: Uint8Array, start: number): number {
    this.ranges.length = 0
    let index = start
    while (index < bytes.length && this.at !== step.end) {
      if (this.at === step.data) {
        const end = Math.min(bytes.length, index + this.remaining)
        this.ranges.push(index, end)
        this.remaining -= end - index
        index = end
        if (this.remaining === 0) this.at = step.dataReturn
        continue
      }
      const byte = bytes[index]!
      const ok = this.at >= step.trailerLine ? this.readTrailer(byte) : this.readSizeLine(byte)
      if (!ok) return -1
      index += 1
    }
    return index
  }

  /** Everything from a chunk's size to its data, and the line end behind the data. */
  private readSizeLine(byte: number): boolean {
    switch (this.at) {
      case step.size:
      case step.moreSize: {
        const digit = hexDigit(byte)
        if (digit >= 0) return this.addDigit(digit)
        return this.at === step.moreSize && this.endOfSizeOr(byte)
      }
      case step.extensionName:
        this.at = step.moreExtensionName
        return isToken[byte] === 1 && this.countExtension()
      case step.moreExtensionName:
        if (isToken[byte] === 1) return this.countExtension()
        if (byte !== 0x3d) return this.endOfSizeOr(byte)
        this.at = step.extensionValue
        return true
      case step.extensionValue:
        this.at = step.moreExtensionValue
        return isToken[byte] === 1 && this.countExtension()
      case step.moreExtensionValue:
        return isToken[byte] === 1 ? this.countExtension() : this.endOfSizeOr(byte)
      case step.sizeLineFeed:
        this.at = this.remaining === 0 ? step.trailerLine : step.data
        return byte === lineFeed
      case step.dataReturn:
        this.at = step.dataLineFeed
        return byte === carriageReturn
      default:
        this.at = step.size
        this.sizeDigits = 0
        this.extensionBytes = 0
        return byte === lineFeed
    }
  }

  private addDigit(digit: number): boolean {
    this.at = step.moreSize
    this.sizeDigits += 1
    this.remaining = this.remaining * 16 + digit
    return this.sizeDigits <= maxSizeDigits
  }

  private endOfSizeOr(byte: number): boolean {
    if (byte === carriageReturn) {
      this.at = step.sizeLineFeed
      return true
    }
    this.at = step.extensionName
    return byte === 0x3b && this.countExtension()
  }

  private countExtension(): boolean {
    this.extensionBytes += 1
    this.extensionBytesInBody += 1
    return this.extensionBytes <= maxExtensionBytes && this.extensionBytesInBody <= maxExtensionBytesInBody
  }

  private readTrailer(byte: number): boolean {
    this.trailerBytes += 1
    if (this.trailerBytes > maxTrailerBytes) return false
    switch (this.at) {
      case step.trailerLine:
        this.at = byte === carriageReturn ? step.endLineFeed : step.trailerName
        this.trailerName = String.fromCharCode(byte)
        return byte === carriageReturn || isToken[byte] === 1
      case step.trailerName:
        if (byte !== colon) {
          this.trailerName += String.fromCharCode(byte)
          return isToken[byte] === 1
        }
        this.at = step.trailerValue
        return !headFields.has(this.trailerName.toLowerCase())
      case step.trailerValue:
        if (byte === carriageReturn) this.at = step.trailerLineFeed
        return byte === carriageReturn || isValue[byte] === 1
      case step.trailerLineFeed:
        this.at = step.trailerLine
        return byte === lineFeed
      default:
        this.at = step.end
        return byte === lineFeed
    }
  }
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30
  const lower = byte | 0x20
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1
}
