import ipaddr from 'ipaddr.js'

/**
 * An IP address as four 32-bit words, IPv4 as `::ffff:a.b.c.d`, so that one comparison serves both families and an
 * IPv4-mapped IPv6 address is the IPv4 address that it stands for.
 */
export type Address = Readonly<Int32Array>

/** Addresses whose masked words equal the given ones. */
export interface AddressRange {
  readonly words: Address
  readonly mask: Address
  readonly isIPv4: boolean
}

const octet = '(?:[0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5])'
const ipv4 = new RegExp(`^${octet}(?:\\.${octet}){3}$`)
const ipv4WithStar = new RegExp(`^(?:${octet}|\\*)(?:\\.(?:${octet}|\\*)){3}$`)
const ipv6 = new RegExp(`^[0-9A-Fa-f:]*:(?:[0-9A-Fa-f]{0,4}|${ipv4.source.slice(1, -1)})$`)
const prefixLength = /^(?:0|[1-9][0-9]{0,2})$/

/** Strict: no octal, no shortened IPv4, no zone id. Undefined for anything else. */
export function parseAddress(text: string): Address | undefined {
  if (ipv4.test(text)) return ipv4Words(text)
  if (text.length > 45 || !ipv6.test(text)) return undefined
  const inGroups = text.replace(dottedTail, groupsOf)
  if (!ipaddr.IPv6.isValid(inGroups)) return undefined
  const bytes = ipaddr.IPv6.parse(inGroups).toByteArray()
  return Int32Array.from(
    [0, 4, 8, 12],
    (at) => (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!,
  )
}

const dottedTail = /[0-9]+\.[0-9.]+$/

/** Four octets as two groups: the library would take `::10.0.0.1` for `::ffff:10.0.0.1`, which is another address. */
function groupsOf(dotted: string): string {
  const word = ipv4Words(dotted)[3]! >>> 0
  return `${(word >>> 16).toString(16)}:${(word & 0xffff).toString(16)}`
}

/** An address, or a CIDR without host bits. Undefined for anything else. */
export function parseCidr(text: string): AddressRange | undefined {
  const [addressText, lengthText, ...rest] = text.split('/')
  const words = parseAddress(addressText!)
  if (!words || rest.length > 0) return undefined
  const isIPv4 = !addressText!.includes(':')
  // A range written as IPv4-mapped IPv6 is one of IPv4, spelt to be misread.
  if (!isIPv4 && isMapped(words)) return undefined
  const bits = isIPv4 ? 32 : 128
  if (lengthText !== undefined && (!prefixLength.test(lengthText) || Number(lengthText) > bits)) return undefined
  const mask = prefixMask(128 - bits + Number(lengthText ?? bits))
  return words.every((word, at) => (word & mask[at]!) === word) ? { words, mask, isIPv4 } : undefined
}

/** What `allowedAddresses` admits: an address, a CIDR, or an IPv4 address in which exactly one octet is `*`. */
export function parseAllowedAddress(text: string): AddressRange | undefined {
  if (!text.includes('*')) return parseCidr(text)
  if (!ipv4WithStar.test(text) || text.indexOf('*') !== text.lastIndexOf('*')) return undefined
  const star = text.split('.').indexOf('*')
  const mask = Int32Array.of(-1, -1, -1, ~(0xff << (24 - 8 * star)))
  return { words: ipv4Words(text.replace('*', '0')), mask, isIPv4: true }
}

export function isInRange(address: Address, range: AddressRange): boolean {
  for (let at = 3; at >= 0; at--) if ((address[at]! & range.mask[at]!) !== range.words[at]!) return false
  // Without this, `::/0` would hold every IPv4 address too.
  return range.isIPv4 || !isMapped(address)
}

const isMapped = (words: Address): boolean => words[0] === 0 && words[1] === 0 && words[2] === 0xffff

function ipv4Words(text: string): Address {
  return Int32Array.of(
    0,
    0,
    0xffff,
    text.split('.').reduce((word, part) => (word << 8) | Number(part), 0),
  )
}

function prefixMask(length: number): Address {
  return Int32Array.from([0, 32, 64, 96], (start) => {
    const bits = Math.min(Math.max(length - start, 0), 32)
    return bits === 0 ? 0 : -1 << (32 - bits)
  })
}
