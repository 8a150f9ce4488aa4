import { carriageReturn, colon, isToken, isValue, lineFeed, space, tab } from './grammar.ts'

/** More bytes are needed to tell. */
export const incomplete = -1
/** No field lines: a name that is no token, space before the colon, a folded line, a control character, a bare CR or LF. */
export const malformed = -2
/** More or longer lines than are allowed. */
export const tooLarge = -3

/**
 * Finds the field lines of a head without decoding them. One instance serves all heads of its kind: the marks of one
 * scan are good until the next, so that no head costs an array.
 */
export class FieldLines {
  /** Of each line: name start, name end, value start, value end (without surrounding whitespace), line end (after CRLF). */
  readonly marks: Int32Array
  /** How many lines the last scan found. */
  count = 0
  private readonly maxLineBytes: number

  constructor(maxLines: number, maxLineBytes: number) {
    this.marks = new Int32Array(5 * maxLines)
    this.maxLineBytes = maxLineBytes
  }

  /** @returns the offset behind the empty line that ends the section, or `incomplete`, `malformed`, `tooLarge` */
  scan(bytes: Uint8Array, start: number, end: number): number {
    const marks = this.marks
    let at = start
    let mark = 0
    for (;;) {
      const lineStart = at
      while (at < end && isToken[bytes[at]!] === 1) at += 1
      const nameEnd = at
      if (at >= end) return at - lineStart > this.maxLineBytes ? tooLarge : incomplete
      if (nameEnd === lineStart) {
        if (bytes[at] !== carriageReturn) return malformed
        if (at + 1 >= end) return incomplete
        this.count = mark / 5
        return bytes[at + 1] === lineFeed ? at + 2 : malformed
      }
      if (bytes[at] !== colon) return malformed
      at += 1
      while (at < end && (bytes[at] === space || bytes[at] === tab)) at += 1
      const valueStart = at
      while (at < end && isValue[bytes[at]!] === 1) at += 1
      if (at - lineStart > this.maxLineBytes) return tooLarge
      let valueEnd = at
      if (at >= end) return incomplete
      if (bytes[at] !== carriageReturn) return malformed
      if (at + 1 >= end) return incomplete
      if (bytes[at + 1] !== lineFeed) return malformed
      at += 2
      while (valueEnd > valueStart && (bytes[valueEnd - 1] === space || bytes[valueEnd - 1] === tab)) valueEnd -= 1
      if (mark === marks.length) return tooLarge
      marks[mark] = lineStart
      marks[mark + 1] = nameEnd
      marks[mark + 2] = valueStart
      marks[mark + 3] = valueEnd
      marks[mark + 4] = at
      mark += 5
    }
  }
}
