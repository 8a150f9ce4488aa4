import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Asked, forwarded, passed, setOf, verdict } from '../support/asked.ts'
import { keyIdOf, keyOf, type TestKey } from '../support/verification.ts'

const key = keyOf(1)
const keyId = keyIdOf(key)
const rest = key.split('_')[2]!
const foreign = { key: 'a-key:that-was-made-elsewhere-0123456789', keyId: 'ForeignKeyId0000' }
const credentials = [
  { type: 'Bearer' },
  { type: 'Basic' },
  { type: 'Header', name: 'X-API-Key' },
  { type: 'Header', name: 'Api-Token' },
  { type: 'Query', name: 'key' },
]
const keys: readonly TestKey[] = [{ key }]
const set = setOf({ credentials }, keys)
const basic = (text: string): string => `Basic ${Buffer.from(text, 'latin1').toString('base64')}`

describe('places of a key', () => {
  test.each<[what: string, asked: Asked, verdict: string]>([
    ['a header', { fields: ['X-API-Key', key] }, 'Allowed'],
    ['a header in any case', { fields: ['x-api-KEY', key] }, 'Allowed'],
    ['another header', { fields: ['Api-Token', key] }, 'Allowed'],
    ['a header that is none', { fields: ['X-Token', key] }, 'KeyMissing'],
    ['a header in disguise', { fields: ['X_API_Key', key] }, 'KeyMissing'],
    ['a header with a scheme', { fields: ['X-API-Key', `Bearer ${key}`] }, 'KeyMalformed'],
    ['Bearer', { fields: ['Authorization', `Bearer ${key}`] }, 'Allowed'],
    ['Bearer in any case', { fields: ['authorization', `bEARER ${key}`] }, 'Allowed'],
    ['Bearer with spaces', { fields: ['Authorization', `Bearer   ${key}`] }, 'Allowed'],
    ['Bearer without a space', { fields: ['Authorization', `Bearer${key}`] }, 'KeyMissing'],
    ['Bearer alone', { fields: ['Authorization', 'Bearer'] }, 'KeyMalformed'],
    ['Bearer twice in one', { fields: ['Authorization', `Bearer ${key}, Bearer ${key}`] }, 'KeyMalformed'],
    ['the key alone', { fields: ['Authorization', key] }, 'KeyMissing'],
    ['another scheme', { fields: ['Authorization', `ApiKey ${key}`] }, 'KeyMissing'],
    ['Basic: key id and the rest', { fields: ['Authorization', basic(`${keyId}:${rest}`)] }, 'Allowed'],
    ['Basic: key id and the whole key', { fields: ['Authorization', basic(`${keyId}:${key}`)] }, 'Allowed'],
    ['Basic without padding', { fields: ['Authorization', basic(`${keyId}:${rest}`).replace(/=+$/, '')] }, 'Allowed'],
    ['Basic: another key id', { fields: ['Authorization', basic(`${'0'.repeat(16)}:${key}`)] }, 'KeyUnknown'],
    ['Basic: no key id', { fields: ['Authorization', basic(`:${key}`)] }, 'KeyUnknown'],
    ['Basic: the key as the name', { fields: ['Authorization', basic(`${key}:`)] }, 'KeyMalformed'],
    ['Basic: no colon', { fields: ['Authorization', basic(key)] }, 'KeyMalformed'],
    ['Basic: not base64', { fields: ['Authorization', `${basic(`${keyId}:${rest}`)}!`] }, 'KeyMalformed'],
    [
      'Basic: base64url',
      { fields: ['Authorization', `Basic ${Buffer.from('\xff\xfe\xfd:~~~').toString('base64url')}`] },
      'KeyMalformed',
    ],
    ['Basic alone', { fields: ['Authorization', 'Basic'] }, 'KeyMalformed'],
    ['the query', { target: `/orders?key=${key}` }, 'Allowed'],
    ['the query among others', { target: `/orders?a=1&key=${key}&b` }, 'Allowed'],
    ['an escaped name in the query', { target: `/orders?%6bey=${key}` }, 'Allowed'],
    ['an escaped value in the query', { target: `/orders?key=${key.replace('_', '%5F')}` }, 'Allowed'],
    ['another parameter', { target: `/orders?apikey=${key}` }, 'KeyMissing'],
    ['a parameter in another case', { target: `/orders?Key=${key}` }, 'KeyMissing'],
    ['a semicolon is no separator', { target: `/orders?a=1;key=${key}` }, 'KeyMissing'],
    ['a parameter without a value', { target: '/orders?key' }, 'KeyMalformed'],
    ['an empty header', { fields: ['X-API-Key', ''] }, 'KeyMalformed'],
  ])('%s: %s', (_, asked, expected) => expect(verdict(set, asked)).toBe(expected))

  test.each<[what: string, asked: Asked]>([
    ['twice the same header', { fields: ['X-API-Key', key, 'X-API-Key', key] }],
    ['two headers', { fields: ['X-API-Key', key, 'Api-Token', key] }],
    ['a header and an empty one', { fields: ['X-API-Key', key, 'Api-Token', ''] }],
    ['header and Bearer', { fields: ['X-API-Key', key, 'Authorization', `Bearer ${key}`] }],
    ['header and Basic', { fields: ['X-API-Key', key, 'Authorization', basic(`${keyId}:${rest}`)] }],
    ['twice Authorization', { fields: ['Authorization', `Bearer ${key}`, 'authorization', `Bearer ${key}`] }],
    ['Bearer and Basic', { fields: ['Authorization', `Bearer ${key}`, 'Authorization', basic(`${keyId}:${rest}`)] }],
    ['header and query', { target: `/orders?key=${key}`, fields: ['X-API-Key', key] }],
    ['twice in the query', { target: `/orders?key=${key}&key=${key}` }],
    ['twice in the query, once escaped', { target: `/orders?key=${key}&%6Bey=x` }],
    ['a good one and a bad one', { fields: ['X-API-Key', key, 'X-API-Key', 'bad'] }],
  ])('%s: ambiguous', (_, asked) => expect(verdict(set, asked)).toBe('KeyAmbiguous'))

  test('a place that is not configured holds no key', () => {
    const only = setOf({ credentials: [{ type: 'Header', name: 'X-API-Key' }] }, keys)
    expect(verdict(only, { fields: ['Authorization', `Bearer ${key}`] })).toBe('KeyMissing')
    expect(verdict(only, { fields: ['Authorization', basic(`${keyId}:${rest}`)] })).toBe('KeyMissing')
    expect(verdict(only, { target: `/orders?key=${key}` })).toBe('KeyMissing')
    expect(verdict(only, { target: `/orders?key=x`, fields: ['X-API-Key', key, 'Authorization', 'Bearer x'] })).toBe(
      'Allowed',
    )
  })

  test('by default Bearer, Basic and X-API-Key', () => {
    const plain = setOf({}, keys)
    for (const fields of [
      ['X-API-Key', key],
      ['Authorization', `Bearer ${key}`],
      ['Authorization', basic(`${keyId}:${rest}`)],
    ])
      expect(verdict(plain, { fields })).toBe('Allowed')
  })
})

