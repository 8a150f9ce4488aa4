import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  adoptionProblem,
  derivedKeyId,
  digestFromText,
  digestOf,
  digestToText,
  hasKeyPrefix,
  isKeyText,
  mintKey,
  parseKey,
  partsOf,
} from '../src/core/key.ts'

const base62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/** Random bytes that follow from a seed. */
function bytesFrom(seed: number): (count: number) => Uint8Array {
  let block = 0
  let rest = Buffer.alloc(0)
  return (count) => {
    while (rest.length < count) rest = Buffer.concat([rest, createHash('sha512').update(`${seed} ${block++}`).digest()])
    const taken = rest.subarray(0, count)
    rest = rest.subarray(count)
    return taken
  }
}

const seed = fc.integer()
const prefix = fc.stringMatching(/^[a-z0-9]{2,12}$/)
const key = fc.tuple(prefix, seed).map(([given, random]) => ({ prefix: given, key: mintKey(given, bytesFrom(random)) }))

describe('a minted key', () => {
  test('has the form that it should have', () => {
    const minted = mintKey('pstn', bytesFrom(1))
    expect(minted).toMatch(/^pstn_[0-9A-Za-z]{16}_[0-9A-Za-z]{49}$/)
  })

  test('is read back in its parts', () => {
    fc.assert(
      fc.property(key, ({ prefix, key }) => {
        const parts = parseKey(key, prefix)!
        expect(`${parts.prefix}_${parts.keyId}_${parts.secret}${parts.check}`).toBe(key)
        expect([parts.keyId.length, parts.secret.length, parts.check.length]).toEqual([16, 43, 6])
        expect(partsOf(key)).toEqual(parts)
        expect(hasKeyPrefix(key, prefix)).toBe(true)
        expect(isKeyText(key)).toBe(true)
      }),
    )
  })

  test('ends in CRC-32 of all before it, in base62', () => {
    fc.assert(
      fc.property(key, ({ key }) => {
        const number = key
          .slice(-6)
          .split('')
          .reduce((sum, digit) => sum * 62 + base62.indexOf(digit), 0)
        expect(number).toBe(crc32(key.slice(0, -6)))
      }),
    )
  })

  test('is refused when any one character is another', () => {
    fc.assert(
      fc.property(
        key,
        fc.nat(),
        fc.constantFrom(...base62.split(''), '_', '-'),
        ({ prefix, key }, place, character) => {
          const at = place % key.length
          fc.pre(key[at] !== character)
          expect(parseKey(key.slice(0, at) + character + key.slice(at + 1), prefix)).toBeUndefined()
        },
      ),
      { numRuns: 500 },
    )
  })

  test('is refused when two neighbours change places, a character is missing or one too many', () => {
    fc.assert(
      fc.property(key, fc.nat(), ({ prefix, key }, place) => {
        const at = place % (key.length - 1)
        const swapped = key.slice(0, at) + key[at + 1] + key[at] + key.slice(at + 2)
        if (swapped !== key) expect(parseKey(swapped, prefix)).toBeUndefined()
        expect(parseKey(key.slice(0, at) + key.slice(at + 1), prefix)).toBeUndefined()
        expect(parseKey(`${key.slice(0, at)}0${key.slice(at)}`, prefix)).toBeUndefined()
      }),
      { numRuns: 200 },
    )
  })

  test('is no key of another prefix', () => {
    const minted = mintKey('pstn', bytesFrom(1))
    expect(parseKey(minted, 'acme')).toBeUndefined()
    expect(partsOf(minted)?.prefix).toBe('pstn')
    expect(hasKeyPrefix(minted, 'pst')).toBe(false)
  })

  test('keeps a key id that it is given, and takes a new secret', () => {
    const [one, two] = [1, 2].map((number) => parseKey(mintKey('pstn', bytesFrom(number), 'A'.repeat(16)), 'pstn')!)
    expect(one!.keyId).toBe('A'.repeat(16))
    expect(two!.keyId).toBe('A'.repeat(16))
    expect(one!.secret).not.toBe(two!.secret)
  })

  test('uses every character equally often', () => {
    const random = bytesFrom(7)
    const counts = new Map<string, number>()
    for (let round = 0; round < 2000; round++) {
      const { keyId, secret } = parseKey(mintKey('pstn', random), 'pstn')!
      for (const character of keyId + secret) counts.set(character, (counts.get(character) ?? 0) + 1)
    }
    const expected = (2000 * 59) / 62
    const chiSquare = base62.split('').reduce((sum, character) => {
      const off = (counts.get(character) ?? 0) - expected
      return sum + (off * off) / expected
    }, 0)
    // 61 degrees of freedom: 99.99 % of fair draws stay below. Without rejection, eight characters would come 25 % too often.
    expect(chiSquare).toBeLessThan(113)
  })
})

