/** What is asked of the authorizer, and what it answers. */

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

/** What a request shows of itself. Strings hold one character per byte (latin1). */
export interface RequestFacts {
  readonly method: string
  /** The request target exactly as received. */
  readonly target: string
  /** Field names as received and values without surrounding whitespace, alternating, in the order received. */
  readonly fields: readonly string[]
  /** Address of the other end of the TCP connection; undefined where it is not known. */
  readonly peer: string | undefined
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
}

export interface Refused {
  readonly allow: false
  readonly reason: RefusalReason
  /** For RequestMalformed only: 400 where absent. */
  readonly status?: 400 | 405
  /** The key concerned, where one was recognised: for logs and reports, never for the answer. */
  readonly key?: KeyEntry
  /** Where a credential was presented: the challenge may then say `invalid_token` (RFC 6750 §3.1). */
  readonly credentialPresented?: boolean
}

export type Decision = Allowed | Refused

/** Decisions by whatever verification set is loaded at the moment. */
export interface Authorizer {
  decide(facts: RequestFacts): Decision
  /** Whether an exchange that was allowed may go on. */
  stillAllowed(allowed: Allowed): boolean
}
