import type { AccessPolicy, AccessPolicySpec, AccessPolicyStatus } from '../../api/access-policy.ts'
import type { ApiKey, ApiKeySpec } from '../../api/api-key.ts'
import { accessPolicies, conditionTypes, configMaps } from '../../api/names.ts'
import { type ConfigMap, nameKey } from '../../api/object.ts'
import type { Parsed } from '../../api/schema.ts'
import { configMapName, type Manifest, manifestFile, signatureFile } from '../../api/verification.ts'
import { answerAccess, mergeAccess } from '../access.ts'
import type { Policy } from '../policy.ts'
import { isSigned, type SigningKey } from '../signature.ts'
import { compareVersions } from '../version.ts'
import { lifetimeOf } from './api-key.ts'
import type { KeyValue } from './key-secret.ts'
import {
  earliest,
  type Finding,
  finding,
  nothing,
  type Plan,
  readiness,
  readinessEvents,
  shortened,
  toConditions,
} from './plan.ts'
import {
  type AdmittedKey,
  type Content,
  configMapLabels,
  describeParts,
  explainedSeconds,
  writeConfigMaps,
  writeContent,
} from './publish.ts'

/** All that the state of an AccessPolicy depends on. */
export interface ObservedAccessPolicy {
  readonly policy: AccessPolicy
  readonly compiled: Parsed<Policy>
  /** What it said when it could be enforced last, where this process has seen that. */
  readonly lastGood: Policy | undefined
  /** An older policy, as namespace/name, that guards the same port of the same pods. */
  readonly conflict: string | undefined
  /** Every ApiKey that names the policy. */
  readonly keys: readonly AskingKey[]
  /** ConfigMaps by the names that the set's have, and those further ones that carry this policy's label. */
  readonly configMaps: readonly ConfigMap[]
  /** What this process has published or seen last; undefined where it has just begun. */
  readonly latest: { readonly epoch: number; readonly sequence: number } | undefined
  /** When this process wrote the set last. */
  readonly writtenTime: Date | undefined
}

export interface AskingKey {
  readonly apiKey: ApiKey
  readonly spec: ApiKeySpec
  /** Undefined where there is none that could be published. */
  readonly value: { readonly keyId: string; readonly values: readonly KeyValue[] } | undefined
  readonly namespaceLabels: Readonly<Record<string, string>>
}

export interface PublishSettings {
  readonly signingKey: SigningKey
  readonly nextPublicKey: string
  /** How long to wait between two writes of one set, given its bytes. */
  readonly pauseMilliseconds: (bytes: number) => number
}

/** What the state of a policy asks for, and what has become of the keys that ask for it. */
export interface PolicyPlan extends Plan {
  /** Keys that the policy admits, by namespace/name. */
  readonly admitted: ReadonlyMap<string, AdmittedKey>
  /** Those for which there is no room. */
  readonly omitted: ReadonlySet<string>
  /** Whether the cluster holds the set as it should be. */
  readonly isPublished: boolean
}

export function reconcileAccessPolicy(
  observed: ObservedAccessPolicy,
  given: PublishSettings & { readonly now: Date },
): PolicyPlan {
  const acceptance = judgeAcceptance(observed)
  // A typing error must open no door and close none, and keys must remain revocable while it lasts.
  const policy = observed.compiled.ok ? observed.compiled.value : observed.lastGood
  const own = observed.configMaps.filter((configMap) => isOwned(configMap, observed.policy))
  // One that lost a conflict after it was published keeps its set up to date: there are sidecars that decide by it.
  if (!policy || (observed.conflict !== undefined && own.length === 0))
    return unpublished(observed, acceptance, given.now)
  const { admitted, rejected } = admitKeys(policy, observed.keys)
  const foreign = observed.configMaps.find((configMap) => !own.includes(configMap) && isPartOf(policy, configMap))
  if (foreign) return blocked(observed, foreign, acceptance, admitted, rejected, given.now)
  return publish({ ...observed, configMaps: own }, policy, acceptance, admitted, rejected, given)
}

/** Whether a ConfigMap has a name that the policy's set needs. */
const isPartOf = ({ name, shards }: Policy, { metadata }: ConfigMap): boolean =>
  Array.from({ length: shards }, (_, shard) => configMapName(name, shard)).includes(metadata.name)

function judgeAcceptance({ compiled, conflict }: ObservedAccessPolicy): Finding {
  const is = (holds: boolean, reason: string, message: string): Finding =>
    finding(conditionTypes.accepted, holds, reason, message)
  if (!compiled.ok)
    return is(false, 'SpecInvalid', compiled.problems.map(({ path, message }) => `${path}: ${message}`).join('; '))
  if (conflict !== undefined)
    return is(false, 'Conflicted', `AccessPolicy ${conflict}, which is older, guards the same port of the same pods.`)
  return is(true, 'Accepted', 'The policy can be enforced.')
}

