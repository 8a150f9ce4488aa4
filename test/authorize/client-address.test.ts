import { describe, expect, test } from 'vitest'
import { type Asked, forwarded, passed, setOf, verdict } from '../support/asked.ts'
import { keyOf } from '../support/verification.ts'

const key = keyOf(1)
const clientAddress = (given: object) => setOf({ clientAddress: given }, [{ key }])

/** Who the application is told has asked; undefined where nobody knows. */
const client = (set: ReturnType<typeof setOf>, asked: Asked): string | undefined =>
  forwarded(passed(set, { ...asked, fields: ['X-API-Key', key, ...(asked.fields ?? [])] }), 'X-Forwarded-For').join()
const xff = (...values: string[]): string[] => values.flatMap((value) => ['X-Forwarded-For', value])
const fwd = (...values: string[]): string[] => values.flatMap((value) => ['Forwarded', value])

describe('by the connection', () => {
  const set = clientAddress({})
  test.each<[what: string, asked: Asked, client: string]>([
    ['the peer', {}, '192.0.2.10'],
    ['an IPv6 peer', { peer: '2001:db8::1' }, '2001:db8::1'],
    [
      'whatever headers say',
      { fields: [...xff('10.0.0.1'), ...fwd('for=10.0.0.1'), 'X-Real-IP', '10.0.0.1'] },
      '192.0.2.10',
    ],
    ['nobody where the peer is not known', { peer: undefined, fields: xff('10.0.0.1') }, ''],
  ])('%s', (_, asked, expected) => expect(client(set, asked)).toBe(expected))
})

describe('by X-Forwarded-For', () => {
  const proxies = clientAddress({ source: 'XForwardedFor', trustedProxies: ['192.0.2.0/24', '10.0.0.0/8'] })
  const oneHop = clientAddress({ source: 'XForwardedFor', trustedHops: 1 })
  const twoHops = clientAddress({ source: 'XForwardedFor', trustedHops: 2 })
  const both = clientAddress({
    source: 'XForwardedFor',
    trustedProxies: ['192.0.2.0/24', '10.0.0.0/8'],
    trustedHops: 2,
  })
  test.each<[what: string, set: ReturnType<typeof setOf>, asked: Asked, client: string]>([
    ['no header', proxies, {}, '192.0.2.10'],
    ['one trusted proxy', proxies, { fields: xff('203.0.113.9') }, '203.0.113.9'],
    ['the rightmost that is not trusted', proxies, { fields: xff('1.1.1.1, 203.0.113.9, 10.0.0.7') }, '203.0.113.9'],
    ['lines are joined in order', proxies, { fields: xff('1.1.1.1', '203.0.113.9', '10.0.0.7') }, '203.0.113.9'],
    ['all trusted: the leftmost', proxies, { fields: xff('10.0.0.9, 10.0.0.7') }, '10.0.0.9'],
    ['an untrusted peer is not believed', proxies, { peer: '198.51.100.1', fields: xff('10.0.0.1') }, '198.51.100.1'],
    [
      'a mapped peer is the IPv4 one',
      proxies,
      { peer: '::ffff:192.0.2.10', fields: xff('203.0.113.9') },
      '203.0.113.9',
    ],
    ['with a port', proxies, { fields: xff('203.0.113.9:1234') }, '203.0.113.9'],
    ['IPv6', proxies, { fields: xff('2001:db8::9') }, '2001:db8::9'],
    ['IPv6 in brackets, with a port', proxies, { fields: xff('[2001:db8::9]:1234') }, '2001:db8::9'],
    ['blanks', proxies, { fields: xff('1.1.1.1 ,\t203.0.113.9\t') }, '203.0.113.9'],
    ['nonsense beyond the client does not matter', proxies, { fields: xff('<script>, 203.0.113.9') }, '203.0.113.9'],
    ['nonsense as the client', proxies, { fields: xff('203.0.113.9, nonsense') }, ''],
    ['an empty element', proxies, { fields: xff('203.0.113.9,') }, ''],
    ['an octal address', proxies, { fields: xff('010.0.0.1') }, ''],
    ['a number', proxies, { fields: xff('0x0a000001') }, ''],
    ['a zone', proxies, { fields: xff('fe80::1%eth0') }, ''],
    ['brackets around IPv4', proxies, { fields: xff('[203.0.113.9]') }, ''],
    ['half a bracket', proxies, { fields: xff('[2001:db8::9') }, ''],
    ['a port that is none', proxies, { fields: xff('203.0.113.9:x') }, ''],
    ['unknown', proxies, { fields: xff('unknown') }, ''],
    ['in disguise', proxies, { fields: ['X_Forwarded_For', '203.0.113.9'] }, '192.0.2.10'],
    ['one hop', oneHop, { fields: xff('1.1.1.1, 203.0.113.9') }, '203.0.113.9'],
    ['one hop, whoever it is', oneHop, { peer: '198.51.100.1', fields: xff('203.0.113.9') }, '203.0.113.9'],
    ['two hops', twoHops, { fields: xff('1.1.1.1, 203.0.113.9, 10.0.0.7') }, '203.0.113.9'],
    ['fewer elements than hops', twoHops, { fields: xff('203.0.113.9') }, '203.0.113.9'],
    ['both: the hops end first', both, { fields: xff('203.0.113.9, 10.0.0.8, 10.0.0.7') }, '10.0.0.8'],
    ['both: the proxies end first', both, { fields: xff('1.1.1.1, 203.0.113.9') }, '203.0.113.9'],
  ])('%s', (_, set, asked, expected) => expect(client(set, asked)).toBe(expected))
})

