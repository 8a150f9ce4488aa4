import type { ClientAddress } from '../../api/access-policy.ts'
import { type Address, type AddressRange, isInRange, parseAddress, parseCidr } from '../address.ts'
import { RecentlyUsed } from '../recently-used.ts'
import type { RequestFacts } from './decision.ts'
import type { ClassifyField } from './fields.ts'
import { membersOf } from './members.ts'

export interface ClientAddressRule {
  readonly source: ClientAddress['source']
  readonly trustedProxies: readonly AddressRange[] | undefined
  readonly trustedHops: number
  /** Peers, parsed: a connection's stays the same from request to request. */
  readonly peers: RecentlyUsed<Client>
}

const rememberedPeers = 1000

/** The client as the text that names it and as a parsed address. */
export interface Client {
  readonly text: string
  readonly address: Address
}

export const compileClientAddress = ({ source, trustedProxies, trustedHops }: ClientAddress): ClientAddressRule => ({
  source,
  trustedProxies: trustedProxies?.map((text) => parseCidr(text)!),
  trustedHops: trustedHops ?? Number.POSITIVE_INFINITY,
  peers: new RecentlyUsed(rememberedPeers),
})

/**
 * Who sent the request. Headers are read from the right, as far as trusted proxies wrote them. Undefined where an address
 * that matters is missing or malformed: guessing would help whoever malformed it.
 */
export function findClient(rule: ClientAddressRule, facts: RequestFacts, classify: ClassifyField): Client | undefined {
  let client = findPeer(rule, facts.peer)
  if (rule.source === 'Connection' || !client) return client
  const chain = rule.source === 'XForwardedFor' ? forwardedFor(facts, classify) : forwarded(facts, classify)
  if (!chain) return undefined
  for (let hops = 0; chain.length > 0 && isTrusted(rule, client, hops); hops++) {
    const next = parseClient(chain.pop())
    if (!next) return undefined
    client = next
  }
  return client
}

/** Whether the other end of the connection is a proxy whose word is taken. */
export function peerIsTrusted(rule: ClientAddressRule, peer: string | undefined): boolean {
  const client = rule.source === 'Connection' ? undefined : findPeer(rule, peer)
  return client !== undefined && isTrusted(rule, client, 0)
}

const isTrusted = ({ trustedProxies, trustedHops }: ClientAddressRule, { address }: Client, hops: number): boolean =>
  hops < trustedHops && (trustedProxies === undefined || trustedProxies.some((range) => isInRange(address, range)))

function findPeer({ peers }: ClientAddressRule, peer: string | undefined): Client | undefined {
  const known = peer === undefined ? undefined : peers.get(peer)
  if (known) return known
  const client = parseClient(peer)
  if (client) peers.set(peer!, client)
  return client
}

/** With a port, as some proxies add it, or without. */
function parseClient(text: string | undefined): Client | undefined {
  if (text === undefined) return undefined
  const bare = /^(?:\[([^\]]*:[^\]]*)\]|([^:[]*))(?::[0-9]{1,5})?$/.exec(text)
  const name = bare?.[1] ?? bare?.[2] ?? text
  const address = parseAddress(name)
  return address && { text: name, address }
}

function forwardedFor({ fields }: RequestFacts, classify: ClassifyField): string[] {
  return valuesOf(fields, classify, 'x-forwarded-for').flatMap(membersOf)
}

/** The `for` parameters of RFC 7239, in order. Undefined where the grammar is broken. */
function forwarded({ fields }: RequestFacts, classify: ClassifyField): string[] | undefined {
  const text = valuesOf(fields, classify, 'forwarded').join(',')
  const chain: string[] = []
  const pair =
    /[ \t]*(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)|"((?:[^"\\]|\\.)*)")[ \t]*)?(;|,|$)/y
  for (let node: string | undefined; pair.lastIndex < text.length; ) {
    const match = pair.exec(text)
    if (!match) return undefined
    const [, name, token, quoted, end] = match
    if (name?.toLowerCase() === 'for') {
      if (node !== undefined) return undefined
      node = token ?? quoted!.replace(/\\(.)/g, '$1')
    }
    if (end !== ';') {
      // An element without `for` hides who it was.
      chain.push(node ?? 'unknown')
      node = undefined
    }
  }
  return chain
}

const valuesOf = (
  fields: readonly string[],
  classify: ClassifyField,
  wanted: 'x-forwarded-for' | 'forwarded',
): string[] =>
  fields.flatMap((name, index) => (index % 2 === 0 && classify(name) === wanted ? [fields[index + 1]!] : []))
