import {
  type AccessEntry,
  type ApiKey,
  type ApiKeySpec,
  type ApiKeyStatus,
  parseApiKeySpec,
} from '../../api/api-key.ts'
import { conditionTypes } from '../../api/names.ts'
import type { Parsed } from '../../api/schema.ts'
import { type AccessAnswer, answerAccess } from '../access.ts'
import { parseAllowedAddress } from '../address.ts'
import { derivedKeyId, digestOf, mintKey, parseKey, type RandomBytes } from '../key.ts'
import type { Policy } from '../policy.ts'
import { type KeyOwner, type KeyValue, renderSecret, type SecretFacts, secretNameOf } from './key-secret.ts'
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
  toTime,
} from './plan.ts'

const accessMessageLength = 1024

/** All that the state of an ApiKey depends on. */
export interface ObservedApiKey {
  readonly apiKey: ApiKey
  /** What was found where the key's value comes from. */
  readonly value: ValueFacts
  /** The namespace's labels. */
  readonly namespaceLabels: Readonly<Record<string, string>>
  /** The policies that an entry names, for each entry of `spec.access`. */
  readonly policies: readonly (readonly PolicyFacts[])[]
  /** Whether what the policy should publish of this key is published, by the policy's namespace/name. */
  readonly publications: ReadonlyMap<string, Publication>
}

export type ValueFacts =
  | { readonly source: 'Generated'; readonly secret: SecretFacts }
  | { readonly source: 'Existing' | 'Digest'; readonly keyId: string; readonly values: readonly KeyValue[] }
  /** The value cannot be had, or cannot serve. */
  | { readonly source: 'Unusable'; readonly reason: ValueProblem; readonly message: string }

export type ValueProblem = 'SecretNotFound' | 'SecretUnreadable' | 'KeyMalformed' | 'KeyWeak' | 'DuplicateKey'

/** Undefined: there is no such policy; a string: it exists, and this is why it is not in force. */
export interface PolicyFacts {
  readonly namespace: string
  readonly name: string
  readonly policy: Policy | string | undefined
}

export type Publication = 'Published' | 'Pending' | 'CapacityExceeded'

export interface ApiKeySettings {
  readonly keyPrefix: string
  /** Authenticates what a managed Secret says of itself. */
  readonly seal: Buffer
}

/** What a key's life asks of the cluster now. */
export function reconcileApiKey(
  observed: ObservedApiKey,
  given: ApiKeySettings & { readonly now: Date; readonly randomBytes: RandomBytes },
): Plan {
  const { apiKey, value } = observed
  const { now } = given
  const parsed = parseApiKey(apiKey)
  if (!parsed.ok) {
    const message = parsed.problems.map(({ path, message }) => `${path}: ${message}`).join('; ')
    return statusPlan(observed, {}, readiness(false, 'SpecInvalid', message, 'Stalled'), now)
  }
  const owner = ownerOf(apiKey, parsed.value)
  if (value.source === 'Generated') {
    if (value.secret.state === 'Absent') return { ...nothing, ...createSecret(owner, observed, given) }
    if (value.secret.state === 'Valid' && value.secret.repair) return { ...nothing, apply: [value.secret.repair] }
  }
  const secretFinding = judgeValue(owner, value)
  const usable = usableValue(value)
  const answers = answerAll(observed, parsed.value)
  const lifetime = lifetimeOf(apiKey, parsed.value)
  const findings = [
    ...judgeReadiness(observed, parsed.value, secretFinding, answers, lifetime, now),
    secretFinding,
    judgePublication(observed, secretFinding, answers),
  ]
  return statusPlan(
    observed,
    {
      ...(usable && { keyId: usable.keyId, keyIdSuffix: usable.keyId.slice(-4) }),
      ...(apiKey.metadata.creationTimestamp !== undefined && { createdTime: apiKey.metadata.creationTimestamp }),
      ...(lifetime.expires && { expiresTime: toTime(lifetime.expires) }),
      ...(usable && {
        values: usable.values.map(({ revision, createdTime }) => ({
          revision,
          createdTime,
          ...(lifetime.expires && { expiresTime: toTime(lifetime.expires) }),
        })),
      }),
      access: answers.map(({ policy, answer }) => ({
        policy,
        accepted: answer.accepted,
        reason: answer.accepted ? 'Granted' : answer.reason,
        message: answer.accepted
          ? 'Everything that the entry asks for is granted.'
          : shortened(answer.message, accessMessageLength),
      })),
    },
    findings,
    now,
    earliest([lifetime.notBefore, lifetime.expires], now),
  )
}

/** The spec, with everything checked that its schema cannot say. */
export function parseApiKey(apiKey: ApiKey): Parsed<ApiKeySpec> {
  const parsed = parseApiKeySpec(apiKey.spec)
  if (!parsed.ok)
    return { ok: false, problems: parsed.problems.map((problem) => ({ ...problem, path: `.spec${problem.path}` })) }
  const problems = (parsed.value.allowedAddresses ?? []).flatMap((text, index) =>
    parseAllowedAddress(text)
      ? []
      : [
          {
            path: `.spec.allowedAddresses[${index}]`,
            message:
              'must be an IPv4 or IPv6 address, a CIDR without host bits, or an IPv4 address with exactly one "*" octet',
          },
        ],
  )
  return problems.length > 0 ? { ok: false, problems } : parsed
}

