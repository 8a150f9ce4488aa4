import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type AddressRange, isInRange, parseAddress, parseAllowedAddress, parseCidr } from '../src/core/address.ts'

const isIn = (address: string, range: AddressRange | undefined): boolean => isInRange(parseAddress(address)!, range!)

describe('addresses', () => {
  test.each([
    '0.0.0.0',
    '10.1.2.3',
    '255.255.255.255',
    '::',
    '::1',
    '2001:db8::1',
    '2001:DB8:0:0:0:0:0:1',
    '1:2:3:4:5:6:7:8',
    '::ffff:10.0.0.1',
    '::10.0.0.1',
    'fe80::1',
  ])('%s is one', (text) => expect(parseAddress(text)).toBeDefined())
  test.each([
    ['', 'nothing'],
    ['10.0.0', 'three octets'],
    ['127.1', 'a shortened form'],
    ['2130706433', 'a number'],
    ['0x7f000001', 'hexadecimal'],
    ['0x7f.0.0.1', 'a hexadecimal octet'],
    ['010.0.0.1', 'an octal octet'],
    ['10.0.0.01', 'a leading zero'],
    ['00.0.0.0', 'a leading zero'],
    ['256.0.0.1', 'an octet that is too large'],
    ['10.0.0.1.', 'a dot at the end'],
    ['10.0.0.1.5', 'five octets'],
    ['10.0.0.-1', 'a sign'],
    [' 10.0.0.1', 'a space'],
    ['10.0.0.1\n', 'a line break'],
    ['10.0.0.1:80', 'a port'],
    ['10.0.0.1/32', 'a prefix length'],
    ['10.0.0.*', 'a star'],
    ['fe80::1%eth0', 'a zone'],
    ['::1%25lo', 'an escaped zone'],
    ['[::1]', 'brackets'],
    ['1::2::3', 'two gaps'],
    ['1:2:3:4:5:6:7', 'seven groups'],
    ['1:2:3:4:5:6:7:8:9', 'nine groups'],
    ['12345::', 'a group of five digits'],
    ['::g', 'a letter that is no digit'],
    ['::ffff:010.0.0.1', 'an octal octet within IPv6'],
    ['::ffff:1.2.3', 'three octets within IPv6'],
    [':', 'a colon'],
    [':::', 'three colons'],
    ['localhost', 'a name'],
    ['１０.0.0.1', 'digits of another script'],
  ])('%s is none: %s', (text) => expect(parseAddress(text)).toBeUndefined())

  test('an IPv4-mapped address is the IPv4 address', () => {
    expect(parseAddress('::ffff:10.1.2.3')).toEqual(parseAddress('10.1.2.3'))
    expect(parseAddress('::ffff:a01:203')).toEqual(parseAddress('10.1.2.3'))
  })
})