/** Not in force, and never was as far as this process knows: what may be published stays as it is. */
function unpublished(observed: ObservedAccessPolicy, acceptance: Finding, now: Date): PolicyPlan {
  const { reason, message } = acceptance
  const published = finding(
    conditionTypes.published,
    false,
    reason,
    'Nothing is published; a set that was published before stays.',
  )
  const findings = [...readiness(false, reason, message, 'Stalled'), acceptance, published]
  return outcome(observed, { admitted: new Map(), omitted: new Set(), isPublished: false }, findings, {}, now)
}

function blocked(
  observed: ObservedAccessPolicy,
  { metadata }: ConfigMap,
  acceptance: Finding,
  admitted: ReadonlyMap<string, AdmittedKey>,
  rejected: ReadonlyMap<string, Rejection>,
  now: Date,
): PolicyPlan {
  const former = metadata.ownerReferences?.some(
    ({ kind, name }) => kind === accessPolicies.kind && name === observed.policy.metadata.name,
  )
  const message = former
    ? `ConfigMap ${metadata.name} belongs to a former AccessPolicy of this name, and is about to be removed.`
    : `ConfigMap ${metadata.name} exists and is not Postern's: it is not touched.`
  const published = finding(conditionTypes.published, false, 'ConfigMapNotOwned', message)
  const findings = [
    ...readiness(false, published.reason, message, former ? 'Reconciling' : 'Stalled'),
    acceptance,
    published,
  ]
  return outcome(
    observed,
    { admitted, omitted: new Set(), isPublished: false },
    findings,
    counts(admitted, rejected),
    now,
  )
}

/** The key as the policy's set should hold it; undefined where nothing of it is admitted. */
export function admitKey(policy: Policy, { apiKey, spec, value, namespaceLabels }: AskingKey): AdmittedKey | Rejection {
  const { namespace, name } = apiKey.metadata
  const entries = (spec.access ?? []).filter((entry) => names(entry.policy, namespace, policy))
  const answers = entries.map((entry) => answerAccess(policy, entry, namespace, namespaceLabels))
  const granted = answers.filter((answer) => answer.accepted)
  if (granted.length === 0) {
    const refused = answers.find((answer) => !answer.accepted)
    return {
      rejected: true,
      reason: refused?.reason ?? 'NotAsked',
      message: refused?.message ?? 'The key does not ask for this policy.',
    }
  }
  if (!value)
    return { rejected: true, reason: 'SecretNotReady', message: 'The key has no value that could be published.' }
  const { notBefore, expires } = lifetimeOf(apiKey, spec)
  const seconds = (time: Date | undefined): number => (time === undefined ? 0 : Math.floor(time.getTime() / 1000))
  return {
    namespace,
    name,
    keyId: value.keyId,
    enabled: spec.enabled,
    createdTime: apiKey.metadata.creationTimestamp ?? '',
    roles: [...new Set(granted.flatMap((answer) => answer.roles))].sort(),
    access: mergeAccess(granted.flatMap((answer) => answer.access)),
    addresses: [...(spec.allowedAddresses ?? [])].sort(),
    rateLimit: spec.rateLimit,
    values: value.values.map(({ digest }) => ({ digest, notBefore: seconds(notBefore), notAfter: seconds(expires) })),
  }
}

export interface Rejection {
  readonly rejected: true
  readonly reason: string
  readonly message: string
}

/** Whether an entry's policy reference means this policy. */
const names = (reference: { name: string; namespace?: string }, own: string, policy: Policy): boolean =>
  (reference.namespace ?? own) === policy.namespace && (reference.name === '*' || reference.name === policy.name)

/**
 * Whether two policies of one namespace are certain to claim one port of one pod: where the labels of one include those of
 * the other, every pod of the former is a pod of both.
 */
export function claimsSamePort(a: AccessPolicySpec, b: AccessPolicySpec): boolean {
  const includes = (more: Readonly<Record<string, string>>, fewer: Readonly<Record<string, string>>): boolean =>
    Object.entries(fewer).every(([name, value]) => more[name] === value)
  const [labelsA, labelsB] = [a.workloadSelector.matchLabels, b.workloadSelector.matchLabels]
  return (
    (includes(labelsA, labelsB) || includes(labelsB, labelsA)) &&
    a.ports.some(({ port }) => b.ports.some((other) => other.port === port))
  )
}

