import { FieldLines, incomplete, malformed, tooLarge } from './field-lines.ts'
import { carriageReturn, Fault, isName, isTarget, isToken, lineFeed, parseLength, slash, space } from './grammar.ts'

/** The framing of a body whose length its chunks tell. */
export const chunked = -1

/** The head of a request that every parser reads alike. Strings hold one character per byte (latin1). */
export interface RequestHead {
  readonly method: string
  /** Exactly as received. */
  readonly target: string
  /** 1 for HTTP/1.1, 0 for HTTP/1.0. */
  readonly minorVersion: 0 | 1
  /** Names as received and values without surrounding whitespace, alternating. */
  readonly fields: readonly string[]
  /** Bytes of the body, `chunked`, or undefined where there is none. */
  readonly bodyLength: number | undefined
  /** The client will send no further request on this connection. */
  readonly close: boolean
  /** The client waits for `100 Continue` before it sends the body. */
  readonly expectsContinue: boolean
  /**
   * An Upgrade stands in the head. It is not passed on, but what follows the request before its answer could be meant
   * for either protocol, and must not be read as a request.
   */
  readonly asksForUpgrade: boolean
  /** Offset of the first byte behind the head. */
  readonly end: number
}

export const maxTargetBytes = 8 * 1024
export const maxHeadBytes = 32 * 1024
const maxLineBytes = 16 * 1024
const maxLines = 100
const maxMethodBytes = 32

/** What this sidecar forwards; anything else is answered with 405. CONNECT and TRACE are left out on purpose. */
export const methods: readonly string[] =
  'GET HEAD POST PUT PATCH DELETE OPTIONS QUERY ACL BIND CHECKOUT COPY LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL MOVE PROPFIND PROPPATCH PURGE REBIND REPORT SEARCH UNBIND UNLINK UNLOCK'.split(
    ' ',
  )
const knownMethods: ReadonlyMap<string, string> = new Map(methods.map((method) => [method, method]))

