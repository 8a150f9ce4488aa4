import { describe, expect, test } from 'vitest'
import type { RefusalReason } from '../../src/core/authorize/decision.ts'
import { type Asked, ask, setOf, verdict } from '../support/asked.ts'
import { afterNoon, noon, secondsOf } from '../support/builders.ts'
import { keyOf } from '../support/verification.ts'

const spec = {
  hosts: ['api.example', '*.wild.example'],
  interfaces: [
    { name: 'read', match: [{ methods: ['GET'], paths: ['/orders', '/orders/{id}'] }] },
    { name: 'write', match: [{ methods: ['POST', 'DELETE'], paths: ['/orders/**'] }] },
    { name: 'any', match: [{ paths: ['/orders/{id}'] }] },
  ],
  public: [{ methods: ['GET'], paths: ['/healthz', '/admin/open'] }],
  denied: [{ paths: ['/admin/**', '/orders/internal'] }, { methods: ['DELETE'], paths: ['/orders/audit'] }],
  clientAddress: { source: 'XForwardedFor', trustedProxies: ['192.0.2.0/24'] },
}
const seconds = secondsOf(noon)
const keys = {
  reader: keyOf(1),
  writer: keyOf(2),
  disabled: keyOf(3),
  expired: keyOf(4),
  early: keyOf(5),
  local: keyOf(6),
  unknown: keyOf(7),
  disabledAndExpired: keyOf(8),
  any: keyOf(9),
}
const set = setOf(spec, [
  { key: keys.reader, interfaces: ['read'] },
  { key: keys.writer, interfaces: ['write'] },
  { key: keys.any, interfaces: ['any'] },
  { key: keys.disabled, enabled: false },
  { key: keys.expired, notAfter: seconds },
  { key: keys.early, notBefore: seconds + 10, addresses: ['10.0.0.0/8'] },
  { key: keys.local, addresses: ['10.0.0.0/8'], interfaces: ['read'] },
  { key: keys.disabledAndExpired, enabled: false, notAfter: seconds - 10 },
])
const withKey = (key: string): Asked => ({ fields: ['X-API-Key', key] })
const broken = `${keys.reader.slice(0, -1)}${keys.reader.endsWith('0') ? '1' : '0'}`
const foreign = 'a-key-that-was-made-elsewhere-0123456789'