function admitKeys(
  policy: Policy,
  keys: readonly AskingKey[],
): { admitted: Map<string, AdmittedKey>; rejected: Map<string, Rejection> } {
  const admitted = new Map<string, AdmittedKey>()
  const rejected = new Map<string, Rejection>()
  for (const key of keys) {
    const answer = admitKey(policy, key)
    const name = nameKey(key.apiKey.metadata)
    if ('rejected' in answer) rejected.set(name, answer)
    else admitted.set(name, answer)
  }
  return { admitted, rejected }
}

function publish(
  observed: ObservedAccessPolicy,
  policy: Policy,
  acceptance: Finding,
  admitted: ReadonlyMap<string, AdmittedKey>,
  rejected: ReadonlyMap<string, Rejection>,
  given: PublishSettings & { readonly now: Date },
): PolicyPlan {
  const { now } = given
  const current = readCurrent(observed, policy, [given.signingKey.publicKey, given.nextPublicKey])
  const content = writeContent(policy, [...admitted.values()], current.digests, now)
  const isPublished = current.manifest !== undefined && isSame(content, current.manifest, observed.configMaps)
  const bytes = [...content.files.values()].reduce((sum, text) => sum + text.length, 0)
  const dueTime = observed.writtenTime && new Date(observed.writtenTime.getTime() + given.pauseMilliseconds(bytes))
  const mayWrite = dueTime === undefined || dueTime <= now
  const published = isPublished
    ? finding(
        conditionTypes.published,
        true,
        'Published',
        `${content.keys} values of ${admitted.size} keys are published.`,
      )
    : finding(conditionTypes.published, false, 'Pending', 'The set is about to be written.')
  const findings = [
    ...(acceptance.status === 'False'
      ? readiness(false, acceptance.reason, acceptance.message, 'Stalled')
      : readiness(
          isPublished,
          isPublished ? 'Ready' : 'Pending',
          isPublished ? 'The policy is in force.' : published.message,
          'Reconciling',
        )),
    acceptance,
    published,
    ...judgeCapacity(content),
  ]
  const result = { admitted, omitted: content.omitted, isPublished }
  if (isPublished || !mayWrite) {
    const status = { ...counts(admitted, rejected), ...(current.manifest && editionOf(current.manifest)) }
    return {
      ...outcome(observed, result, findings, status, now),
      wakeAt: isPublished ? explanationEnds(content, admitted, now) : dueTime,
    }
  }
  const maps = writeConfigMaps(policy, content, {
    ...nextEdition(observed.latest, current.manifest, now),
    publishedTime: now,
    signingKey: given.signingKey,
    nextPublicKey: given.nextPublicKey,
  })
  const known = new Map(observed.configMaps.map((configMap) => [configMap.metadata.name, configMap]))
  const wanted = new Set(maps.map(({ metadata }) => metadata.name))
  return {
    ...nothing,
    ...result,
    create: maps.filter(({ metadata }) => !known.has(metadata.name)),
    apply: maps.flatMap((map) => {
      const stored = known.get(map.metadata.name)
      if (!stored || isStored(map, stored)) return []
      const { uid, resourceVersion } = stored.metadata
      return [
        {
          ...map,
          metadata: {
            ...map.metadata,
            ...(uid !== undefined && { uid }),
            ...(resourceVersion !== undefined && { resourceVersion }),
          },
        },
      ]
    }),
    remove: observed.configMaps.flatMap(({ metadata }) =>
      wanted.has(metadata.name)
        ? []
        : [{ resource: configMaps, name: { namespace: policy.namespace, name: metadata.name } }],
    ),
  }
}

interface Current {
  readonly manifest: Manifest | undefined
  readonly digests: ReadonlySet<string>
}

