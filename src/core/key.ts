import { createHash, hash } from 'node:crypto'
import { crc32 } from 'node:zlib'

/**
 * A key reads `<prefix>_<keyId>_<secret><check>`: one double click selects it, secret scanners can match it, and the check
 * digits tell a typing error without a look-up.
 */
export interface KeyParts {
  readonly prefix: string
  readonly keyId: string
  readonly secret: string
  readonly check: string
}

/** So many random bytes, from a cryptographic source. */
export type RandomBytes = (count: number) => Uint8Array

export const keyIdLength = 16
const secretLength = 43
const checkLength = 6
/** Adopted keys may be longer than ours, but not without bound: every request hashes its key. */
export const keyMaxLength = 512
const adoptedMinLength = 32
const adoptedMinDistinct = 8

const base62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const generated = /^([a-z0-9]{2,12})_([0-9A-Za-z]{16})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})$/
/** Visible ASCII without the comma, with which proxies join repeated header fields. */
const keyAlphabet = /^[!-+\--~]+$/

/** A new key. With a key id, one more value of the same key. */
export function mintKey(
  prefix: string,
  randomBytes: RandomBytes,
  keyId = randomBase62(keyIdLength, randomBytes),
): string {
  const body = `${prefix}_${keyId}_${randomBase62(secretLength, randomBytes)}`
  return body + checkDigits(body)
}

/** The parts of a generated key; undefined where the text is none, or its check digits are wrong. */
export function parseKey(text: string, prefix: string): KeyParts | undefined {
  const parts = partsOf(text)
  return parts?.prefix === prefix ? parts : undefined
}

/** The same, whatever the prefix: what generated keys begin with may have been another when this one was made. */
export function partsOf(text: string): KeyParts | undefined {
  const match = generated.exec(text)
  if (!match) return undefined
  const [, prefix, keyId, secret, check] = match as unknown as [string, string, string, string, string]
  return checkDigits(text.slice(0, -checkLength)) === check ? { prefix, keyId, secret, check } : undefined
}

/** Whether a text claims to be a generated key, and must then be one. */
export const hasKeyPrefix = (text: string, prefix: string): boolean =>
  text.startsWith(prefix) && text.charCodeAt(prefix.length) === 0x5f

/** Why a value cannot serve as a key; undefined where it can. Says nothing of the value itself. */
export function adoptionProblem(
  value: string,
  prefix: string,
): { reason: 'KeyMalformed' | 'KeyWeak'; message: string } | undefined {
  if (value.length > keyMaxLength)
    return { reason: 'KeyMalformed', message: `the key is longer than ${keyMaxLength} characters` }
  if (!keyAlphabet.test(value)) {
    return {
      reason: 'KeyMalformed',
      message: 'the key has characters other than visible ASCII without comma (is there a line break at its end?)',
    }
  }
  if (hasKeyPrefix(value, prefix)) {
    return parseKey(value, prefix)
      ? undefined
      : { reason: 'KeyMalformed', message: `the key begins with ${prefix}_ but its form or its check digits are wrong` }
  }
  if (value.length < adoptedMinLength)
    return { reason: 'KeyWeak', message: `the key is shorter than ${adoptedMinLength} characters` }
  if (new Set(value).size < adoptedMinDistinct)
    return { reason: 'KeyWeak', message: `the key has fewer than ${adoptedMinDistinct} different characters` }
  return undefined
}

/** Whether a presented text could be a key at all: else it is not even hashed. */
export const isKeyText = (text: string): boolean => text.length <= keyMaxLength && keyAlphabet.test(text)

/** SHA-256 of the whole key, which is ASCII. */
// In one call: a hash object costs three times as much, and every request hashes its key.
export const digestOf = (key: string): Buffer => hash('sha256', key, 'buffer')

/** A digest as people see it, `sha256:<hex>`, from base64url as sets hold it. */
export const digestToText = (digest: string): string => `sha256:${Buffer.from(digest, 'base64url').toString('hex')}`
export const digestFromText = (text: string): string =>
  Buffer.from(text.slice('sha256:'.length), 'hex').toString('base64url')

/** A key id for a value that does not carry one: it follows from the ApiKey's uid, so that nothing has to remember it. */
export function derivedKeyId(uid: string): string {
  let number = BigInt(`0x${createHash('sha256').update(`postern key id ${uid}`).digest('hex')}`)
  let text = ''
  for (; text.length < keyIdLength; number /= 62n) text += base62[Number(number % 62n)]
  return text
}

/** CRC-32 in six base62 digits. */
function checkDigits(body: string): string {
  let number = crc32(body)
  let text = ''
  for (; text.length < checkLength; number = Math.floor(number / 62)) text = base62[number % 62] + text
  return text
}

function randomBase62(length: number, randomBytes: RandomBytes): string {
  let text = ''
  while (text.length < length) {
    for (const byte of randomBytes(length)) {
      // 248 is the largest multiple of 62 in a byte: what lies above would make some characters likelier than others.
      if (byte < 248 && text.length < length) text += base62[byte % 62]
    }
  }
  return text
}
