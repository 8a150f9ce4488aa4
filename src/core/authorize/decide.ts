import { isInRange } from '../address.ts'
import { hostMatches, parseHost } from '../host.ts'
import { digestOf, hasKeyPrefix, isKeyText, parseKey } from '../key.ts'
import { readTarget } from '../path.ts'
import { findClient } from './client-address.ts'
import { findCredential } from './credential.ts'
import type { BodyFindings, Decision, RefusalReason, Refused, RequestFacts } from './decision.ts'
import { type FieldClass, fieldClassifier } from './fields.ts'
import { forward } from './forward.ts'
import type { Guard } from './guard.ts'
import { Inquiry } from './inquiry.ts'
import type { Limiter } from './limit.ts'
import { membersOf } from './members.ts'
import { findInterface } from './resources.ts'
import type { FoundKey, VerificationSet } from './set.ts'

/** What a decision may need besides, where the policy asks for it. */
export interface Given {
  /** What is known of the body: absent as long as nobody has looked. */
  readonly body?: BodyFindings | undefined
  /** What limited keys have spent; without it, no key is limited. The one thing that a decision changes. */
  readonly limiter?: Limiter | undefined
}

const nothingMore: Given = {}

/**
 * May this request pass? `set` is undefined as long as none was loaded; `now` is in Unix seconds. Nothing here waits, and
 * every refusal is an answer.
 *
 * A refusal with `body` is for want of what the body says: it stands, unless whoever asks has the body, looks into it, and
 * asks again with the findings.
 */
export function decide(
  set: VerificationSet | undefined,
  facts: RequestFacts,
  now: number,
  given: Given = nothingMore,
): Decision {
  const inquiry = new Inquiry(facts, set, now, given)
  for (const check of checks) {
    const decision = check(inquiry)
    if (decision) return decision.allow ? decision : audited(inquiry, decision)
  }
  return forward(inquiry)
}

/**
 * In mode Audit a refused request passes all the same, unless it is malformed, or there is no set that says so, or its body
 * is longer than may be read. One whose body is still to be looked at waits for that, as it would otherwise.
 */
function audited(inquiry: Inquiry, refused: Refused): Decision {
  const isFinal = refused.body !== undefined || refused.status === 413
  // The policy is known from the second check on.
  if (isFinal || (inquiry.guard as Guard | undefined)?.document.mode !== 'Audit') return refused
  return { ...forward(inquiry), audited: refused }
}

/** In this order: the first that objects gives the reason. */
const checks: readonly ((inquiry: Inquiry) => Decision | undefined)[] = [
  requestIsWellFormed,
  setIsLoaded,
  hostIsOurs,
  pathIsOpen,
  keyIsPresented,
  keyIsKnown,
  keyIsLive,
  addressIsAllowed,
  interfaceIsGranted,
  resourcesAreGranted,
  limitIsNotSpent,
]

const methodToken = /^[A-Z](?:[A-Z_-]*[A-Z])?$/
/** For requests that come before any set: they are refused either way, and malformed ones as such. */
const withoutPolicy = fieldClassifier({ credentials: [], identityHeaders: [], resources: [] })

function requestIsWellFormed(inquiry: Inquiry): Decision | undefined {
  const { facts, set } = inquiry
  if (facts.method === 'CONNECT' || facts.method === 'TRACE')
    return { allow: false, reason: 'RequestMalformed', status: 405 }
  if (!methodToken.test(facts.method)) return refuse('RequestMalformed')

  const classify = set?.guard.classify ?? withoutPolicy
  let host: string | undefined
  for (let index = 0; index < facts.fields.length; index += 2) {
    const kind = classify(facts.fields[index]!)
    if (kind === 'host') {
      if (host !== undefined) return refuse('RequestMalformed')
      host = facts.fields[index + 1]!
    } else if (kind === 'connection') {
      const nominated = readConnection(facts.fields[index + 1]!, classify)
      if (!nominated) return refuse('RequestMalformed')
      if (nominated.length > 0) inquiry.nominated = [...(inquiry.nominated ?? []), ...nominated]
    }
  }
  const name = host === undefined ? undefined : parseHost(host)
  if (name === undefined) return refuse('RequestMalformed')
  inquiry.host = name

  const origin = originForm(facts.target, host!)
  const target = origin === undefined ? 'char' : readTarget(origin)
  if (typeof target === 'string') return refuse('RequestMalformed')
  inquiry.target = target
  return undefined
}

function setIsLoaded(inquiry: Inquiry): Decision | undefined {
  if (!inquiry.set) return refuse('PolicyUnavailable')
  inquiry.guard = inquiry.set.guard
  return undefined
}

function hostIsOurs({ guard, host }: Inquiry): Decision | undefined {
  return hostMatches(guard.hosts, host) ? undefined : refuse('HostUnknown')
}

function pathIsOpen(inquiry: Inquiry): Decision | undefined {
  inquiry.route = inquiry.guard.route(inquiry.facts.method, inquiry.target.path)
  if (inquiry.route.denied) return refuse('PathDenied')
  return inquiry.route.public ? forward(inquiry) : undefined
}

