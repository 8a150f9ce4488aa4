/**
 * The wire format of protocol buffers, as far as the few messages of the decision endpoint need it: varints,
 * length-delimited fields, and skipping what is not known.
 */

/** Walks over the fields of one message. What is not well formed ends the walk and shows in `malformed`. */
export class MessageReader {
  /** Number of the present field. */
  field = 0
  /** Whether the present field is length-delimited, and where its content lies. */
  isDelimited = false
  start = 0
  end = 0
  malformed = false
  private readonly bytes: Buffer
  private readonly limit: number
  private at: number

  constructor(bytes: Buffer, start = 0, end = bytes.length) {
    this.bytes = bytes
    this.at = start
    this.limit = end
  }

  /** @returns false at the end, and where the message is malformed */
  next(): boolean {
    if (this.at >= this.limit || this.malformed) return false
    const tag = this.varint()
    this.field = Math.floor(tag / 8)
    const type = tag % 8
    this.isDelimited = type === 2
    if (this.field === 0 || this.field >= 2 ** 29) return this.fail()
    if (type === 0) this.varint()
    else if (type === 1) this.at += 8
    else if (type === 5) this.at += 4
    else if (type === 2) {
      const length = this.varint()
      this.start = this.at
      this.end = this.at + length
      this.at = this.end
      // Groups are deprecated, and none of the messages has one.
    } else return this.fail()
    return this.at <= this.limit && !this.malformed ? true : this.fail()
  }

  /** The content of the present field, as one character per byte. */
  text(): string {
    return this.bytes.toString('latin1', this.start, this.end)
  }

  /** A reader of the present field as a message. */
  message(): MessageReader {
    return new MessageReader(this.bytes, this.start, this.end)
  }

  /** Exact up to 2^53; what is larger stays larger than any length that there is. */
  private varint(): number {
    let value = 0
    let scale = 1
    for (let count = 0; count < 10; count += 1) {
      if (this.at >= this.limit) break
      const byte = this.bytes[this.at]!
      this.at += 1
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
      scale *= 128
    }
    this.fail()
    return 0
  }

  private fail(): false {
    this.malformed = true
    return false
  }
}

/** A field that holds a text or a message. Both are strings of one character per byte. */
export const delimited = (field: number, content: string): string =>
  varint(field * 8 + 2) + varint(content.length) + content

/** A field that holds a whole number, which is not negative. */
export const whole = (field: number, value: number): string => varint(field * 8) + varint(value)

function varint(value: number): string {
  let text = ''
  let rest = value
  for (; rest >= 128; rest = Math.floor(rest / 128)) text += String.fromCharCode((rest % 128) + 128)
  return text + String.fromCharCode(rest)
}
