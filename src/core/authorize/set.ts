import { createHash, timingSafeEqual } from 'node:crypto'
import type { RateLimit } from '../../api/rate-limit.ts'
import {
  formatVersion,
  type GrantDocument,
  grantsFile,
  keyState,
  keysFile,
  type Manifest,
  manifestFile,
  type PolicyDocument,
  policyFile,
  shardOf,
  signatureFile,
} from '../../api/verification.ts'
import { type AddressRange, parseAllowedAddress } from '../address.ts'
import { isSigned } from '../signature.ts'
import { compareVersions } from '../version.ts'
import type { KeyEntry } from './decision.ts'
import { compileGuard, type Guard } from './guard.ts'
import { compileValues, type ValueMatcher } from './values.ts'

/** A verified and compiled verification set. */
export interface VerificationSet {
  readonly manifest: Manifest
  /** SHA-256 of the manifest's bytes, hexadecimal. */
  readonly manifestHash: string
  readonly guard: Guard
  /** The entry for the digest of a presented key. */
  find(digest: Buffer): FoundKey | undefined
}

export interface FoundKey extends KeyEntry {
  readonly grant: CompiledGrant
  /** Set when the key itself was seen and had the form that it claims: then that need not be checked again. */
  wellFormed?: boolean
}

export interface CompiledGrant {
  readonly namespace: string
  readonly roles: readonly string[]
  /** Of all entries. */
  readonly interfaces: ReadonlySet<number>
  readonly access: readonly CompiledAccess[]
  readonly rateLimit: RateLimit | undefined
  readonly addresses: readonly AddressRange[]
}

/** One entry of a key's access: a request passes by one alone. */
export interface CompiledAccess {
  readonly interfaces: ReadonlySet<number>
  /** By index of the resource; one that is not there may have any value. */
  readonly values: ReadonlyMap<number, ValueMatcher>
}

export type SetRefusal =
  /** There is nothing to read yet. */
  | 'ManifestMissing'
  | 'ManifestMalformed'
  | 'SignatureInvalid'
  | 'FormatUnknown'
  /** Another policy's set, or that of a policy which had this name before. */
  | 'PolicyMismatch'
  /** Older than what is loaded. */
  | 'Rollback'
  /** As new as what is loaded, and not the same. */
  | 'SequenceConflict'
  | 'PartMissing'
  /** A part is not what the manifest says: perhaps not yet. */
  | 'PartMismatch'
  | 'PartMalformed'

export type Opened =
  | { readonly outcome: 'opened'; readonly set: VerificationSet }
  | { readonly outcome: 'unchanged' }
  | { readonly outcome: 'refused'; readonly reason: SetRefusal; readonly message: string }

export interface SetExpectation {
  readonly namespace: string
  readonly policy: string
  /** Any where undefined. */
  readonly policyUid?: string | undefined
  /** Ed25519 public keys, base64url. */
  readonly publicKeys: Iterable<string>
  /** What is loaded now. */
  readonly current?: VerificationSet | undefined
}

/**
 * Verifies and compiles the files of a set. A generator, because that takes a while with many keys: whoever drives it
 * lets other work happen between steps of a few milliseconds.
 */