/** What the cluster holds now, as far as we signed it. */
function readCurrent(
  { configMaps: maps }: ObservedAccessPolicy,
  policy: Policy,
  publicKeys: readonly string[],
): Current {
  const digests = new Set<string>()
  for (const { data = {} } of maps) {
    for (const [name, text] of Object.entries(data)) {
      if (name.startsWith('keys-'))
        for (const match of text.matchAll(/^\["[^"]*","([^"]{43})"/gm)) digests.add(match[1]!)
    }
  }
  const data = maps.find(({ metadata }) => metadata.name === configMapName(policy.name))?.data
  const text = data?.[manifestFile]
  if (text === undefined || !isSigned(Buffer.from(text), data?.[signatureFile] ?? '', publicKeys))
    return { manifest: undefined, digests }
  const manifest = JSON.parse(text) as Manifest
  return { manifest: manifest.policyUid === policy.uid ? manifest : undefined, digests }
}

/** Whether the stored files are, byte for byte, what they should be, and found again by their labels. */
function isSame(content: Content, manifest: Manifest, maps: readonly ConfigMap[]): boolean {
  if (manifest.shards !== content.shards || maps.length !== content.shards) return false
  if (JSON.stringify(sorted(manifest.parts)) !== JSON.stringify(sorted(describeParts(content)))) return false
  if (!maps.every(({ metadata }) => holds(metadata.labels, configMapLabels(manifest.policy)))) return false
  const stored = new Map(maps.flatMap(({ data }) => Object.entries(data ?? {})))
  return [...content.files].every(([name, text]) => stored.get(name) === text)
}

/** Whether a ConfigMap is as it should be already: an unchanged shard is not written again. */
const isStored = (wanted: ConfigMap, stored: ConfigMap): boolean =>
  holds(stored.metadata.labels, wanted.metadata.labels) &&
  holds(stored.data, wanted.data) &&
  Object.keys(stored.data ?? {}).length === Object.keys(wanted.data ?? {}).length

const holds = (actual: Readonly<Record<string, string>> = {}, part: Readonly<Record<string, string>> = {}): boolean =>
  Object.entries(part).every(([name, value]) => actual[name] === value)

const sorted = <T>(record: Readonly<Record<string, T>>): [string, T][] =>
  Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1))

/**
 * The next edition. A process that has not published before cannot know whether a later set than the stored one was ever
 * seen by a sidecar: it begins a new epoch.
 */
function nextEdition(
  latest: ObservedAccessPolicy['latest'],
  current: Manifest | undefined,
  now: Date,
): { epoch: number; sequence: number } {
  if (latest && (current === undefined || compareVersions(current, latest) <= 0)) {
    return { epoch: latest.epoch, sequence: latest.sequence + 1 }
  }
  return { epoch: Math.max(now.getTime(), (latest?.epoch ?? 0) + 1, (current?.epoch ?? 0) + 1), sequence: 1 }
}

function judgeCapacity({ omitted, fill }: Content): Finding[] {
  if (omitted.size === 0 && fill < 0.9) return []
  const message =
    omitted.size > 0
      ? `There is no room for ${omitted.size} keys: raise spec.verification.shards.`
      : `A ConfigMap is ${Math.floor(fill * 100)} % full: raise spec.verification.shards.`
  return [finding(conditionTypes.capacityLow, true, omitted.size > 0 ? 'CapacityExceeded' : 'NearlyFull', message)]
}

/** When the first line that only explains a refusal is to go. */
function explanationEnds({ keys }: Content, admitted: ReadonlyMap<string, AdmittedKey>, now: Date): Date | undefined {
  if (keys === 0) return undefined
  const ends = [...admitted.values()].flatMap(({ values }) =>
    values.map(({ notAfter }) => (notAfter === 0 ? undefined : new Date((notAfter + explainedSeconds) * 1000))),
  )
  return earliest(ends, now)
}

/** By its owner: a label that somebody took off comes back with the next write. */
const isOwned = ({ metadata }: ConfigMap, policy: AccessPolicy): boolean =>
  metadata.ownerReferences?.some(({ uid }) => uid === policy.metadata.uid) === true

const editionOf = ({ epoch, sequence, publishedTime }: Manifest): Partial<AccessPolicyStatus> => ({
  epoch,
  sequence,
  publishedTime,
})

const rejectedShown = 20
const rejectedMessageLength = 1024

function counts(
  admitted: ReadonlyMap<string, AdmittedKey>,
  rejected: ReadonlyMap<string, Rejection>,
): Partial<AccessPolicyStatus> {
  const shown = [...rejected].sort(([a], [b]) => (a < b ? -1 : 1)).slice(0, rejectedShown)
  return {
    keys: { active: admitted.size, refused: rejected.size },
    rejectedKeys: shown.map(([key, { reason, message }]) => ({
      key,
      reason,
      message: shortened(message, rejectedMessageLength),
    })),
  }
}

function outcome(
  { policy }: ObservedAccessPolicy,
  result: Pick<PolicyPlan, 'admitted' | 'omitted' | 'isPublished'>,
  findings: readonly Finding[],
  fields: Partial<AccessPolicyStatus>,
  now: Date,
): PolicyPlan {
  const { generation } = policy.metadata
  return {
    ...nothing,
    ...result,
    status: {
      ...(generation !== undefined && { observedGeneration: generation }),
      ...fields,
      conditions: toConditions(findings, policy.status?.conditions, generation, now),
    },
    events: readinessEvents(findings, policy.status?.conditions),
  }
}