describe('foreign keys in Basic', () => {
  const adopted = setOf({ credentials }, [{ key: foreign.key, keyId: foreign.keyId }])
  test.each([
    ['its id and the whole value, colons and all', `${foreign.keyId}:${foreign.key}`, 'Allowed'],
    ['another id', `${keyId}:${foreign.key}`, 'KeyUnknown'],
    ['no id', `:${foreign.key}`, 'KeyUnknown'],
  ])('%s', (_, text, expected) => expect(verdict(adopted, { fields: ['Authorization', basic(text)] })).toBe(expected))
})

describe('the query without its key', () => {
  test.each([
    [`/orders?key=${key}`, '/orders'],
    [`/orders?a=1&key=${key}`, '/orders?a=1'],
    [`/orders?key=${key}&a=1`, '/orders?a=1'],
    [`/orders?a=%zz&key=${key}&b=+;c&&d`, '/orders?a=%zz&b=+;c&&d'],
    [`/orders?&key=${key}&`, '/orders?&'],
    [`/orders?%6Bey=${key}&A=%41`, '/orders?A=%41'],
    [`/orders?a=key&key=${key}&keys=1`, '/orders?a=key&keys=1'],
  ])('%s goes on as %s', (target, expected) => expect(passed(set, { target }).target).toBe(expected))

  test('all other bytes stay, in their order', () => {
    const other = fc.string({ unit: fc.constantFrom(...'ab=%+;,/?:@!*12'.split('')), maxLength: 8 })
    const isKey = (part: string): boolean =>
      decodeURIComponent(part.split('=')[0]!.replace(/%(?![0-9A-Fa-f]{2})/g, '%25')) === 'key'
    fc.assert(
      fc.property(fc.array(other, { maxLength: 6 }), fc.nat(6), (parts, place) => {
        fc.pre(!parts.some((part) => /%[89a-f]/i.test(part) || isKey(part)))
        const all = [...parts.slice(0, place), `key=${key}`, ...parts.slice(place)]
        const { target } = passed(set, { target: `/orders?${all.join('&')}` })
        expect(target).toBe(parts.length === 0 ? '/orders' : `/orders?${parts.join('&')}`)
      }),
      { numRuns: 300 },
    )
  })

  test('a query without one is left alone', () => {
    expect(passed(set, { target: '/orders?', fields: ['X-API-Key', key] }).target).toBe('/orders?')
    expect(passed(set, { target: '/orders?a=%41&&', fields: ['X-API-Key', key] }).target).toBe('/orders?a=%41&&')
  })
})