describe('by Forwarded', () => {
  const set = clientAddress({ source: 'Forwarded', trustedProxies: ['192.0.2.0/24', '10.0.0.0/8'] })
  test.each<[what: string, values: string[], client: string]>([
    ['no header', [], '192.0.2.10'],
    ['a token', ['for=203.0.113.9'], '203.0.113.9'],
    ['any case, other parameters', ['proto=https;FOR=203.0.113.9;By=10.0.0.1'], '203.0.113.9'],
    ['a quoted text with a port', ['for="203.0.113.9:80"'], '203.0.113.9'],
    ['IPv6', ['for="[2001:db8::9]:80"'], '2001:db8::9'],
    ['escapes in quotes', ['for="203.0.11\\3.9"'], '203.0.113.9'],
    ['the rightmost that is not trusted', ['for=1.1.1.1, for=203.0.113.9 , for=10.0.0.7'], '203.0.113.9'],
    ['lines are joined in order', ['for=203.0.113.9', 'for=10.0.0.7'], '203.0.113.9'],
    ['a comma within quotes', ['by="a, for=1.1.1.1";for=203.0.113.9'], '203.0.113.9'],
    ['a hidden client', ['for=_hidden'], ''],
    ['an unknown client', ['for=unknown'], ''],
    ['an element without for', ['for=203.0.113.9, proto=https'], ''],
    ['an empty element', ['for=203.0.113.9, ,for=10.0.0.7'], ''],
    ['for twice in one element', ['for=203.0.113.9;for=203.0.113.8'], ''],
    ['quotes without end', ['for="203.0.113.9'], ''],
    ['a client who opens quotes that swallow the proxy', ['for="1.1.1.1', 'for="[2001:db8::9]:80"'], ''],
    ['something after the quotes', ['for="203.0.113.9"x'], ''],
    ['a space around the equals sign', ['for = 203.0.113.9'], ''],
    ['IPv6 without quotes', ['for=[2001:db8::9]'], ''],
  ])('%s', (_, values, expected) => expect(client(set, { fields: fwd(...values) })).toBe(expected))

  test('X-Forwarded-For does not count then', () => {
    expect(client(set, { fields: xff('203.0.113.9') })).toBe('192.0.2.10')
  })
})

describe('what a proxy tells of the request', () => {
  const told = ['X-Forwarded-Proto', 'https', 'X-Forwarded-Host', 'shop.example', 'X-Forwarded-Port', '443']
  const names = ['X-Forwarded-Proto', 'X-Forwarded-Host', 'X-Forwarded-Port']
  const seen = (set: ReturnType<typeof setOf>, peer: string): string[] => {
    const lines = passed(set, { peer, fields: ['X-API-Key', key, ...told] })
    return names.flatMap((name) => forwarded(lines, name))
  }
  test('goes on from a trusted proxy, and from nobody else', () => {
    const proxies = clientAddress({ source: 'XForwardedFor', trustedProxies: ['192.0.2.0/24'] })
    expect(seen(proxies, '192.0.2.10')).toEqual(['https', 'shop.example', '443'])
    expect(seen(proxies, '198.51.100.1')).toEqual([])
    expect(seen(clientAddress({}), '192.0.2.10')).toEqual([])
  })
})

test('allowed addresses are compared with the client, not with the proxy', () => {
  const set = setOf({ clientAddress: { source: 'XForwardedFor', trustedHops: 1 } }, [
    { key, addresses: ['10.0.0.*', '2001:db8::/32'] },
  ])
  const from = (address: string): string =>
    verdict(set, { peer: '10.0.0.1', fields: ['X-API-Key', key, ...xff(address)] })
  expect(from('10.0.0.200')).toBe('Allowed')
  expect(from('2001:db8::1')).toBe('Allowed')
  expect(from('10.0.1.1')).toBe('AddressNotAllowed')
  expect(from('x')).toBe('AddressUnknown')
})

test('long fields of blanks are read before the time of a test is over', () => {
  const set = clientAddress({ source: 'Forwarded', trustedHops: 1 })
  const blanks = ' '.repeat(300_000)
  expect(client(set, { fields: fwd(`for=10.0.0.1${blanks}x`) })).toBe('')
  expect(client(set, { fields: fwd(`${blanks}@`) })).toBe('')
  expect(verdict(set, { fields: ['Connection', `close${blanks}x`] })).toBe('RequestMalformed')
})