export function* openSet(files: ReadonlyMap<string, Buffer>, expected: SetExpectation): Generator<void, Opened> {
  const manifestBytes = files.get(manifestFile)
  if (!manifestBytes) return refuse('ManifestMissing', `there is no ${manifestFile}`)
  const manifestHash = sha256(manifestBytes)
  if (!isSigned(manifestBytes, files.get(signatureFile)?.toString('latin1') ?? '', expected.publicKeys)) {
    return refuse('SignatureInvalid', `${signatureFile} has no signature by a trusted key over ${manifestFile}`)
  }
  // What is loaded stays, but somebody may have changed what lies beside its manifest, and is to be told of.
  if (manifestHash === expected.current?.manifestHash)
    return (yield* checkParts(files, expected.current.manifest)) ?? { outcome: 'unchanged' }
  const manifest = parseJson<Manifest>(manifestBytes)
  if (!manifest || !Number.isSafeInteger(manifest.format))
    return refuse('ManifestMalformed', `${manifestFile} is not a manifest`)
  if (manifest.format !== formatVersion)
    return refuse('FormatUnknown', `format ${manifest.format} is not ${formatVersion}`)
  if (!isManifest(manifest)) return refuse('ManifestMalformed', `${manifestFile} lacks what its format asks for`)
  if (manifest.namespace !== expected.namespace || manifest.policy !== expected.policy) {
    return refuse('PolicyMismatch', `the set is that of AccessPolicy ${manifest.namespace}/${manifest.policy}`)
  }
  if (expected.policyUid !== undefined && manifest.policyUid !== expected.policyUid) {
    return refuse(
      'PolicyMismatch',
      `the set is that of an AccessPolicy of the same name with uid ${manifest.policyUid}`,
    )
  }
  const newer = expected.current ? compareVersions(manifest, expected.current.manifest) : 1
  if (newer < 0)
    return refuse(
      'Rollback',
      `the set ${versionOf(manifest)} is older than ${versionOf(expected.current!.manifest)}, which is loaded`,
    )
  if (newer === 0)
    return refuse(
      'SequenceConflict',
      `the set ${versionOf(manifest)} differs from the one that is loaded under the same number`,
    )

  const amiss = yield* checkParts(files, manifest)
  if (amiss) return amiss
  const part = (name: string): Buffer | undefined => (Object.hasOwn(manifest.parts, name) ? files.get(name) : undefined)
  const document = parseJson<PolicyDocument>(part(policyFile))
  if (!document) return refuse('PartMalformed', `${policyFile} is not readable`)
  const shards: Shard[] = []
  for (let index = 0; index < manifest.shards; index++) {
    const grants = parseJson<readonly GrantDocument[]>(part(grantsFile(index)))
    const lines = part(keysFile(index))
    if (!grants || !lines) return refuse('PartMissing', `${manifestFile} does not name all of shard ${index}`)
    const shard = yield* indexShard(lines.toString('latin1'), grants.map(compileGrant))
    if (!shard) return refuse('PartMalformed', `${keysFile(index)} has a line that is not readable`)
    shards.push(shard)
  }
  const find = (digest: Buffer): FoundKey | undefined =>
    findInShard(shards[shardOf(digest[0]!, shards.length)]!, digest)
  return { outcome: 'opened', set: { manifest, manifestHash, guard: compileGuard(document), find } }
}

const refuse = (reason: SetRefusal, message: string): Opened => ({ outcome: 'refused', reason, message })

/** Undefined where every part is what the manifest says. */
function* checkParts(files: ReadonlyMap<string, Buffer>, { parts }: Manifest): Generator<void, Opened | undefined> {
  for (const [name, part] of Object.entries(parts)) {
    const bytes = files.get(name)
    if (!bytes) return refuse('PartMissing', `there is no ${name}`)
    if (bytes.length !== part.bytes || sha256(bytes) !== part.sha256)
      return refuse('PartMismatch', `${name} is not what ${manifestFile} says`)
    yield
  }
  return undefined
}

/** What the rest relies on: of numbers that are none, no order could be told. */
const isManifest = ({ epoch, sequence, shards, parts }: Manifest): boolean =>
  [epoch, sequence, shards].every(Number.isSafeInteger) && shards >= 1 && typeof parts === 'object' && parts !== null

const versionOf = ({ epoch, sequence }: Manifest): string => `${epoch}/${sequence}`

/**
 * The lines of a shard as they came, and a hash table over them: about twelve bytes a key beside the text. A line is parsed
 * when its key is first presented.
 */
