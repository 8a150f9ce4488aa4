import { accessPolicies, configMaps, secrets } from '../api/names.ts'
import { type ConfigMap, type KubeObject, nameKey, type ObjectName, type Secret } from '../api/object.ts'
import { configMapName, type Manifest, manifestFile } from '../api/verification.ts'
import {
  type AskingKey,
  admitKey,
  claimsSamePort,
  type PolicyPlan,
  type PublishSettings,
  reconcileAccessPolicy,
} from '../core/reconcile/access-policy.ts'
import {
  type ApiKeySettings,
  type ObservedApiKey,
  type PolicyFacts,
  type Publication,
  reconcileApiKey,
  usableValue,
} from '../core/reconcile/api-key.ts'
import type { Cluster } from '../kube/cluster.ts'
import { type CachedKey, type CachedPolicy, type Caches, keysAskingFor, policiesOf } from './caches.ts'
import { carryOut } from './controller.ts'
import type { Publications } from './publications.ts'
import type { Values } from './values.ts'

export interface Surroundings {
  readonly cluster: Cluster
  readonly caches: Caches
  readonly values: Values
  readonly publications: Publications
  readonly now: () => Date
  readonly randomBytes: (count: number) => Uint8Array
}

/** Looks at one object and does what its state asks for. */
export type Reconciler = (name: ObjectName) => Promise<Next>

export interface Next {
  /** Look again at once: something was written. */
  readonly again: boolean
  readonly wakeAt: Date | undefined
}

const done: Next = { again: false, wakeAt: undefined }

export function apiKeyReconciler(around: Surroundings, settings: ApiKeySettings): Reconciler {
  const { cluster, caches, values, now, randomBytes } = around
  return async (name) => {
    const key = caches.apiKeys.get(name)
    if (!key || key.apiKey.metadata.deletionTimestamp !== undefined) return done
    const value = await values.read(key)
    // Reading may have taken a while: judge what the caches hold now, if it is still the same spec.
    const latest = caches.apiKeys.get(name)
    if (!latest) return done
    if (latest.apiKey.metadata.generation !== key.apiKey.metadata.generation) return { again: true, wakeAt: undefined }
    const observed: ObservedApiKey = {
      apiKey: latest.apiKey,
      value,
      namespaceLabels: namespaceLabels(caches, latest.apiKey.metadata.namespace),
      policies: policiesOf(caches, latest).map((found) => found.map((facts) => policyFacts(caches, facts))),
      publications: publicationsOf(around, latest),
    }
    const plan = reconcileApiKey(observed, { ...settings, now: now(), randomBytes })
    const again = await carryOut(cluster, latest.apiKey, plan, (object) => {
      if (object.kind === secrets.kind) values.note(latest, object as Secret)
      else caches.apiKeys.put(object)
    })
    return { again, wakeAt: plan.wakeAt }
  }
}

export interface PublicationHooks {
  /** Keys, as namespace/name, of which the published set now says something else. */
  readonly published: (keys: readonly string[]) => void
}

export function accessPolicyReconciler(
  around: Surroundings,
  settings: PublishSettings,
  { published }: PublicationHooks,
): Reconciler {
  const { cluster, caches, publications, now } = around
  const written = new Map<string, Written>()
  return async (name) => {
    const cached = caches.policies.get(name)
    if (!cached || cached.policy.metadata.deletionTimestamp !== undefined) {
      publications.forget(nameKey(name))
      written.delete(nameKey(name))
      return done
    }
    const uid = cached.policy.metadata.uid ?? ''
    const before = written.get(nameKey(name))
    const last = before?.uid === uid ? before : undefined
    const pausedUntil = last && last.confirmed === cached.policy.metadata.generation ? last.dueTime : undefined
    // Looking costs as much as the policy has keys, and keys come in crowds: until it may be written again, once is enough.
    if (pausedUntil !== undefined && pausedUntil > now()) return { again: false, wakeAt: pausedUntil }
    const plan = reconcileAccessPolicy(
      {
        policy: cached.policy,
        compiled: cached.compiled,
        lastGood: cached.lastGood,
        conflict: findConflict(caches, cached),
        keys: keysAskingFor(caches, name).flatMap((key) => askingKey(around, key) ?? []),
        configMaps: await findConfigMaps(cluster, caches, cached),
        latest: last?.edition,
        writtenTime: last?.time,
      },
      { ...settings, now: now() },
    )
    published(publications.note(nameKey(name), plan))
    if (last && plan.isPublished) written.set(nameKey(name), { ...last, confirmed: cached.policy.metadata.generation })
    const again = await carryOut(cluster, cached.policy, plan, (object) => {
      if (object.kind === accessPolicies.kind) return caches.policies.put(object)
      caches.configMaps.put(object)
      const edition = editionOf(object)
      if (edition) written.set(nameKey(name), { uid, time: now(), edition, ...afterWriting(plan, settings, now()) })
    })
    return { again, wakeAt: plan.wakeAt }
  }
}