export const ownerOf = ({ metadata }: ApiKey, spec: ApiKeySpec): KeyOwner => ({
  name: metadata.name,
  namespace: metadata.namespace,
  uid: metadata.uid ?? '',
  spec,
})

export interface Lifetime {
  readonly notBefore: Date | undefined
  readonly expires: Date | undefined
}

/** From when until when the key is accepted. */
export function lifetimeOf(apiKey: ApiKey, spec: ApiKeySpec): Lifetime {
  const created = Date.parse(apiKey.metadata.creationTimestamp ?? '1970-01-01T00:00:00Z')
  const fromLifetime =
    spec.lifetimeSeconds === undefined ? undefined : momentAt(created + spec.lifetimeSeconds * 1000, Math.floor)
  return {
    notBefore: spec.notBeforeTime === undefined ? undefined : momentAt(Date.parse(spec.notBeforeTime), Math.ceil),
    expires: spec.expiresTime === undefined ? fromLifetime : momentAt(Date.parse(spec.expiresTime), Math.floor),
  }
}

/**
 * A moment as sets and statuses can say it: a whole second, after the one that stands for none, with four digits for the
 * year. Rounding never lets a key live longer than it was to.
 */
function momentAt(milliseconds: number, round: (seconds: number) => number): Date {
  return new Date(Math.min(Math.max(round(milliseconds / 1000), 1), lastSecond) * 1000)
}

const lastSecond = Date.UTC(9999, 11, 31, 23, 59, 59) / 1000

/** The key id and values that may be published. */
export function usableValue(value: ValueFacts): UsableValue | undefined {
  if (value.source === 'Unusable' || (value.source === 'Generated' && value.secret.state !== 'Valid')) return undefined
  const { keyId, values } = value.source === 'Generated' ? (value.secret as SecretFacts & { state: 'Valid' }) : value
  return { keyId, values }
}

export interface UsableValue {
  readonly keyId: string
  readonly values: readonly KeyValue[]
}

/** Facts about a key of which only the digest is known, or that was made elsewhere. A generated one brings its key id. */
export const foreignValue = (
  source: 'Existing' | 'Digest',
  uid: string,
  digest: string,
  keyId: string | undefined,
  createdTime: string,
): ValueFacts => ({
  source,
  keyId: keyId ?? derivedKeyId(uid),
  values: [{ revision: 1, digest, createdTime }],
})

function createSecret(
  owner: KeyOwner,
  { apiKey }: ObservedApiKey,
  given: ApiKeySettings & { now: Date; randomBytes: RandomBytes },
): Pick<Plan, 'create' | 'events'> {
  const known = apiKey.status?.keyId
  const key = mintKey(
    given.keyPrefix,
    given.randomBytes,
    known !== undefined && /^[0-9A-Za-z]{16}$/.test(known) ? known : undefined,
  )
  const revision = (apiKey.status?.values?.at(-1)?.revision ?? 0) + 1
  const { keyId } = parseKey(key, given.keyPrefix)!
  const value: KeyValue = { revision, digest: digestOf(key).toString('base64url'), createdTime: toTime(given.now) }
  return {
    create: [renderSecret(owner, key, [value], given.seal)],
    events: [
      {
        type: 'Normal',
        reason: 'KeyCreated',
        action: 'CreateSecret',
        note: `Created Secret ${secretNameOf(owner)} with key ${keyId}.`,
      },
    ],
  }
}

function judgeValue(owner: KeyOwner, value: ValueFacts): Finding {
  const is = (ready: boolean, reason: string, message: string): Finding =>
    finding(conditionTypes.secretReady, ready, reason, message)
  const name = secretNameOf(owner)
  switch (value.source) {
    case 'Existing':
      return is(true, 'Adopted', `The key is the one in Secret ${owner.spec.source!.existing!.secretRef.name}.`)
    case 'Digest':
      return is(true, 'DigestOnly', 'Only the digest of the key is in the cluster.')
    case 'Unusable':
      return is(false, value.reason, value.message)
    case 'Generated':
      switch (value.secret.state) {
        case 'Valid':
          return is(true, 'Generated', `The key is in Secret ${name}.`)
        case 'Tampered':
          return is(
            false,
            'SecretTampered',
            `Secret ${name} was changed: its key is refused. Restore it, or delete it to get a new key.`,
          )
        case 'NotOwned':
          return value.secret.ofFormerKey
            ? is(
                false,
                'SecretNotOwned',
                `Secret ${name} belongs to a former ApiKey of this name, and is about to be removed.`,
              )
            : is(
                false,
                'SecretNotOwned',
                `Secret ${name} exists and is not Postern's: it is not touched. Choose another spec.secret.name in a new ApiKey, or delete that Secret.`,
              )
        case 'Absent':
          return is(false, 'SecretNotFound', `Secret ${name} is about to be created.`)
      }
  }
}