// What reg-name, IPv4address and IP-literal of RFC 3986 have in common with the names that are really used: no
// sub-delims, for a comma or quote here becomes a second value elsewhere, and no percent-encoding.
const hostGrammar = /^(?:[a-z0-9_][a-z0-9_.-]{0,252}|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?$/i

const faults = {
  requestLine: new Fault(400, 'the request line is not well formed'),
  method: new Fault(405, 'the method is not served'),
  form: new Fault(400, 'the request target is neither a path nor a URL of the host'),
  target: new Fault(414, 'the request target is too long'),
  version: new Fault(505, 'only HTTP/1.1 and HTTP/1.0 are spoken here'),
  fieldLine: new Fault(400, 'a field line is not well formed'),
  size: new Fault(431, 'the head is too large'),
  host: new Fault(400, 'there must be exactly one well-formed Host'),
  length: new Fault(400, 'there must be at most one Content-Length, of digits only'),
  coding: new Fault(501, 'the only transfer coding is chunked'),
  framing: new Fault(400, 'Transfer-Encoding does not go with another, with Content-Length or with HTTP/1.0'),
  expectation: new Fault(417, 'the only expectation is 100-continue, once'),
}
export const headTooLarge = faults.size

const lines = new FieldLines(maxLines, maxLineBytes)

/**
 * Reads the head that starts at `start`, and refuses what two parsers could read in two ways.
 *
 * One pass over the bytes checks every one of them by table, and one decoding makes all strings; reading the same by
 * regular expressions takes half as long again.
 *
 * @param end where the bytes received so far end
 * @returns undefined while the head is not complete and nothing is wrong with it so far
 */
export function readRequestHead(bytes: Buffer, start: number, end: number): RequestHead | Fault | undefined {
  let at = start
  while (at < end && isToken[bytes[at]!] === 1) at += 1
  const methodEnd = at
  if (methodEnd - start > maxMethodBytes) return faults.requestLine
  if (at >= end) return undefined
  if (methodEnd === start || bytes[at] !== space) return faults.requestLine

  at += 1
  const targetStart = at
  while (at < end && isTarget[bytes[at]!] === 1) at += 1
  const targetEnd = at
  if (targetEnd - targetStart > maxTargetBytes) return faults.target
  if (at >= end) return undefined
  if (targetEnd === targetStart || bytes[at] !== space) return faults.requestLine

  if (end - at < 11) return undefined
  const version = readVersion(bytes, at)
  if (version instanceof Fault) return version
  at += 11

  const headEnd = lines.scan(bytes, at, end)
  if (headEnd === incomplete) return end - start > maxHeadBytes ? faults.size : undefined
  if (headEnd === malformed) return faults.fieldLine
  if (headEnd === tooLarge || headEnd - start > maxHeadBytes) return faults.size

  const text = bytes.toString('latin1', start, headEnd)
  // The commonest method is compared by length and first letter, which spares a string and a look-up.
  const method = isGet(bytes, start, methodEnd) ? 'GET' : knownMethods.get(text.slice(0, methodEnd - start))
  if (method === undefined) return faults.method
  return interpret(bytes, start, headEnd, text, method, text.slice(targetStart - start, targetEnd - start), version)
}

function isGet(bytes: Buffer, start: number, end: number): boolean {
  return end - start === 3 && bytes[start] === 0x47 && bytes[start + 1] === 0x45 && bytes[start + 2] === 0x54
}

/** @param at the space before ` HTTP/1.1` CRLF, eleven bytes that have all been received */
function readVersion(bytes: Buffer, at: number): 0 | 1 | Fault {
  if (
    bytes[at + 1] !== 0x48 ||
    bytes[at + 2] !== 0x54 ||
    bytes[at + 3] !== 0x54 ||
    bytes[at + 4] !== 0x50 ||
    bytes[at + 5] !== 0x2f ||
    bytes[at + 7] !== 0x2e ||
    bytes[at + 9] !== carriageReturn ||
    bytes[at + 10] !== lineFeed
  ) {
    return faults.requestLine
  }
  const major = bytes[at + 6]!
  const minor = bytes[at + 8]!
  if (major === 0x31 && minor === 0x31) return 1
  if (major === 0x31 && minor === 0x30) return 0
  return major >= 0x30 && major <= 0x39 && minor >= 0x30 && minor <= 0x39 ? faults.version : faults.requestLine
}

function interpret(
  bytes: Buffer,
  start: number,
  headEnd: number,
  text: string,
  method: string,
  target: string,
  minorVersion: 0 | 1,
): RequestHead | Fault {
  const { marks, count } = lines
  const fields: string[] = []
  let host: string | undefined
  let length: number | undefined
  let coding = false
  let expectsContinue = false
  let asksForUpgrade = false
  let close = minorVersion === 0

  for (let line = 0, mark = 0; line < count; line += 1, mark += 5) {
    const nameStart = marks[mark]!
    const nameLength = marks[mark + 1]! - nameStart
    const value = text.slice(marks[mark + 2]! - start, marks[mark + 3]! - start)
    fields.push(text.slice(nameStart - start, nameStart - start + nameLength), value)

    // Few names matter here, and no two of them are equally long.
    switch (nameLength) {
      case 4:
        if (!isName(bytes, nameStart, 'host')) break
        if (host !== undefined || !hostGrammar.test(value)) return faults.host
        host = value
        break
      case 6:
        if (!isName(bytes, nameStart, 'expect')) break
        if (expectsContinue || value.toLowerCase() !== '100-continue') return faults.expectation
        expectsContinue = true
        break
      case 7:
        asksForUpgrade ||= isName(bytes, nameStart, 'upgrade')
        break
      case 10:
        if (isName(bytes, nameStart, 'connection')) close ||= listsClose(value)
        break
      case 16:
        // Never standard, but some parsers, Node's among them, take it for Connection.
        if (isName(bytes, nameStart, 'proxy-connection')) close ||= listsClose(value)
        break
      case 14: {
        if (!isName(bytes, nameStart, 'content-length')) break
        const parsed = parseLength(value)
        if (parsed === undefined || length !== undefined) return faults.length
        length = parsed
        break
      }
      case 17:
        if (!isName(bytes, nameStart, 'transfer-encoding')) break
        // Parsers differ on whitespace behind the coding, as `chunked` with a tab shows.
        if (coding) return faults.framing
        if (value.toLowerCase() !== 'chunked' || marks[mark + 3] !== marks[mark + 4]! - 2) return faults.coding
        coding = true
        break
    }
  }
  if (host === undefined) return faults.host
  if (target.charCodeAt(0) !== slash && !isAbsoluteForm(target, host)) return faults.form
  if (coding && (length !== undefined || minorVersion === 0)) return faults.framing
  return {
    method,
    target,
    minorVersion,
    fields,
    bodyLength: coding ? chunked : length,
    close,
    expectsContinue: expectsContinue && minorVersion === 1,
    asksForUpgrade,
    end: headEnd,
  }
}

/** Its authority must be that of Host: others may believe either. */
function isAbsoluteForm(target: string, host: string): boolean {
  return /^https?:\/\/([^/]*)\//i.exec(target)?.[1]?.toLowerCase() === host.toLowerCase()
}

/** Does a Connection value hold the option `close`? */
export function listsClose(value: string): boolean {
  if (value.length < 5 || value === 'keep-alive') return false
  return value.split(',').some((option) => option.trim().toLowerCase() === 'close')
}
