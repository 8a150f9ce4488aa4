import { FieldLines, incomplete, malformed, tooLarge } from './field-lines.ts'
import { carriageReturn, isName, isValue, lineFeed, parseLength, space } from './grammar.ts'
import { chunked, listsClose } from './request-head.ts'

/** The framing of a body that ends where the connection does. */
export const untilClose = -2

/** The head of an answer, made ready to be passed on. Strings hold one character per byte (latin1). */
export interface ResponseHead {
  readonly status: number
  readonly reason: string
  /**
   * Field lines to pass on, as received, each with its CRLF: without hop-by-hop fields, `Transfer-Encoding` and what
   * speaks of Postern; with `Content-Length` where it says the length of the body.
   */
  readonly fieldLines: string
  /** Bytes of the body, `chunked`, `untilClose`, or undefined where there is none. */
  readonly bodyLength: number | undefined
  /** The connection cannot carry another exchange. */
  readonly close: boolean
  /** Offset of the first byte behind the head. */
  readonly end: number
}

/** What is wrong with an answer: for the log, never for the client. */
export class ResponseFault {
  readonly detail: string

  constructor(detail: string) {
    this.detail = detail
  }
}

export const maxResponseHeadBytes = 64 * 1024
const maxLineBytes = 32 * 1024
const maxLines = 256

const faults = {
  statusLine: new ResponseFault('the status line is not well formed'),
  fieldLine: new ResponseFault('a field line is not well formed'),
  size: new ResponseFault('the head is too large'),
  length: new ResponseFault('there is more than one Content-Length, or one that is not digits only'),
  coding: new ResponseFault('the transfer coding is not chunked, once'),
  framing: new ResponseFault('Transfer-Encoding stands beside Content-Length, or in HTTP/1.0'),
}
export const responseHeadTooLarge = faults.size

const lines = new FieldLines(maxLines, maxLineBytes)
const dropped = new Uint8Array(maxLines)

/**
 * Reads the head of an answer as strictly as that of a request: what clients could read in two ways is never passed on.
 *
 * @param bodiless the request was a HEAD: its answer has no body, whatever its fields say
 * @returns undefined while the head is not complete and nothing is wrong with it so far
 */
export function readResponseHead(
  bytes: Buffer,
  start: number,
  end: number,
  bodiless: boolean,
): ResponseHead | ResponseFault | undefined {
  if (end - start < 14) return undefined
  const minorVersion = readMinorVersion(bytes, start)
  const status = readStatus(bytes, start + 9)
  if (minorVersion === undefined || status === undefined) return faults.statusLine
  // HTTP/1.0 knows no interim answers (RFC 9110 §15.2), and its readers would take one for the final answer.
  if (minorVersion === 0 && status < 200) return faults.statusLine

  // The space before an empty reason is left out by some servers, and no parser reads that in another way.
  let at = start + 12
  const reasonStart = bytes[at] === space ? at + 1 : at
  if (bytes[at] === space) while (at < end && isValue[bytes[at]!] === 1) at += 1
  const reasonEnd = at
  if (at - start > maxLineBytes) return faults.size
  if (at + 1 >= end) return at < end && bytes[at] !== carriageReturn ? faults.statusLine : undefined
  if (bytes[at] !== carriageReturn || bytes[at + 1] !== lineFeed) return faults.statusLine
  at += 2

  const headEnd = lines.scan(bytes, at, end)
  if (headEnd === incomplete) return end - start > maxResponseHeadBytes ? faults.size : undefined
  if (headEnd === malformed) return faults.fieldLine
  if (headEnd === tooLarge || headEnd - start > maxResponseHeadBytes) return faults.size

  const text = bytes.toString('latin1', start, headEnd)
  const reason = text.slice(reasonStart - start, reasonEnd - start)
  return interpret(bytes, start, headEnd, text, at, reason, status, minorVersion, bodiless)
}

function readMinorVersion(bytes: Buffer, at: number): 0 | 1 | undefined {
  // HTTP/1.x and a space
  if (
    bytes[at] !== 0x48 ||
    bytes[at + 1] !== 0x54 ||
    bytes[at + 2] !== 0x54 ||
    bytes[at + 3] !== 0x50 ||
    bytes[at + 4] !== 0x2f ||
    bytes[at + 5] !== 0x31 ||
    bytes[at + 6] !== 0x2e ||
    bytes[at + 8] !== space
  ) {
    return undefined
  }
  return bytes[at + 7] === 0x31 ? 1 : bytes[at + 7] === 0x30 ? 0 : undefined
}