describe('each check, in order', () => {
  test.each<[what: string, asked: Asked, reason: RefusalReason | 'Allowed']>([
    // 1: the request is well formed
    ['a method in lower case', { ...withKey(keys.reader), method: 'get' }, 'RequestMalformed'],
    ['an empty method', { ...withKey(keys.reader), method: '' }, 'RequestMalformed'],
    ['no Host', { ...withKey(keys.reader), host: undefined }, 'RequestMalformed'],
    ['two Hosts', { fields: ['X-API-Key', keys.reader, 'host', 'api.example'] }, 'RequestMalformed'],
    ['a malformed Host', { ...withKey(keys.reader), host: 'api.example/x' }, 'RequestMalformed'],
    ['a malformed target', { ...withKey(keys.reader), target: '/orders/../x' }, 'RequestMalformed'],
    ['a target without a slash', { ...withKey(keys.reader), target: '*' }, 'RequestMalformed'],
    [
      'an authority that is not the Host',
      { ...withKey(keys.reader), target: 'http://other.example/orders' },
      'RequestMalformed',
    ],
    [
      'an authority with a user',
      { ...withKey(keys.reader), target: 'http://u@api.example/orders' },
      'RequestMalformed',
    ],
    ['another scheme', { ...withKey(keys.reader), target: 'ftp://api.example/orders' }, 'RequestMalformed'],
    ['a fragment', { ...withKey(keys.reader), target: 'http://api.example#x' }, 'RequestMalformed'],
    ['absolute-form', { ...withKey(keys.reader), target: 'HTTP://API.example/orders?a' }, 'Allowed'],
    [
      'a nominated identity field',
      { fields: ['X-API-Key', keys.reader, 'Connection', 'X-Postern-Key-Id'] },
      'RequestMalformed',
    ],
    [
      'a nominated credential',
      { fields: ['X-API-Key', keys.reader, 'Connection', 'close, x-api-key'] },
      'RequestMalformed',
    ],
    ['a nominated Host', { fields: ['X-API-Key', keys.reader, 'Connection', 'host'] }, 'RequestMalformed'],
    ['a nominated length', { fields: ['X-API-Key', keys.reader, 'Connection', 'Content-Length'] }, 'RequestMalformed'],
    [
      'a nominated field in disguise',
      { fields: ['X-API-Key', keys.reader, 'Connection', 'x_postern_key_id'] },
      'RequestMalformed',
    ],
    ['nonsense in Connection', { fields: ['X-API-Key', keys.reader, 'Connection', 'a b'] }, 'RequestMalformed'],
    [
      'an ordinary Connection',
      { fields: ['X-API-Key', keys.reader, 'Connection', 'keep-alive, , Upgrade\t,x-mine'] },
      'Allowed',
    ],
    // 3: host, denied, public
    ['an unknown host', { ...withKey(keys.reader), host: 'b.example' }, 'HostUnknown'],
    ['a host with case, dot and port', { ...withKey(keys.reader), host: 'API.example.:8080' }, 'Allowed'],
    ['a host by a wildcard', { ...withKey(keys.reader), host: 'a.wild.example' }, 'Allowed'],
    ['a host two labels below a wildcard', { ...withKey(keys.reader), host: 'a.b.wild.example' }, 'HostUnknown'],
    ['a denied path', { ...withKey(keys.writer), method: 'POST', target: '/orders/internal' }, 'PathDenied'],
    ['a denied path without a key', { target: '/admin/x' }, 'PathDenied'],
    ['a denied path that is public too', { target: '/admin/open' }, 'PathDenied'],
    ['a path denied to one method', { ...withKey(keys.any), method: 'DELETE', target: '/orders/audit' }, 'PathDenied'],
    ['the same with another method', { ...withKey(keys.any), target: '/orders/audit' }, 'Allowed'],
    ['a public path', { target: '/healthz' }, 'Allowed'],
    ['a public path, HEAD', { target: '/healthz', method: 'HEAD' }, 'Allowed'],
    ['a public path, POST', { target: '/healthz', method: 'POST' }, 'KeyMissing'],
    ['below a public path', { target: '/healthz/x' }, 'KeyMissing'],
    // 4: one credential
    ['no key', {}, 'KeyMissing'],
    ['two keys', { fields: ['X-API-Key', keys.reader, 'x-api-key', keys.reader] }, 'KeyAmbiguous'],
    // 5: its form
    ['wrong check digits', withKey(broken), 'KeyMalformed'],
    ['an empty key', withKey(''), 'KeyMalformed'],
    ['a key with a space', withKey(`${keys.reader} x`), 'KeyMalformed'],
    ['two keys joined by a comma', withKey(`${keys.reader},${keys.reader}`), 'KeyMalformed'],
    ['a key without end', withKey(`x${'a'.repeat(512)}`), 'KeyMalformed'],
    ['our prefix alone', withKey('pstn_'), 'KeyMalformed'],
    // 6: known
    ['an unknown key', withKey(keys.unknown), 'KeyUnknown'],
    ['an unknown foreign key', withKey(foreign), 'KeyUnknown'],
    ['a name from the prototype of objects', withKey('__proto__'), 'KeyUnknown'],
    // 7: live
    ['a disabled key', withKey(keys.disabled), 'KeyDisabled'],
    ['disabled goes before expired', withKey(keys.disabledAndExpired), 'KeyDisabled'],
    ['an expired key', withKey(keys.expired), 'KeyExpired'],
    ['a key before its time', withKey(keys.early), 'KeyNotYetValid'],
    // 8: address
    ['an address that is not allowed', withKey(keys.local), 'AddressNotAllowed'],
    ['an unknown address', { ...withKey(keys.local), peer: undefined }, 'AddressUnknown'],
    ['a malformed address', { fields: ['X-API-Key', keys.local, 'X-Forwarded-For', '10.0.0.01'] }, 'AddressUnknown'],
    ['an allowed address', { fields: ['X-API-Key', keys.local, 'X-Forwarded-For', '10.0.0.1'] }, 'Allowed'],
    [
      'an allowed address goes before the interface',
      { ...withKey(keys.local), target: '/nowhere' },
      'AddressNotAllowed',
    ],
    ['an unknown address where any is allowed', { ...withKey(keys.reader), peer: undefined }, 'Allowed'],
    // 9: interface
    ['a path of no interface', { ...withKey(keys.reader), target: '/nowhere' }, 'InterfaceUnknown'],
    ['a method of no interface', { ...withKey(keys.reader), method: 'PATCH' }, 'InterfaceUnknown'],
    ['an interface that is not granted', { ...withKey(keys.reader), method: 'POST' }, 'InterfaceNotAllowed'],
    ['OPTIONS needs a match of its own', { ...withKey(keys.reader), method: 'OPTIONS' }, 'InterfaceUnknown'],
    ['HEAD is GET', { ...withKey(keys.reader), method: 'HEAD' }, 'Allowed'],
    ['a granted interface', withKey(keys.reader), 'Allowed'],
    ['one of several interfaces', { ...withKey(keys.any), target: '/orders/7' }, 'Allowed'],
  ])('%s', (_, asked, reason) => expect(verdict(set, asked)).toBe(reason))

  test('an earlier check gives the reason, whatever else is wrong', () => {
    // Mends one thing after the other: each time the next check objects.
    const steps: [Asked, RefusalReason][] = [
      [{ host: 'a b', target: '/admin/x', peer: undefined }, 'RequestMalformed'],
      [{ host: 'b.example', target: '/admin/x' }, 'HostUnknown'],
      [{ target: '/admin/x' }, 'PathDenied'],
      [{ target: '/nowhere' }, 'KeyMissing'],
      [{ target: '/nowhere', fields: ['X-API-Key', broken, 'Authorization', `Bearer ${keys.early}`] }, 'KeyAmbiguous'],
      [{ target: '/nowhere', fields: ['X-API-Key', broken] }, 'KeyMalformed'],
      [{ target: '/nowhere', fields: ['X-API-Key', keys.unknown] }, 'KeyUnknown'],
      [{ target: '/nowhere', fields: ['X-API-Key', keys.early] }, 'KeyNotYetValid'],
      [{ target: '/nowhere', fields: ['X-API-Key', keys.early], at: seconds + 10 }, 'AddressNotAllowed'],
      [
        { target: '/nowhere', fields: ['X-API-Key', keys.early, 'X-Forwarded-For', '10.0.0.1'], at: seconds + 10 },
        'InterfaceUnknown',
      ],
    ]
    expect(steps.map(([asked]) => verdict(set, asked))).toEqual(steps.map(([, reason]) => reason))
  })

  test.each(['CONNECT', 'TRACE'])('%s is answered with 405', (method) => {
    expect(ask(set, { method })).toEqual({ allow: false, reason: 'RequestMalformed', status: 405 })
    expect(ask(undefined, { method })).toMatchObject({ status: 405 })
  })
})