interface Answered {
  readonly policy: string
  readonly answer:
    | AccessAnswer
    | { readonly accepted: false; readonly reason: 'PolicyNotFound' | 'PolicyNotAccepted'; readonly message: string }
}

/** One answer to each entry; an entry for all policies of a namespace is accepted when each of them accepts it. */
function answerAll({ apiKey, namespaceLabels, policies }: ObservedApiKey, spec: ApiKeySpec): Answered[] {
  const { namespace } = apiKey.metadata
  return (spec.access ?? []).map((entry, index) => {
    const policy = policyNameOf(entry, namespace)
    const answers = (policies[index] ?? []).map((facts) => answerOne(facts, entry, namespace, namespaceLabels))
    const none = { accepted: false, reason: 'PolicyNotFound', message: `There is no AccessPolicy ${policy}.` } as const
    return { policy, answer: answers.find(({ accepted }) => !accepted) ?? answers[0] ?? none }
  })
}

export const policyNameOf = ({ policy }: AccessEntry, namespace: string): string =>
  `${policy.namespace ?? namespace}/${policy.name}`

function answerOne(
  facts: PolicyFacts,
  entry: AccessEntry,
  namespace: string,
  labels: Readonly<Record<string, string>>,
): Answered['answer'] {
  const name = `AccessPolicy ${facts.namespace}/${facts.name}`
  if (facts.policy === undefined) return { accepted: false, reason: 'PolicyNotFound', message: `There is no ${name}.` }
  if (typeof facts.policy === 'string')
    return { accepted: false, reason: 'PolicyNotAccepted', message: `${name} is not in force: ${facts.policy}` }
  return answerAccess(facts.policy, entry, namespace, labels)
}

function judgePublication({ publications }: ObservedApiKey, secret: Finding, answers: readonly Answered[]): Finding {
  const is = (published: boolean, reason: string, message: string): Finding =>
    finding(conditionTypes.published, published, reason, message)
  if (secret.status === 'False') return is(false, secret.reason, 'There is no value to publish.')
  if (answers.length === 0) return is(false, 'NoAccess', 'spec.access is empty: the key opens nothing.')
  if (publications.size === 0) return is(false, 'NotAdmitted', 'No policy admits the key.')
  const of = (state: Publication): string =>
    [...publications].flatMap(([policy, is]) => (is === state ? [policy] : [])).join(', ')
  if (of('CapacityExceeded'))
    return is(
      false,
      'CapacityExceeded',
      `There is no room for the key in the set of ${of('CapacityExceeded')}: raise spec.verification.shards there.`,
    )
  if (of('Pending')) return is(false, 'Pending', `To be published for ${of('Pending')}.`)
  return is(true, 'Published', `Published for ${of('Published')}.`)
}

function judgeReadiness(
  observed: ObservedApiKey,
  spec: ApiKeySpec,
  secret: Finding,
  answers: readonly Answered[],
  { notBefore, expires }: Lifetime,
  now: Date,
): Finding[] {
  if (secret.status === 'False') {
    const { value } = observed
    const comesByItself =
      secret.reason === 'SecretNotFound' ||
      (value.source === 'Generated' && value.secret.state === 'NotOwned' && value.secret.ofFormerKey)
    return readiness(false, secret.reason, secret.message, comesByItself ? 'Reconciling' : 'Stalled')
  }
  if (!spec.enabled) return readiness(false, 'Disabled', 'spec.enabled is false: the key is refused.', 'Neither')
  if (expires && now >= expires)
    return readiness(false, 'Expired', `The key has been refused since ${toTime(expires)}.`, 'Neither')
  const refused = answers.find(({ answer }) => !answer.accepted)?.answer
  if (refused && !refused.accepted) {
    const comesByItself = refused.reason === 'PolicyNotFound' || refused.reason === 'PolicyNotAccepted'
    return readiness(false, refused.reason, refused.message, comesByItself ? 'Reconciling' : 'Stalled')
  }
  const published = judgePublication(observed, secret, answers)
  if (published.status === 'False')
    return readiness(
      false,
      published.reason,
      published.message,
      published.reason === 'Pending' ? 'Reconciling' : 'Stalled',
    )
  if (notBefore && now < notBefore)
    return readiness(false, 'NotYetValid', `The key is refused until ${toTime(notBefore)}.`, 'Neither')
  return readiness(true, 'Ready', 'The key works wherever it asks to.', 'Neither')
}

function statusPlan(
  { apiKey }: ObservedApiKey,
  fields: Omit<ApiKeyStatus, 'conditions' | 'observedGeneration'>,
  findings: readonly Finding[],
  now: Date,
  wakeAt?: Date,
): Plan {
  const { generation } = apiKey.metadata
  return {
    ...nothing,
    status: {
      ...(generation !== undefined && { observedGeneration: generation }),
      ...fields,
      conditions: toConditions(findings, apiKey.status?.conditions, generation, now),
    },
    events: readinessEvents(findings, apiKey.status?.conditions),
    wakeAt,
  }
}