function readStatus(bytes: Buffer, at: number): number | undefined {
  const hundreds = bytes[at]! - 0x30
  const tens = bytes[at + 1]! - 0x30
  const ones = bytes[at + 2]! - 0x30
  if (hundreds < 1 || hundreds > 9 || tens < 0 || tens > 9 || ones < 0 || ones > 9) return undefined
  return 100 * hundreds + 10 * tens + ones
}

function interpret(
  bytes: Buffer,
  start: number,
  headEnd: number,
  text: string,
  linesStart: number,
  reason: string,
  status: number,
  minorVersion: 0 | 1,
  bodiless: boolean,
): ResponseHead | ResponseFault {
  const { marks, count } = lines
  const noContent = status < 200 || status === 204
  let length: number | undefined
  let coding = false
  let close = minorVersion === 0
  let nominated: string | undefined

  for (let line = 0, mark = 0; line < count; line += 1, mark += 5) {
    const nameStart = marks[mark]!
    dropped[line] = isOwn(bytes, nameStart, marks[mark + 1]!) ? 1 : 0
    switch (marks[mark + 1]! - nameStart) {
      case 2:
        if (isName(bytes, nameStart, 'te')) dropped[line] = 1
        break
      case 7:
        if (isName(bytes, nameStart, 'trailer') || isName(bytes, nameStart, 'upgrade')) dropped[line] = 1
        break
      case 10:
        if (isName(bytes, nameStart, 'connection')) {
          dropped[line] = 1
          const value = text.slice(marks[mark + 2]! - start, marks[mark + 3]! - start)
          close ||= listsClose(value)
          if (value !== 'close' && value !== 'keep-alive')
            nominated = nominated === undefined ? value : `${nominated},${value}`
        } else if (isName(bytes, nameStart, 'keep-alive')) {
          dropped[line] = 1
        }
        break
      case 14: {
        if (!isName(bytes, nameStart, 'content-length')) break
        const parsed = parseLength(text.slice(marks[mark + 2]! - start, marks[mark + 3]! - start))
        if (parsed === undefined || length !== undefined) return faults.length
        length = parsed
        // RFC 9110 §8.6: there must be none here, and clients differ on what to make of one.
        if (noContent) dropped[line] = 1
        break
      }
      case 16:
        if (isName(bytes, nameStart, 'proxy-connection')) dropped[line] = 1
        break
      case 17:
        if (isName(bytes, nameStart, 'transfer-encoding')) {
          if (coding || text.slice(marks[mark + 2]! - start, marks[mark + 3]! - start).toLowerCase() !== 'chunked') {
            return faults.coding
          }
          coding = true
          dropped[line] = 1
        }
        break
      case 18:
        if (isName(bytes, nameStart, 'proxy-authenticate')) dropped[line] = 1
        break
      case 25:
        if (isName(bytes, nameStart, 'proxy-authentication-info')) dropped[line] = 1
        break
    }
  }
  if (coding && (length !== undefined || minorVersion === 0)) return faults.framing
  if (nominated !== undefined) dropNominated(text, start, nominated)

  const bodyLength = noContent || status === 304 || bodiless ? undefined : coding ? chunked : (length ?? untilClose)
  return {
    status,
    reason,
    fieldLines: keptLines(text, start, linesStart, headEnd),
    bodyLength,
    close: close || bodyLength === untilClose,
    end: headEnd,
  }
}

/** `X-Postern-*`, which an application that echoes its request would give away. */
function isOwn(bytes: Buffer, start: number, end: number): boolean {
  return end - start >= 10 && bytes[start + 1] === 0x2d && isName(bytes, start, 'x-postern-')
}

/** What Connection names goes too, except what frames and describes the body: that cannot be nominated away. */
function dropNominated(text: string, start: number, nominated: string): void {
  const names = new Set(nominated.split(',').map((name) => name.trim().toLowerCase()))
  for (const name of ['content-length', 'content-type', 'content-encoding', 'set-cookie']) names.delete(name)
  const { marks, count } = lines
  for (let line = 0, mark = 0; line < count; line += 1, mark += 5) {
    if (names.has(text.slice(marks[mark]! - start, marks[mark + 1]! - start).toLowerCase())) dropped[line] = 1
  }
}

/** Runs of kept lines are taken in one piece: most answers lose one or two lines of ten. */
function keptLines(text: string, start: number, linesStart: number, headEnd: number): string {
  const { marks, count } = lines
  let kept = ''
  let runStart = linesStart - start
  for (let line = 0, mark = 0; line < count; line += 1, mark += 5) {
    if (dropped[line] === 0) continue
    kept += text.slice(runStart, marks[mark]! - start)
    runStart = marks[mark + 4]! - start
  }
  return kept + text.slice(runStart, headEnd - 2 - start)
}
