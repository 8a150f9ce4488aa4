import { describe, expect, test } from 'vitest'
import { Limiter } from '../../src/core/authorize/limit.ts'
import { type Asked, ask, passed, setOf, verdict } from '../support/asked.ts'
import { noon, secondsOf } from '../support/builders.ts'
import { keyOf } from '../support/verification.ts'

const limit = { requests: 1, perSeconds: 10 }
const at = secondsOf(noon)

describe('a rate limit', () => {
  const spec = {
    interfaces: [{ name: 'read', match: [{ methods: ['GET'] }] }],
    public: [{ paths: ['/open'] }],
    limits: limit,
  }
  const keys = [{ key: keyOf(1) }, { key: keyOf(2), rateLimit: { requests: 3, perSeconds: 1 } }]
  const set = setOf(spec, keys)
  const asking = (limiter: Limiter | undefined, more: Asked = {}): Asked => ({
    fields: ['X-API-Key', keyOf(1)],
    given: { limiter },
    ...more,
  })

  test("is the policy's where the key has none", () => {
    const limiter = new Limiter()
    expect(passed(set, asking(limiter)).allowance).toEqual({ limit, remaining: 0, resetSeconds: 10 })
    expect(ask(set, asking(limiter))).toMatchObject({
      allow: false,
      reason: 'RateLimited',
      key: { name: 'exporter' },
      allowance: { remaining: 0, resetSeconds: 10 },
    })
    expect(verdict(set, asking(limiter, { at: at + 10 }))).toBe('Allowed')
  })

  test("is the key's own where it has one", () => {
    const limiter = new Limiter()
    const fields = ['X-API-Key', keyOf(2)]
    expect(Array.from({ length: 4 }, () => verdict(set, asking(limiter, { fields })))).toEqual([
      'Allowed',
      'Allowed',
      'Allowed',
      'RateLimited',
    ])
  })

  test('is not touched by a request that is refused for another reason, or is public', () => {
    const limiter = new Limiter()
    for (const more of [
      { method: 'POST' },
      { target: '/a/../b' },
      { fields: ['X-API-Key', keyOf(9)] },
      { target: '/open' },
    ])
      ask(set, asking(limiter, more))
    expect(limiter.size).toBe(0)
    expect(verdict(set, asking(limiter))).toBe('Allowed')
  })

  test('is not touched while a body is still to be read', () => {
    const bodied = setOf({ ...spec, interfaces: [], resources: [{ name: 'm', from: { bodyPointer: '/m' } }] }, keys)
    const limiter = new Limiter()
    const post = (body?: ReadonlyMap<string, string>): Asked => ({
      method: 'POST',
      fields: ['X-API-Key', keyOf(1), 'Content-Type', 'application/json', 'Content-Length', '9'],
      given: { limiter, body },
    })
    expect(ask(bodied, post())).toHaveProperty('body')
    expect(limiter.size).toBe(0)
    expect(verdict(bodied, post(new Map([['/m', 'a']])))).toBe('Allowed')
    expect(verdict(bodied, post(new Map([['/m', 'a']])))).toBe('RateLimited')
  })

  test('outlives the set', () => {
    const limiter = new Limiter()
    expect(verdict(set, asking(limiter))).toBe('Allowed')
    expect(verdict(setOf(spec, keys), asking(limiter))).toBe('RateLimited')
  })

  test('holds nobody where nothing is counted', () => {
    expect(verdict(set, asking(undefined))).toBe('Allowed')
    expect(passed(set, asking(undefined)).allowance).toBeUndefined()
  })
})

describe('in mode Audit', () => {
  const spec = {
    mode: 'Audit',
    hosts: ['api.example'],
    interfaces: [{ name: 'read', match: [{ methods: ['GET'] }] }],
    resources: [{ name: 'model', from: { bodyPointer: '/model' } }].map((one) => ({ ...one, required: false })),
    denied: [{ paths: ['/admin/**'] }],
    credentials: [{ type: 'Header', name: 'X-API-Key' }, { type: 'Bearer' }, { type: 'Query', name: 'key' }],
    limits: { ...limit, maxBodyBytes: 10 },
  }
  const keys = [
    { key: keyOf(1), access: [{ interfaces: [0], resources: [[0, ['a']] as const] }] },
    { key: keyOf(2), enabled: false },
  ]
  const set = setOf(spec, keys)

  test.each<[what: string, asked: Asked, reason: string]>([
    ['no key', {}, 'KeyMissing'],
    ['an unknown key', { fields: ['X-API-Key', keyOf(9)] }, 'KeyUnknown'],
    ['two keys', { fields: ['X-API-Key', keyOf(1), 'Authorization', `Bearer ${keyOf(1)}`] }, 'KeyAmbiguous'],
    ['a disabled key', { fields: ['X-API-Key', keyOf(2)] }, 'KeyDisabled'],
    ['another host', { host: 'other.example' }, 'HostUnknown'],
    ['a denied path', { target: '/admin/x' }, 'PathDenied'],
    ['another method', { method: 'POST', fields: ['X-API-Key', keyOf(1)] }, 'InterfaceUnknown'],
  ])('%s passes, as it came', (_, asked, reason) => {
    const allowed = passed(set, asked)
    expect(allowed).toMatchObject({ audited: { allow: false, reason }, interface: undefined })
    for (let index = 0; index < (asked.fields?.length ?? 0); index += 2)
      expect(allowed.fieldLines).toContain(`${asked.fields![index]}: ${asked.fields![index + 1]}\r\n`)
    expect(allowed.fieldLines).not.toContain('X-Postern')
  })

  test('what would be allowed passes with its credential and without an identity', () => {
    const target = `/orders?key=${keyOf(1)}&a=b`
    const allowed = passed(set, { target, fields: ['X-Postern-Key-Id', 'spoofed', 'X-Postern-Roles', 'Admin'] })
    expect(allowed).toMatchObject({ target, key: { name: 'exporter' } })
    expect(allowed).not.toHaveProperty('audited')
    expect(allowed.fieldLines).not.toContain('X-Postern')
  })

  test('what is malformed is refused, and everything as long as there is no set', () => {
    expect(verdict(set, { target: '/a/../b' })).toBe('RequestMalformed')
    expect(verdict(undefined, {})).toBe('PolicyUnavailable')
  })

  test('a body is read, and may not be longer than that', () => {
    const post = (length: string, body?: ReadonlyMap<string, string> | 'Unreadable' | 'TooLarge'): Asked => ({
      fields: ['X-API-Key', keyOf(1), 'Content-Type', 'application/json', 'Content-Length', length],
      given: { body },
    })
    expect(ask(set, post('9'))).toMatchObject({ allow: false, body: { maxBytes: 10 } })
    expect(passed(set, post('9', new Map([['/model', 'b']]))).audited?.reason).toBe('ResourceNotAllowed')
    expect(passed(set, post('9', 'Unreadable')).audited?.reason).toBe('BodyNotInspectable')
    expect(ask(set, post('9', 'TooLarge'))).toMatchObject({ allow: false, status: 413 })
    expect(ask(set, post('11'))).toMatchObject({ allow: false, status: 413 })
  })

  test('a limit that is spent is noted', () => {
    const limiter = new Limiter()
    const asked: Asked = { fields: ['X-API-Key', keyOf(1)], given: { limiter } }
    expect(passed(set, asked).audited).toBeUndefined()
    expect(passed(set, asked)).toMatchObject({ audited: { reason: 'RateLimited' }, allowance: undefined })
  })
})