/** What this process has written for a policy, by its uid, and when. */
interface Written {
  readonly uid: string
  readonly time: Date
  readonly edition: Pick<Manifest, 'epoch' | 'sequence'>
  /** When it may be written again. */
  readonly dueTime: Date
  /** The generation of the policy for which the cluster was seen to hold what was written; undefined as long as it was not. */
  readonly confirmed: number | undefined
}

function afterWriting(
  { create, apply }: PolicyPlan,
  { pauseMilliseconds }: PublishSettings,
  now: Date,
): Pick<Written, 'dueTime' | 'confirmed'> {
  const texts = [...create, ...apply].flatMap((object) => Object.values((object as ConfigMap).data ?? {}))
  const bytes = texts.reduce((sum, text) => sum + text.length, 0)
  return { dueTime: new Date(now.getTime() + pauseMilliseconds(bytes)), confirmed: undefined }
}

const editionOf = (object: KubeObject): Manifest | undefined => {
  const text = (object as ConfigMap).data?.[manifestFile]
  return text === undefined ? undefined : (JSON.parse(text) as Manifest)
}

function askingKey({ caches, values }: Surroundings, { apiKey, parsed }: CachedKey): AskingKey | undefined {
  if (!parsed.ok || apiKey.metadata.deletionTimestamp !== undefined) return undefined
  const facts = values.peek(apiKey.metadata.uid ?? '')
  return {
    apiKey,
    spec: parsed.value,
    value: facts && usableValue(facts),
    namespaceLabels: namespaceLabels(caches, apiKey.metadata.namespace),
  }
}

function publicationsOf(around: Surroundings, key: CachedKey): ReadonlyMap<string, Publication> {
  const asking = askingKey(around, key)
  const found = new Map<string, Publication>()
  for (const { namespace, name, cached } of asking ? policiesOf(around.caches, key).flat() : []) {
    if (!cached?.compiled.ok) continue
    const admitted = admitKey(cached.compiled.value, asking!)
    if ('rejected' in admitted) continue
    found.set(
      `${namespace}/${name}`,
      around.publications.state(`${namespace}/${name}`, nameKey(key.apiKey.metadata), admitted),
    )
  }
  return found
}

function policyFacts(
  caches: Caches,
  { namespace, name, cached }: { namespace: string; name: string; cached: CachedPolicy | undefined },
): PolicyFacts {
  if (!cached) return { namespace, name, policy: undefined }
  const { compiled } = cached
  if (!compiled.ok)
    return { namespace, name, policy: compiled.problems.map(({ path, message }) => `${path}: ${message}`).join('; ') }
  const conflict = findConflict(caches, cached)
  if (conflict === undefined) return { namespace, name, policy: compiled.value }
  return { namespace, name, policy: `AccessPolicy ${conflict}, which is older, guards the same port of the same pods.` }
}

/** A namespace's labels, among them its name, which the API server keeps as a label too. */
const namespaceLabels = (caches: Caches, namespace: string): Readonly<Record<string, string>> => ({
  ...caches.namespaces.get({ name: namespace }),
  'kubernetes.io/metadata.name': namespace,
})

/** The ConfigMaps of a policy's set, and such as stand under their names without being ours. */
async function findConfigMaps(
  cluster: Cluster,
  caches: Caches,
  { policy, compiled, lastGood }: CachedPolicy,
): Promise<readonly ConfigMap[]> {
  const { namespace, name } = policy.metadata
  const found = new Map(caches.configMaps.by('policy', `${namespace}/${name}`).map((map) => [map.metadata.name, map]))
  const shards = (compiled.ok ? compiled.value : lastGood)?.shards ?? 0
  for (let shard = 0; shard < shards; shard++) {
    const mapName = configMapName(name, shard)
    if (found.has(mapName)) continue
    const unlabelled = await cluster.get(configMaps, { namespace, name: mapName })
    if (unlabelled) found.set(mapName, unlabelled as ConfigMap)
  }
  return [...found.values()]
}

function findConflict(caches: Caches, { policy, spec }: CachedPolicy): string | undefined {
  const age = ({ metadata }: KubeObject): string => `${metadata.creationTimestamp ?? ''} ${metadata.uid ?? ''}`
  const older = caches.policies
    .by('namespace', policy.metadata.namespace)
    .filter((other) => other.policy !== policy && age(other.policy) < age(policy))
    .find((other) => spec && other.spec && claimsSamePort(spec, other.spec))
  return older && nameKey(older.policy.metadata)
}
