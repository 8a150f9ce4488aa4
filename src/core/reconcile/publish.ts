import { createHash } from 'node:crypto'
import { accessPolicies, labels, managerName } from '../../api/names.ts'
import type { ConfigMap } from '../../api/object.ts'
import type { RateLimit } from '../../api/rate-limit.ts'
import {
  type AccessDocument,
  configMapName,
  formatVersion,
  type GrantDocument,
  grantsFile,
  type KeyLine,
  keyState,
  keysFile,
  type Manifest,
  manifestFile,
  type Part,
  policyFile,
  shardOf,
  signatureFile,
} from '../../api/verification.ts'
import type { Policy } from '../policy.ts'
import { publicKeyId, type SigningKey, signatureLine } from '../signature.ts'
import { toTime } from './plan.ts'

/** A key that a policy admits, as the set will hold it. */
export interface AdmittedKey {
  readonly namespace: string
  readonly name: string
  readonly keyId: string
  readonly enabled: boolean
  /** For a fair order where there is no room for all: the older key is served first. */
  readonly createdTime: string
  readonly roles: readonly string[]
  readonly access: readonly AccessDocument[]
  readonly addresses: readonly string[]
  /** The key's own; undefined where the policy's is to hold. */
  readonly rateLimit?: RateLimit | undefined
  readonly values: readonly AdmittedValue[]
}

export interface AdmittedValue {
  /** Base64url. */
  readonly digest: string
  /** Unix seconds; 0 for none. */
  readonly notBefore: number
  readonly notAfter: number
}

/** The parts of a set that depend on the policy and its keys alone, each as the text of its file. */
export interface Content {
  readonly shards: number
  readonly files: ReadonlyMap<string, string>
  /** How many values are in it. */
  readonly keys: number
  /** Keys for which there was no room, as namespace/name. */
  readonly omitted: ReadonlySet<string>
  /** The fullest ConfigMap, of what it may hold, from 0 to 1. */
  readonly fill: number
}

/** A ConfigMap holds 1 MiB; the rest is for the object around the data. */
export const configMapBytes = 900 * 1024
/** Room for manifest and signatures. */
const manifestBytes = 8 * 1024
/** A refusal can say that a key is disabled or expired for so long; then it is unknown. */
export const explainedSeconds = 30 * 24 * 3600

interface Line {
  readonly text: string
  readonly digest: string
  /** 0: in the set already, and live; 1: new and live; 2: there only to explain a refusal. */
  readonly rank: 0 | 1 | 2
  readonly createdTime: string
  readonly key: string
}

/**
 * Writes a policy and its keys as files: the same text for the same keys, whatever their order. Where a shard cannot hold
 * all its keys, those that are published already stay, and lines that only explain refusals give way first.
 *
 * @param published digests that are in the set now
 */
export function writeContent(
  policy: Policy,
  keys: readonly AdmittedKey[],
  published: ReadonlySet<string>,
  now: Date,
): Content {
  const seconds = Math.floor(now.getTime() / 1000)
  const policyText = JSON.stringify(policy.document)
  const files = new Map([[policyFile, policyText]])
  const byShard = Array.from({ length: policy.shards }, (): AdmittedKey[] => [])
  const omitted = new Set<string>()
  let count = 0
  let fill = 0
  for (const key of keys) {
    for (const shard of new Set(key.values.map(({ digest }) => shardOfText(digest, policy.shards))))
      byShard[shard]!.push(key)
  }
  for (const [shard, members] of byShard.entries()) {
    const { profiles, profileOf } = collectProfiles(members)
    const grants = JSON.stringify(profiles)
    const lines = members.flatMap((key) => writeLines(key, profileOf(key), shard, policy.shards, published, seconds))
    const overhead = shard === 0 ? Buffer.byteLength(policyText) + manifestBytes : 0
    const room = configMapBytes - Buffer.byteLength(grants) - overhead
    const kept = fitLines(lines, room, omitted)
    const text = kept.map((line) => line.text).join('')
    files.set(grantsFile(shard), grants)
    files.set(keysFile(shard), text)
    count += kept.length
    fill = Math.max(fill, (text.length + configMapBytes - room) / configMapBytes)
  }
  return { shards: policy.shards, files, keys: count, omitted, fill }
}

function collectProfiles(keys: readonly AdmittedKey[]): {
  profiles: GrantDocument[]
  profileOf: (key: AdmittedKey) => number
} {
  const texts = new Map<AdmittedKey, string>()
  for (const key of keys) {
    const profile: GrantDocument = {
      namespace: key.namespace,
      roles: key.roles,
      access: key.access,
      addresses: key.addresses,
      ...(key.rateLimit && { rateLimit: key.rateLimit }),
    }
    texts.set(key, JSON.stringify(profile))
  }
  // Sorted, so that the numbers of profiles do not hang on the order of keys.
  const distinct = [...new Set(texts.values())].sort()
  const numbers = new Map(distinct.map((text, index) => [text, index]))
  return {
    profiles: distinct.map((text) => JSON.parse(text) as GrantDocument),
    profileOf: (key) => numbers.get(texts.get(key)!)!,
  }
}

