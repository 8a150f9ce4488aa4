import { carriageReturn, lineFeed, tab } from './grammar.ts'

/**
 * Gathers a head that comes in pieces. Each byte is looked at once, however small the pieces are, so that dripping a
 * head costs its sender more than its reader; what can be no head is noticed before it is complete.
 */
export class HeadBuffer {
  private bytes: Buffer
  private length = 0
  private headEnded = false
  /** How much of CRLF CRLF the last bytes are. */
  private matched = 0
  private readonly maxHeadBytes: number

  constructor(maxHeadBytes: number) {
    this.maxHeadBytes = maxHeadBytes
    this.bytes = Buffer.allocUnsafe(2048)
  }

  add(chunk: Buffer): 'incomplete' | 'complete' | 'malformed' | 'tooLarge' {
    const ok = this.look(chunk)
    if (this.length + chunk.length > this.bytes.length) {
      const larger = Buffer.allocUnsafe(2 * (this.length + chunk.length))
      this.bytes.copy(larger, 0, 0, this.length)
      this.bytes = larger
    }
    chunk.copy(this.bytes, this.length)
    this.length += chunk.length
    if (!ok) return 'malformed'
    if (this.headEnded) return 'complete'
    return this.length > this.maxHeadBytes ? 'tooLarge' : 'incomplete'
  }

  /** Everything received, the head first. */
  take(): Buffer {
    return this.bytes.subarray(0, this.length)
  }

  private look(chunk: Buffer): boolean {
    for (const byte of chunk) {
      if (byte === carriageReturn) {
        if (this.matched !== 0 && this.matched !== 2) return false
        this.matched += 1
      } else if (byte === lineFeed) {
        if (this.matched !== 1 && this.matched !== 3) return false
        this.matched += 1
        if (this.matched === 4) {
          this.headEnded = true
          return true
        }
      } else if ((byte < 0x20 && byte !== tab) || byte === 0x7f || this.matched === 1 || this.matched === 3) {
        return false
      } else {
        this.matched = 0
      }
    }
    return true
  }
}