describe('without a set', () => {
  test('what is well formed is refused for the lack of it', () => {
    expect(verdict(undefined, { target: '/healthz' })).toBe('PolicyUnavailable')
    expect(verdict(undefined, withKey(keys.reader))).toBe('PolicyUnavailable')
  })
  test('what is malformed is refused as such', () => {
    expect(verdict(undefined, { target: '/..' })).toBe('RequestMalformed')
    expect(verdict(undefined, { fields: ['Connection', 'Host'] })).toBe('RequestMalformed')
  })
})

describe('a suspended policy', () => {
  const suspended = setOf({ ...spec, suspended: true }, [{ key: keys.reader }, { key: keys.disabled, enabled: false }])
  test.each<[what: string, asked: Asked, reason: RefusalReason | 'Allowed']>([
    ['refuses a live key', withKey(keys.reader), 'PolicySuspended'],
    ['refuses a disabled one for the same reason', withKey(keys.disabled), 'PolicySuspended'],
    ['knows unknown keys as such', withKey(keys.unknown), 'KeyUnknown'],
    ['leaves public paths open', { target: '/healthz' }, 'Allowed'],
  ])('%s', (_, asked, reason) => expect(verdict(suspended, asked)).toBe(reason))
})

describe('time, to the second', () => {
  const [from, until] = [secondsOf(noon), secondsOf(afterNoon(60))]
  const timed = setOf({}, [{ key: keys.reader, notBefore: from, notAfter: until }])
  test.each([
    [from - 1, 'KeyNotYetValid'],
    [from - 0.001, 'KeyNotYetValid'],
    [from, 'Allowed'],
    [until - 0.001, 'Allowed'],
    [until, 'KeyExpired'],
    [until + 1e9, 'KeyExpired'],
  ])('at %d: %s', (at, reason) => expect(verdict(timed, { ...withKey(keys.reader), at })).toBe(reason))
})