function writeLines(
  key: AdmittedKey,
  grant: number,
  shard: number,
  shards: number,
  published: ReadonlySet<string>,
  now: number,
): Line[] {
  return key.values.flatMap(({ digest, notBefore, notAfter }) => {
    if (shardOfText(digest, shards) !== shard || (notAfter !== 0 && now >= notAfter + explainedSeconds)) return []
    const line: KeyLine = [
      key.keyId,
      digest,
      grant,
      notBefore,
      notAfter,
      key.enabled ? keyState.live : keyState.disabled,
      key.name,
    ]
    const isLive = key.enabled && (notAfter === 0 || now < notAfter)
    return [
      {
        text: `${JSON.stringify(line)}\n`,
        digest,
        rank: isLive ? (published.has(digest) ? 0 : 1) : 2,
        createdTime: key.createdTime,
        key: `${key.namespace}/${key.name}`,
      },
    ]
  })
}

/** The lines that fit, sorted by digest. */
function fitLines(lines: readonly Line[], room: number, omitted: Set<string>): Line[] {
  const size = lines.reduce((sum, { text }) => sum + text.length, 0)
  let kept = [...lines]
  if (size > room) {
    kept.sort((a, b) => a.rank - b.rank || compareText(a.createdTime, b.createdTime) || compareText(a.digest, b.digest))
    let used = 0
    const fitting = kept.filter(({ text, rank, key }) => {
      const fits = used + text.length <= room
      if (fits) used += text.length
      else if (rank < 2) omitted.add(key)
      return fits
    })
    kept = fitting
  }
  return kept.sort((a, b) => compareText(a.digest, b.digest))
}

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

const shardOfText = (digest: string, shards: number): number =>
  shardOf(Buffer.from(digest.slice(0, 4), 'base64url')[0]!, shards)

/** Which published set this is, and who vouches for it. */
export interface Edition {
  readonly epoch: number
  readonly sequence: number
  readonly publishedTime: Date
  readonly signingKey: SigningKey
  /** Base64url. */
  readonly nextPublicKey: string
}

/** The ConfigMaps that carry content to the sidecars; the one with the manifest comes last. */
export function writeConfigMaps(policy: Policy, content: Content, edition: Edition): ConfigMap[] {
  const manifest: Manifest = {
    format: formatVersion,
    namespace: policy.namespace,
    policy: policy.name,
    policyUid: policy.uid,
    epoch: edition.epoch,
    sequence: edition.sequence,
    publishedTime: toTime(edition.publishedTime),
    shards: content.shards,
    keys: content.keys,
    parts: describeParts(content),
    signingKey: publicKeyId(edition.signingKey.publicKey),
    nextPublicKey: edition.nextPublicKey,
  }
  const text = JSON.stringify(manifest)
  const shardData = (shard: number): Record<string, string> => ({
    [grantsFile(shard)]: content.files.get(grantsFile(shard))!,
    [keysFile(shard)]: content.files.get(keysFile(shard))!,
  })
  const first = {
    [manifestFile]: text,
    [signatureFile]: signatureLine(edition.signingKey, text),
    [policyFile]: content.files.get(policyFile)!,
    ...shardData(0),
  }
  const further = Array.from({ length: content.shards - 1 }, (_, index) =>
    configMap(policy, index + 1, shardData(index + 1)),
  )
  return [...further, configMap(policy, 0, first)]
}

export function describeParts({ files }: Pick<Content, 'files'>): Record<string, Part> {
  return Object.fromEntries(
    [...files].map(([name, text]) => [
      name,
      { sha256: createHash('sha256').update(text).digest('hex'), bytes: Buffer.byteLength(text) },
    ]),
  )
}

/** By these the operator finds the ConfigMaps of a policy's set. */
export const configMapLabels = (policy: string): Record<string, string> => ({
  [labels.managed]: 'true',
  [labels.policy]: policy,
  'app.kubernetes.io/managed-by': managerName,
})

const configMap = (policy: Policy, shard: number, data: Record<string, string>): ConfigMap => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: {
    name: configMapName(policy.name, shard),
    namespace: policy.namespace,
    labels: configMapLabels(policy.name),
    ownerReferences: [
      {
        apiVersion: accessPolicies.apiVersion,
        kind: accessPolicies.kind,
        name: policy.name,
        uid: policy.uid,
        controller: true,
        blockOwnerDeletion: true,
      },
    ],
  },
  data,
})
