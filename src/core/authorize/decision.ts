/** What is asked of the authorizer, and what it answers. */

import type { PointedValue } from './json-scanner.ts'
import type { Allowance } from './limit.ts'

/** Why a request is refused, in the order of the checks that find it. The same words in logs, metrics and reports. */
export type RefusalReason =
  | 'RequestMalformed'
  | 'PolicyUnavailable'
  | 'HostUnknown'
  | 'PathDenied'
  | 'KeyMissing'
  | 'KeyAmbiguous'
  | 'KeyMalformed'
  | 'KeyUnknown'
  | 'PolicySuspended'
  | 'KeyDisabled'
  | 'KeyExpired'
  | 'KeyNotYetValid'
  | 'AddressUnknown'
  | 'AddressNotAllowed'
  | 'InterfaceUnknown'
  | 'InterfaceNotAllowed'
  | 'ResourceMissing'
  | 'ResourceNotAllowed'
  | 'BodyNotInspectable'
  | 'RateLimited'

/** What a request shows of itself. Strings hold one character per byte (latin1). */
export interface RequestFacts {
  readonly method: string
  /** The request target exactly as received. */
  readonly target: string
  /** Field names as received and values without surrounding whitespace, alternating, in the order received. */
  readonly fields: readonly string[]
  /** Address of the other end of the TCP connection; undefined where it is not known. */
  readonly peer: string | undefined
  /** Whether a body follows. Where absent, the framing fields of HTTP/1.1 say so. */
  readonly hasBody?: boolean
}

/**
 * What is known of the body: what was found at pointers so far (a pointer that is not there is not decided yet), or why
 * nothing can be: it is longer than may be read, or no strict JSON, or whoever asks has no body to show.
 */
export type BodyFindings = ReadonlyMap<string, PointedValue> | 'TooLarge' | 'Unreadable' | 'Unavailable'

/** Where in the body the answer lies, and how long a body may be for that. */
export interface BodyWanted {
  readonly pointers: readonly string[]
  readonly maxBytes: number
}

/** The key that a request presented, as its verification set knows it. */
export interface KeyEntry {
  readonly keyId: string
  /** Name and namespace of the ApiKey. */
  readonly name: string
  readonly namespace: string
  readonly roles: readonly string[]
  /** Unix seconds; 0 for none. */
  readonly notBefore: number
  readonly notAfter: number
  readonly enabled: boolean
}

export interface Allowed {
  readonly allow: true
  /** What was asked: asking again tells whether an exchange may still go on. */
  readonly facts: RequestFacts
  /** Undefined where the path is public. */
  readonly key: KeyEntry | undefined
  /** Undefined where the path is public. */
  readonly interface: string | undefined
  /** What was authorised and is to be forwarded: canonical path, and the query without a credential. */
  readonly target: string
  /**
   * Field lines to forward, each ending in CRLF: without credential, hop-by-hop, framing (`Content-Length`,
   * `Transfer-Encoding`) and spoofed fields, with `Host`, identity and forwarding fields. The proxy adds framing.
   */
  readonly fieldLines: string
  /** What was known of the body, where it was asked for. */
  readonly body?: BodyFindings | undefined
  /** Where the key is limited: what it may still do. */
  readonly allowance?: Allowance | undefined
  /** In mode Audit: why it would be refused. */
  readonly audited?: Refused
}

export interface Refused {
  readonly allow: false
  readonly reason: RefusalReason
  /** Where the reason alone does not say it: 400 or 405 for RequestMalformed, and why a body cannot be read. */
  readonly status?: 400 | 403 | 405 | 413 | 415
  /** The refusal is for want of the body: whoever has it asks again with what is found there. Nothing was spent. */
  readonly body?: BodyWanted
  /** For RateLimited. */
  readonly allowance?: Allowance
  /** The key concerned, where one was recognised: for logs and reports, never for the answer. */
  readonly key?: KeyEntry
  /** Where a credential was presented: the challenge may then say `invalid_token` (RFC 6750 §3.1). */
  readonly credentialPresented?: boolean
}

export type Decision = Allowed | Refused

/** Decisions by whatever verification set is loaded at the moment. */
export interface Authorizer {
  /** Decides, and takes one request of what a limited key may do. */
  decide(facts: RequestFacts, body?: BodyFindings): Decision
  /** Decides as if no key were limited, and spends nothing. */
  consider(facts: RequestFacts, body?: BodyFindings): Decision
  /** Whether an exchange that was allowed may go on. */
  stillAllowed(allowed: Allowed): boolean
}
