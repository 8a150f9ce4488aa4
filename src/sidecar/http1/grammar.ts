/** Which bytes may stand where in an HTTP/1.1 head (RFC 9110 §5, RFC 9112 §2–5), as tables indexed by the byte. */

const tokenCharacters = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

const table = (may: (byte: number) => boolean): Uint8Array => Uint8Array.from({ length: 256 }, (_, byte) => +may(byte))

/** Methods, field names, coding names. */
export const isToken = table((byte) => tokenCharacters.includes(String.fromCharCode(byte)))

/**
 * Field values: HTAB, space, visible ASCII and the bytes 80–FF, which are opaque here and are forwarded as they came.
 * Values that decide something (Host, framing, credentials) have stricter grammars of their own.
 */
export const isValue = table((byte) => byte === 0x09 || (byte >= 0x20 && byte !== 0x7f))

/** Request targets: visible ASCII. What of it a path may hold is the authorizer's business. */
export const isTarget = table((byte) => byte > 0x20 && byte < 0x7f)

export const tab = 0x09
export const lineFeed = 0x0a
export const carriageReturn = 0x0d
export const space = 0x20
export const slash = 0x2f
export const colon = 0x3a

/**
 * Is the name that starts here this word? The word is in lower case and as long as the name. Setting the bit of case
 * maps no token character onto a letter or hyphen that it is not.
 */
export function isName(bytes: Uint8Array, start: number, word: string): boolean {
  for (let index = 0; index < word.length; index += 1) {
    if ((bytes[start + index]! | 0x20) !== word.charCodeAt(index)) return false
  }
  return true
}

/** Why a message cannot be read, and the status that says so to a client. */
export class Fault {
  readonly status: number
  readonly detail: string

  constructor(status: number, detail: string) {
    this.status = status
    this.detail = detail
  }
}

/**
 * A Content-Length: digits alone, so that no two parsers disagree, and few enough to be exact.
 *
 * @returns undefined where it is anything else
 */
export function parseLength(value: string): number | undefined {
  return /^\d{1,15}$/.test(value) ? Number(value) : undefined
}
