/**
 * The verification set: all that the sidecars of one policy know. It crosses from operator to sidecar as files, which
 * are the data of the policy's ConfigMaps:
 *
 *   policy.json      the compiled policy
 *   manifest.json    version, and hash and length of every other part
 *   manifest.sig     signatures over manifest.json, one a line: key id, space, base64url
 *   grants-N.json    the distinct access profiles of shard N, referred to by index
 *   keys-N           the values of shard N, one a line, sorted by digest
 */

import type { AccessPolicySpec, ClientAddress, Credential, IdentityHeader, RequestMatch } from './access-policy.ts'
import type { RateLimit } from './rate-limit.ts'
import type { ResourceSource } from './resources.ts'

/** Sidecars keep what they have when they meet a format that they do not know. */
export const formatVersion = 1

export const manifestFile = 'manifest.json'
export const signatureFile = 'manifest.sig'
export const policyFile = 'policy.json'
export const grantsFile = (shard: number): string => `grants-${shard}.json`
export const keysFile = (shard: number): string => `keys-${shard}`

/** Names of the ConfigMaps that hold a policy's set: the first has everything but the further shards. */
export const configMapName = (policy: string, shard = 0): string =>
  shard === 0 ? `postern-${policy}` : `postern-${policy}.keys-${shard}`

export interface Manifest {
  readonly format: number
  readonly namespace: string
  readonly policy: string
  readonly policyUid: string
  /** Unix milliseconds at which this count of sequences began. */
  readonly epoch: number
  readonly sequence: number
  /** RFC 3339. */
  readonly publishedTime: string
  readonly shards: number
  /** How many keys' values the set holds. */
  readonly keys: number
  readonly parts: Readonly<Record<string, Part>>
  /** Id of the key that signed, and the public key that may sign next, base64url. */
  readonly signingKey: string
  readonly nextPublicKey: string
}

export interface Part {
  /** Hexadecimal. */
  readonly sha256: string
  readonly bytes: number
}

/** An AccessPolicy as sidecars need it: defaults filled in, roles and grants resolved into the keys' profiles. */
export interface PolicyDocument {
  readonly keyPrefix: string
  readonly suspended: boolean
  readonly mode: AccessPolicySpec['mode']
  readonly hosts: readonly string[]
  readonly credentials: readonly Credential[]
  readonly interfaces: readonly InterfaceDocument[]
  readonly resources: readonly ResourceDocument[]
  readonly public: readonly RequestMatch[]
  readonly denied: readonly RequestMatch[]
  readonly clientAddress: ClientAddress
  readonly identityHeaders: readonly IdentityHeader[]
  readonly forwardCredential: boolean
  /** The longest body in which a resource is looked for. */
  readonly maxBodyBytes: number
  /** Of keys that set none; absent: any number. */
  readonly rateLimit?: RateLimit
  readonly upstream: { readonly timeoutSeconds: number; readonly maxConnections: number }
}

export interface InterfaceDocument {
  readonly name: string
  readonly match: readonly RequestMatch[]
}

export interface ResourceDocument {
  readonly name: string
  readonly from: ResourceSource
  /** Indexes into the policy's interfaces. */
  readonly interfaces: readonly number[]
  readonly required: boolean
}

/** What a key may do, and from where: shared by all keys of a namespace that ask for the same. */
export interface GrantDocument {
  readonly namespace: string
  /** Roles that were asked for and granted: for the application to read, not for deciding. */
  readonly roles: readonly string[]
  /** A request passes by one of these entries alone, never by parts of several. */
  readonly access: readonly AccessDocument[]
  readonly addresses: readonly string[]
  /** The key's own, in place of the policy's. */
  readonly rateLimit?: RateLimit
}

/** Interfaces, and the values that their resources may have there. */
export interface AccessDocument {
  /** Indexes into the policy's interfaces. */
  readonly interfaces: readonly number[]
  /** By index into the policy's resources, in their order; a resource that is not here may have any value. */
  readonly resources?: readonly (readonly [resource: number, values: readonly string[]])[]
}

export const keyState = { live: 0, disabled: 1 } as const

/** `[keyId, digest, grant, notBefore, notAfter, state, name]`; digest in base64url, times in Unix seconds with 0 for none. */
export type KeyLine = readonly [
  keyId: string,
  digest: string,
  grant: number,
  notBefore: number,
  notAfter: number,
  state: number,
  name: string,
]

/** Which shard holds a digest, given its first byte. */
export const shardOf = (firstByte: number, shards: number): number => firstByte % shards