interface Shard {
  readonly text: string
  readonly grants: readonly CompiledGrant[]
  /** Open addressing, two numbers a slot: the line's start plus one (0: free), and bytes 4–7 of the digest. */
  readonly slots: Uint32Array
  readonly parsed: Map<number, FoundKey & { readonly digest: Buffer }>
}

const linePattern =
  /\["[0-9A-Za-z]{16}","([A-Za-z0-9_-]{43})",(\d{1,7}),\d{1,12},\d{1,12},[01],"[a-z0-9.-]{1,253}"\]\n/y
const linesPerStep = 2000
/** Parsed lines that are kept: the keys in use, unless there are very many. */
const parsedLimit = 10_000

function* indexShard(text: string, grants: readonly CompiledGrant[]): Generator<void, Shard | undefined> {
  const size = Math.ceil(countLines(text) * 1.5) + 1
  const slots = new Uint32Array(2 * size)
  const line = new RegExp(linePattern)
  for (let start = 0, count = 1; start < text.length; start = line.lastIndex, count++) {
    const match = line.exec(text)
    if (!match || Number(match[2]) >= grants.length) return undefined
    const digest = Buffer.from(match[1]!, 'base64url')
    let slot = slotOf(digest, size)
    while (slots[2 * slot] !== 0) slot = slot + 1 === size ? 0 : slot + 1
    slots[2 * slot] = start + 1
    slots[2 * slot + 1] = digest.readUInt32BE(4)
    if (count % linesPerStep === 0) yield
  }
  return { text, grants, slots, parsed: new Map() }
}

function countLines(text: string): number {
  let count = 0
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) count++
  return count
}

function findInShard({ text, grants, slots, parsed }: Shard, digest: Buffer): FoundKey | undefined {
  const size = slots.length / 2
  const fingerprint = digest.readUInt32BE(4)
  for (let slot = slotOf(digest, size); slots[2 * slot] !== 0; slot = slot + 1 === size ? 0 : slot + 1) {
    if (slots[2 * slot + 1] !== fingerprint) continue
    const start = slots[2 * slot]! - 1
    let entry = parsed.get(start)
    if (!entry) {
      entry = parseLine(text.slice(start, text.indexOf('\n', start)), grants)
      if (parsed.size >= parsedLimit) parsed.clear()
      parsed.set(start, entry)
    }
    if (timingSafeEqual(entry.digest, digest)) return entry
  }
  return undefined
}

/** Digests are uniform: their first four bytes spread keys over a table of any size. */
const slotOf = (digest: Buffer, size: number): number => Math.floor((digest.readUInt32BE(0) / 0x1_0000_0000) * size)

function parseLine(text: string, grants: readonly CompiledGrant[]): FoundKey & { readonly digest: Buffer } {
  const [keyId, digest, grantIndex, notBefore, notAfter, state, name] = JSON.parse(text) as [
    string,
    string,
    number,
    number,
    number,
    number,
    string,
  ]
  const grant = grants[grantIndex]!
  return {
    keyId,
    name,
    namespace: grant.namespace,
    roles: grant.roles,
    notBefore,
    notAfter,
    enabled: state === keyState.live,
    grant,
    digest: Buffer.from(digest, 'base64url'),
  }
}

function compileGrant(grant: GrantDocument): CompiledGrant {
  return {
    namespace: grant.namespace,
    roles: grant.roles,
    interfaces: new Set(grant.access.flatMap(({ interfaces }) => interfaces)),
    access: grant.access.map(({ interfaces, resources = [] }) => ({
      interfaces: new Set(interfaces),
      values: new Map(resources.map(([index, values]) => [index, compileValues(values)])),
    })),
    rateLimit: grant.rateLimit,
    // The operator publishes only what it could parse itself.
    addresses: grant.addresses.map((text) => parseAllowedAddress(text)!),
  }
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

function parseJson<T>(bytes: Buffer | undefined): T | undefined {
  try {
    return bytes && (JSON.parse(bytes.toString('utf8')) as T)
  } catch {
    return undefined
  }
}