describe('digests', () => {
  test('are SHA-256 of the whole key, always the same', () => {
    fc.assert(
      fc.property(key, ({ key }) => {
        expect(digestOf(key)).toEqual(createHash('sha256').update(key, 'ascii').digest())
        expect(digestOf(key)).toEqual(digestOf(`${key.slice(0, 5)}${key.slice(5)}`))
      }),
    )
  })

  test('are written for people as sha256:<hex>, and read back', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (bytes) => {
        const digest = Buffer.from(bytes).toString('base64url')
        expect(digestToText(digest)).toBe(`sha256:${Buffer.from(bytes).toString('hex')}`)
        expect(digestFromText(digestToText(digest))).toBe(digest)
      }),
    )
  })
})

describe('derived key ids', () => {
  test('are sixteen base62 characters that follow from the uid alone', () => {
    const ids = Array.from({ length: 1000 }, (_, index) => derivedKeyId(`uid-${index}`))
    expect(new Set(ids).size).toBe(1000)
    expect(ids.every((id) => /^[0-9A-Za-z]{16}$/.test(id))).toBe(true)
    expect(derivedKeyId('uid-7')).toBe(ids[7])
  })
})

describe('adopting a key', () => {
  const minted = mintKey('pstn', bytesFrom(1))
  const varied = 'abcdefghijklmnopqrstuvwxyz012345'
  test.each([
    ['one of our own', minted, undefined],
    ['one of another prefix', mintKey('acme', bytesFrom(1)), undefined],
    ['32 varied characters', varied, undefined],
    ['punctuation', `${varied}!"#$%&'()*+-./:;<=>?@[\\]^_\`{|}~`, undefined],
    ['512 characters', varied.repeat(16), undefined],
    ['31 characters', varied.slice(1), 'KeyWeak'],
    ['seven different characters', 'abcdefg'.repeat(5), 'KeyWeak'],
    ['eight different characters', 'abcdefgh'.repeat(4), undefined],
    ['513 characters', `${varied.repeat(16)}x`, 'KeyMalformed'],
    ['nothing', '', 'KeyMalformed'],
    ['a line break at the end', `${varied}\n`, 'KeyMalformed'],
    ['a space', `${varied} x`, 'KeyMalformed'],
    ['a comma', `${varied},x`, 'KeyMalformed'],
    ['letters beyond ASCII', `${varied}é`, 'KeyMalformed'],
    ['our prefix and wrong check digits', `${minted.slice(0, -1)}${minted.endsWith('0') ? '1' : '0'}`, 'KeyMalformed'],
    ['our prefix and another form', `pstn_${varied}`, 'KeyMalformed'],
    ['what merely begins like our prefix', `pstnx${varied}`, undefined],
  ])('%s', (_, value, reason) => {
    const problem = adoptionProblem(value, 'pstn')
    expect(problem?.reason).toBe(reason)
    if (value.length > 8) expect(problem?.message ?? '').not.toContain(value)
  })
})
