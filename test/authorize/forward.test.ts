import { describe, expect, test } from 'vitest'
import { forwarded, passed, setOf } from '../support/asked.ts'
import { keyIdOf, keyOf } from '../support/verification.ts'

const key = keyOf(1)
const set = setOf({ interfaces: [{ name: 'read', match: [{ paths: ['/**'] }] }], public: [{ paths: ['/open'] }] }, [
  { key, roles: ['Admin', 'Reader'] },
])
const withKey = (...fields: string[]) => passed(set, { fields: ['X-API-Key', key, ...fields] })

const hopByHop =
  'Keep-Alive Proxy-Connection Proxy-Authorization Proxy-Authenticate TE Trailer Upgrade Transfer-Encoding Content-Length Expect HTTP2-Settings'
const told =
  'X-Postern-Key-Id X-Postern-Roles X-Postern-Anything X-Real-IP Remote-User X-Original-URL X-Original-URI X-Rewrite-URL X-Envoy-Original-Path X-Forwarded-User X-Forwarded-Prefix Forwarded X-HTTP-Method-Override X-Method-Override X-HTTP-Method'
/** What some servers cannot tell from a protected name. */
const disguised =
  '_method X_Postern_Key_Id X.Postern.Key.Id x_real_ip X_Forwarded_For X-Forwarded.For X!Original!URL X_API_Key Remote_User Content_Length Transfer_Encoding'

describe('fields that go on', () => {
  test('keep their spelling, their order and their repetition', () => {
    const { fieldLines } = passed(set, {
      fields: ['accept', 'a', 'X-API-Key', key, 'Cookie', 'x=1', 'Cookie', 'y=2', 'X-Mine', '', '__proto__', 'z'],
    })
    expect(fieldLines).toMatch(
      /^Host: api\.example\r\naccept: a\r\nCookie: x=1\r\nCookie: y=2\r\nX-Mine: \r\n__proto__: z\r\n/,
    )
    expect(fieldLines.endsWith('\r\n')).toBe(true)
  })

  test.each(hopByHop.split(' '))('%s belongs to this hop', (name) =>
    expect(forwarded(withKey(name, 'x'), name)).toEqual([]),
  )

  test.each(`${told} ${disguised}`.split(' '))('%s cannot be spoofed', (name) => {
    expect(withKey(name, 'spoofed').fieldLines).not.toContain('spoofed')
  })

  test('what Connection names goes, in any case and over several lines', () => {
    const lines = withKey(
      'Connection',
      'X-One, close',
      'x-one',
      '1',
      'Connection',
      'x-two',
      'X-Two',
      '2',
      'X-Three',
      '3',
    )
    expect(forwarded(lines, 'x-one')).toEqual([])
    expect(forwarded(lines, 'x-two')).toEqual([])
    expect(forwarded(lines, 'x-three')).toEqual(['3'])
    expect(forwarded(lines, 'connection')).toEqual([])
  })

  test('what Connection names cannot be what tells of the client', () => {
    const lines = withKey('Connection', 'X-Forwarded-For', 'X-Forwarded-For', '10.0.0.1')
    expect(forwarded(lines, 'x-forwarded-for')).toEqual(['192.0.2.10'])
  })
})

describe('identity', () => {
  test('is told by default in four fields', () => {
    const lines = withKey()
    expect(forwarded(lines, 'X-Postern-Key-Id')).toEqual([keyIdOf(key)])
    expect(forwarded(lines, 'X-Postern-Key-Name')).toEqual(['exporter'])
    expect(forwarded(lines, 'X-Postern-Key-Namespace')).toEqual(['billing'])
    expect(forwarded(lines, 'X-Postern-Roles')).toEqual(['Admin,Reader'])
  })

  test('is told once, whatever the client sends', () => {
    const lines = withKey('X-Postern-Key-Name', 'root', 'x-postern-key-name', 'root')
    expect(forwarded(lines, 'X-Postern-Key-Name')).toEqual(['exporter'])
  })

  test('may have names of its own, and none at all', () => {
    const identityHeaders = [
      { name: 'Remote-User', value: 'KeyName' },
      { name: 'X-Interface', value: 'Interface' },
    ]
    const own = setOf({ upstream: { identityHeaders } }, [{ key }])
    const lines = passed(own, {
      fields: ['X-API-Key', key, 'remote-user', 'root', 'X_Interface', 'root', 'X-INTERFACE', 'root'],
    })
    expect(forwarded(lines, 'Remote-User')).toEqual(['exporter'])
    expect(forwarded(lines, 'X-Interface')).toEqual(['*'])
    expect(lines.fieldLines).not.toContain('root')
    const silent = passed(setOf({ upstream: { identityHeaders: [] } }, [{ key }]), {
      fields: ['X-API-Key', key, 'X-Postern-Key-Name', 'root'],
    })
    expect(silent.fieldLines).not.toMatch(/postern/i)
  })

  test('is of nobody on a public path', () => {
    const lines = passed(set, {
      target: '/open',
      fields: ['X-API-Key', key, 'X-Postern-Key-Name', 'root', 'X_Postern_Roles', 'a'],
    })
    expect(lines.fieldLines).not.toMatch(/postern/i)
  })
})

describe('the target', () => {
  test.each([
    ['/%6frders/%7e?x=%6f', '/orders/~?x=%6f'],
    ['/a%c3%a9', '/a%C3%A9'],
    ['http://api.example', '/'],
    ['http://api.example?x', '/?x'],
    ['https://API.EXAMPLE/a?', '/a?'],
  ])('%s goes on as %s', (target, expected) => {
    expect(passed(set, { target, fields: ['X-API-Key', key] }).target).toBe(expected)
  })
})