describe('what a decision tells', () => {
  test('the key and the interface that let it pass', () => {
    expect(ask(set, { ...withKey(keys.any), target: '/orders/7' })).toMatchObject({
      allow: true,
      interface: 'any',
      key: { name: 'exporter', namespace: 'billing', enabled: true },
    })
  })
  test('the first interface in the order of the policy that is granted', () => {
    const both = setOf(spec, [{ key: keys.reader, interfaces: ['any', 'read'] }])
    expect(ask(both, { ...withKey(keys.reader), target: '/orders/7' })).toMatchObject({ interface: 'read' })
  })
  test('neither key nor interface where the path is public', () => {
    expect(ask(set, { ...withKey(keys.reader), target: '/healthz' })).toMatchObject({
      key: undefined,
      interface: undefined,
    })
  })
  test('the key where one was recognised', () => {
    expect(ask(set, withKey(keys.expired))).toMatchObject({ key: { name: 'exporter' }, credentialPresented: true })
  })
  test('whether a credential was presented', () => {
    expect(ask(set, withKey(keys.unknown))).toEqual({ allow: false, reason: 'KeyUnknown', credentialPresented: true })
    expect(ask(set, {})).toEqual({ allow: false, reason: 'KeyMissing' })
  })
  test('never the key itself', () => {
    for (const key of Object.values(keys)) {
      const { facts: _, ...decision } = ask(set, withKey(key)) as { facts?: unknown }
      expect(JSON.stringify(decision)).not.toContain(key.split('_')[2])
    }
  })
})

test('a policy without interfaces has one that matches everything', () => {
  const open = setOf({}, [{ key: keys.reader }])
  expect(ask(open, { ...withKey(keys.reader), method: 'PROPFIND', target: '/any/where' })).toMatchObject({
    interface: '*',
  })
  expect(verdict(open, { target: '/any/where' })).toBe('KeyMissing')
})

test('asked again, the same is answered', () => {
  // Routes, peers, names and keys are remembered between requests: none of that may change an answer.
  const asked = [
    withKey(keys.reader),
    withKey(keys.unknown),
    withKey(broken),
    { target: '/healthz' },
    withKey(keys.local),
  ]
  const first = asked.map((one) => ask(set, one))
  for (let round = 0; round < 3; round++) expect(asked.map((one) => ask(set, one))).toEqual(first)
})