describe('ranges', () => {
  test.each([
    ['10.0.0.0/8', '10.255.255.255', true],
    ['10.0.0.0/8', '11.0.0.0', false],
    ['10.0.0.0/8', '::ffff:10.9.9.9', true],
    ['10.0.0.0/8', '::10.9.9.9', false],
    ['0.0.0.0/0', '203.0.113.9', true],
    ['0.0.0.0/0', '2001:db8::1', false],
    ['::/0', '2001:db8::1', true],
    ['::/0', '203.0.113.9', false],
    ['::/0', '::ffff:203.0.113.9', false],
    ['2001:db8::/32', '2001:db8:ffff::', true],
    ['2001:db8::/32', '2001:db9::', false],
    ['2001:db8::/33', '2001:db8:8000::', false],
    ['192.168.1.7', '192.168.1.7', true],
    ['192.168.1.7', '192.168.1.8', false],
    ['2001:db8::7/128', '2001:db8::7', true],
    ['255.255.255.255/32', '255.255.255.255', true],
    ['128.0.0.0/1', '192.0.2.1', true],
    ['128.0.0.0/1', '127.255.255.255', false],
  ])('%s and %s: %s', (range, address, expected) => expect(isIn(address, parseCidr(range))).toBe(expected))

  test.each([
    ['10/8', 'a shortened address'],
    ['10.0.0.1/8', 'host bits'],
    ['0.0.0.1/0', 'host bits'],
    ['2001:db8::1/32', 'host bits'],
    ['10.0.0.0/33', 'too long a prefix'],
    ['::/129', 'too long a prefix'],
    ['10.0.0.0/08', 'a leading zero'],
    ['10.0.0.0/', 'no length'],
    ['10.0.0.0/-1', 'a sign'],
    ['10.0.0.0/8/8', 'two lengths'],
    ['/8', 'no address'],
    ['10.0.0.0/255.0.0.0', 'a netmask'],
    ['10.0.0.0 /8', 'a space'],
    ['::ffff:10.0.0.0/104', 'IPv4 that is spelt as IPv6'],
    ['::ffff:10.0.0.1', 'IPv4 that is spelt as IPv6'],
    ['fe80::%eth0/64', 'a zone'],
    ['10.0.0.*', 'a star'],
  ])('%s is none: %s', (text) => expect(parseCidr(text)).toBeUndefined())

  test.each([
    ['192.168.1.*', '192.168.1.200', true],
    ['192.168.1.*', '192.168.2.1', false],
    ['192.*.1.7', '192.5.1.7', true],
    ['192.*.1.7', '192.5.1.8', false],
    ['*.0.0.1', '99.0.0.1', true],
    ['*.0.0.1', '99.1.0.1', false],
    ['192.168.*.255', '192.168.0.255', true],
    ['192.168.1.*', '2001:db8::c0a8:105', false],
  ])('%s and %s: %s', (range, address, expected) => expect(isIn(address, parseAllowedAddress(range))).toBe(expected))

  test.each([
    '*',
    '*.*.1.1',
    '10.0.*',
    '10.0.0.1*',
    '10.0.0.**',
    '10.0.0.*/24',
    '1*.0.0.1',
    '::*',
    '*.0.0.01',
    '10.0.0.0.*',
  ])('%s is none: it must be one whole octet', (text) => expect(parseAllowedAddress(text)).toBeUndefined())
})

test('a range holds exactly the addresses that agree with it in so many bits', () => {
  const bytes = fc.oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 }))
  const text = (address: readonly number[]): string =>
    address.length === 4
      ? address.join('.')
      : Array.from({ length: 8 }, (_, at) => ((address[2 * at]! << 8) | address[2 * at + 1]!).toString(16)).join(':')
  const bitsOf = (address: readonly number[]): string =>
    address.map((byte) => byte.toString(2).padStart(8, '0')).join('')
  const isMapped = (address: readonly number[]): boolean =>
    address.length === 16 && bitsOf(address).startsWith('0'.repeat(80) + '1'.repeat(16))
  fc.assert(
    fc.property(bytes, fc.nat(), fc.nat(), fc.boolean(), (given, cut, flip, near) => {
      const length = cut % (given.length * 8 + 1)
      const network = [...given].map((byte, at) => {
        const kept = Math.min(Math.max(length - 8 * at, 0), 8)
        return byte & (0xff00 >> kept) & 0xff
      })
      fc.pre(!isMapped(network))
      const range = parseCidr(`${text(network)}/${length}`)!
      expect(range).toBeDefined()
      const other = [...given]
      if (near) other[Math.floor(flip / 8) % other.length]! ^= 1 << (flip % 8)
      fc.pre(!isMapped(other))
      const expected = bitsOf(other).slice(0, length) === bitsOf(network).slice(0, length)
      expect(isInRange(parseAddress(text(other))!, range)).toBe(expected)
      const hasHostBits = [...given].some((byte, at) => byte !== network[at])
      if (hasHostBits) expect(parseCidr(`${text([...given])}/${length}`)).toBeUndefined()
    }),
    { numRuns: 1000 },
  )
})

test('what is read as an address is written as one: four decimal octets, or hexadecimal groups', () => {
  const soup = fc.string({ unit: fc.constantFrom(...'0123456789abcfx.:/%[]* '.split('')), maxLength: 24 })
  fc.assert(
    fc.property(soup, (text) => {
      if (parseAddress(text) === undefined) return
      if (text.includes(':')) expect(text).toMatch(/^[0-9a-f:.]+$/)
      else
        expect(
          text
            .split('.')
            .map((part) => String(Number(part)))
            .join('.'),
        ).toBe(text)
    }),
    { numRuns: 2000 },
  )
})
