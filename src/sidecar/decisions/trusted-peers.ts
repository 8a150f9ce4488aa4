import { type AddressRange, isInRange, parseAddress } from '../../core/address.ts'

/**
 * Whether the other end of a connection is a gateway that may ask. What gateways tell of a request is believed, so nobody
 * else may tell: with no ranges, nobody is trusted.
 *
 * @param address as the socket gives it, with a zone where the address is link-local
 */
export function isTrustedPeer(ranges: readonly AddressRange[], address: string | undefined): boolean {
  const parsed = address === undefined ? undefined : parseAddress(address.replace(/%.*$/, ''))
  return parsed !== undefined && ranges.some((range) => isInRange(parsed, range))
}