describe('the application never sees the key', () => {
  test.each<[what: string, asked: Asked]>([
    ['in a header', { fields: ['X-API-Key', key] }],
    ['in Bearer', { fields: ['Authorization', `Bearer ${key}`] }],
    ['in Basic', { fields: ['Authorization', basic(`${keyId}:${rest}`)] }],
    ['in the query', { target: `/orders?key=${key}` }],
  ])('%s', (_, asked) => {
    const { fieldLines, target } = passed(set, asked)
    expect(target + fieldLines).not.toContain(rest)
    expect(fieldLines).not.toMatch(/authorization|api-key/i)
  })

  test('unless the policy says so', () => {
    const open = setOf({ credentials, upstream: { forwardCredential: true } }, keys)
    expect(forwarded(passed(open, { fields: ['X-API-Key', key] }), 'X-API-Key')).toEqual([key])
    expect(forwarded(passed(open, { fields: ['Authorization', `Bearer ${key}`] }), 'Authorization')).toEqual([
      `Bearer ${key}`,
    ])
    expect(passed(open, { target: `/orders?key=${key}` }).target).toBe(`/orders?key=${key}`)
  })

  test('an Authorization that holds no key of ours goes on', () => {
    const only = setOf({ credentials: [{ type: 'Header', name: 'X-API-Key' }] }, keys)
    expect(
      forwarded(passed(only, { fields: ['X-API-Key', key, 'Authorization', 'Bearer of-the-app'] }), 'Authorization'),
    ).toEqual(['Bearer of-the-app'])
    expect(
      forwarded(passed(set, { fields: ['X-API-Key', key, 'Authorization', 'Digest x'] }), 'Authorization'),
    ).toEqual(['Digest x'])
  })

  test('a key that strays onto a public path goes no further', () => {
    const open = setOf({ credentials, public: [{ paths: ['/open'] }] }, [
      ...keys,
      { key: foreign.key, keyId: foreign.keyId },
    ])
    const at = (fields: readonly string[], target = '/open') => passed(open, { target, fields })
    expect(at(['X-API-Key', key]).fieldLines).not.toContain(key)
    expect(at(['X-API-Key', 'one', 'X-API-Key', 'two']).fieldLines).not.toMatch(/one|two/)
    expect(at([], `/open?key=${key}&a`).target).toBe('/open?a')
    expect(forwarded(at(['Authorization', `Bearer ${key}`]), 'Authorization')).toEqual([])
    expect(forwarded(at(['Authorization', `Bearer ${keyOf(99)}`]), 'Authorization')).toEqual([])
    expect(forwarded(at(['Authorization', basic(`${keyId}:${rest}`)]), 'Authorization')).toEqual([])
    expect(forwarded(at(['Authorization', `Bearer ${foreign.key}`]), 'Authorization')).toEqual([])
    expect(forwarded(at(['Authorization', 'Bearer of-the-app']), 'Authorization')).toEqual(['Bearer of-the-app'])
  })
})