function keyIsPresented(inquiry: Inquiry): Decision | undefined {
  const { guard, facts, target } = inquiry
  const presented = findCredential(guard.places, facts.fields, target.query, guard.classify, guard.document.keyPrefix)
  if (presented.place === 'none') return refuse('KeyMissing')
  if (presented.place === 'several') return { allow: false, reason: 'KeyAmbiguous', credentialPresented: true }
  inquiry.place = presented.place
  inquiry.candidates = presented.candidates
  return undefined
}

/** Checks of form and of knowledge in one, for a key that was found and judged before need not be judged again. */
function keyIsKnown(inquiry: Inquiry): Decision | undefined {
  const { keyPrefix, suspended } = inquiry.guard.document
  let reason: RefusalReason = 'KeyMalformed'
  for (const { key, keyId } of inquiry.candidates) {
    if (!isKeyText(key)) continue
    const found = inquiry.set!.find(digestOf(key))
    const wellFormed = found?.wellFormed ?? (!hasKeyPrefix(key, keyPrefix) || parseKey(key, keyPrefix) !== undefined)
    if (!wellFormed) continue
    reason = 'KeyUnknown'
    if (!found) continue
    found.wellFormed = true
    if (keyId !== undefined && keyId !== found.keyId && keyId !== parseKey(key, keyPrefix)?.keyId) continue
    inquiry.key = found
    return suspended ? refuse('PolicySuspended', found) : undefined
  }
  return { allow: false, reason, credentialPresented: true }
}

function keyIsLive({ key, now }: Inquiry): Decision | undefined {
  if (!key!.enabled) return refuse('KeyDisabled', key)
  if (key!.notAfter !== 0 && now >= key!.notAfter) return refuse('KeyExpired', key)
  if (now < key!.notBefore) return refuse('KeyNotYetValid', key)
  return undefined
}

function addressIsAllowed({ key, guard, facts }: Inquiry): Decision | undefined {
  const { addresses } = key!.grant
  if (addresses.length === 0) return undefined
  const client = findClient(guard.clientAddress, facts, guard.classify)
  if (!client) return refuse('AddressUnknown', key)
  return addresses.some((range) => isInRange(client.address, range)) ? undefined : refuse('AddressNotAllowed', key)
}

function interfaceIsGranted(inquiry: Inquiry): Decision | undefined {
  const { route, key, guard } = inquiry
  if (route.interfaces.length === 0) return refuse('InterfaceUnknown', key)
  const granted = route.interfaces.find((index) => key!.grant.interfaces.has(index))
  if (granted === undefined) return refuse('InterfaceNotAllowed', key)
  // Nearly always nothing else is asked for there.
  if (guard.resourcesOf[granted]!.length === 0) inquiry.interface = guard.document.interfaces[granted]!.name
  return undefined
}

function resourcesAreGranted(inquiry: Inquiry): Decision | undefined {
  if (inquiry.interface !== undefined) return undefined
  const found = findInterface(inquiry)
  if (typeof found !== 'number') return found
  inquiry.interface = inquiry.guard.document.interfaces[found]!.name
  return undefined
}

/** The last check, for a request that is refused for another reason spends nothing. */
function limitIsNotSpent(inquiry: Inquiry): Decision | undefined {
  const { key, guard, limiter, now } = inquiry
  const limit = key!.grant.rateLimit ?? guard.document.rateLimit
  if (limit === undefined || limiter === undefined) return undefined
  const { granted, allowance } = limiter.spend(key!.keyId, limit, now)
  inquiry.allowance = allowance
  return granted ? undefined : { ...refuse('RateLimited', key), allowance }
}

const refuse = (reason: RefusalReason, key?: FoundKey): Refused =>
  key ? { allow: false, reason, key, credentialPresented: true } : { allow: false, reason }

const fieldName = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
const connectionOptions = new Set([
  'close',
  'keep-alive',
  'upgrade',
  'te',
  'trailer',
  'http2-settings',
  'proxy-connection',
])

/**
 * The fields that a Connection field names, to be removed here. Undefined where it names one that others rely on: whoever
 * asks for an identity or a framing field to be taken away means no good (RFC 9110 §7.6.1).
 */
function readConnection(value: string, classify: (name: string) => FieldClass): string[] | undefined {
  if (value === 'close' || value === 'keep-alive') return []
  const nominated: string[] = []
  for (const member of membersOf(value)) {
    const option = member.toLowerCase()
    if (option === '' || connectionOptions.has(option)) continue
    if (!fieldName.test(option)) return undefined
    const kind = classify(option)
    // What proxies tell of the client is judged or replaced here in any case: naming it takes nothing away.
    if (kind === 'x-forwarded-for' || kind === 'forwarded' || kind === 'from-proxy') continue
    if (kind !== 'pass') return undefined
    nominated.push(option)
  }
  return nominated
}

/** Takes scheme and authority off a target in absolute-form; the authority must be that of the Host field (RFC 9112 §3.2.2). */
function originForm(target: string, host: string): string | undefined {
  if (target.charCodeAt(0) === 0x2f) return target
  const match = /^https?:\/\/([^/?#]*)([/?]?.*)$/is.exec(target)
  if (!match || match[1]!.toLowerCase() !== host.toLowerCase()) return undefined
  return match[2]!.startsWith('/') ? match[2]! : `/${match[2]}`
}
