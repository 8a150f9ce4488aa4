import type { AccessPolicy, AccessPolicySpec } from '../api/access-policy.ts'
import { parseAccessPolicySpec } from '../api/access-policy.ts'
import type { ApiKey, ApiKeySpec } from '../api/api-key.ts'
import { accessPolicies, apiKeys, configMaps, labels, namespaces } from '../api/names.ts'
import { type ConfigMap, nameKey, type ObjectName } from '../api/object.ts'
import type { Parsed } from '../api/schema.ts'
import { compilePolicy, type Policy } from '../core/policy.ts'
import { parseApiKey } from '../core/reconcile/api-key.ts'
import { secretNameOf } from '../core/reconcile/key-secret.ts'
import type { Cluster, Watch } from '../kube/cluster.ts'
import { Store } from '../kube/store.ts'

export interface CachedKey {
  readonly apiKey: ApiKey
  readonly parsed: Parsed<ApiKeySpec>
  /** The policies that it names, as namespace/name or namespace/*. */
  readonly asksFor: readonly string[]
  /** The Secret that holds its value, as namespace/name; undefined where none does. */
  readonly secret: string | undefined
}

export interface CachedPolicy {
  readonly policy: AccessPolicy
  readonly compiled: Parsed<Policy>
  /** The spec alone, where its schema admits it. */
  readonly spec: AccessPolicySpec | undefined
  readonly lastGood: Policy | undefined
}

/** What the operator knows of the cluster, kept up to date by watches. */
export interface Caches {
  readonly apiKeys: Store<CachedKey, 'policy' | 'secret' | 'namespace' | 'uid'>
  readonly policies: Store<CachedPolicy, 'namespace'>
  /** Labels by name. */
  readonly namespaces: Store<Readonly<Record<string, string>>>
  readonly configMaps: Store<ConfigMap, 'policy'>
  /** Begins to watch; resolves when everything that was there is known. */
  start(): Promise<void>
  stop(): Promise<void>
  /** The longest time since a watch gave a sign of life, in milliseconds. */
  silence(now: number): number
}

export function createCaches(cluster: Cluster, keyPrefix: string): Caches {
  const lastGood = new Map<string, Policy>()
  const keys: Caches['apiKeys'] = new Store({
    transform: (object) => cacheKey(object as ApiKey),
    indexes: {
      policy: ({ asksFor }: CachedKey) => asksFor,
      secret: ({ secret }: CachedKey) => (secret === undefined ? [] : [secret]),
      namespace: ({ apiKey }: CachedKey) => [apiKey.metadata.namespace],
      uid: ({ apiKey }: CachedKey) => [apiKey.metadata.uid ?? ''],
    },
  })
  const policies: Caches['policies'] = new Store({
    transform: (object) => {
      const policy = object as AccessPolicy
      const compiled = compilePolicy(policy, keyPrefix)
      const spec = parseAccessPolicySpec(policy.spec)
      const uid = policy.metadata.uid ?? ''
      if (compiled.ok) lastGood.set(uid, compiled.value)
      return { policy, compiled, spec: spec.ok ? spec.value : undefined, lastGood: lastGood.get(uid) }
    },
    indexes: { namespace: ({ policy }: CachedPolicy) => [policy.metadata.namespace] },
  })
  policies.onChange(({ before, after }) => {
    const uid = before?.policy.metadata.uid
    if (uid !== undefined && uid !== after?.policy.metadata.uid) lastGood.delete(uid)
  })
  const namespaceLabels: Caches['namespaces'] = new Store({
    transform: ({ metadata }) => metadata.labels ?? {},
    indexes: {},
  })
  const maps: Caches['configMaps'] = new Store({
    transform: (object) => object as ConfigMap,
    indexes: { policy: ({ metadata }: ConfigMap) => [`${metadata.namespace}/${metadata.labels?.[labels.policy]}`] },
  })
  const watches: Watch[] = []
  return {
    apiKeys: keys,
    policies,
    namespaces: namespaceLabels,
    configMaps: maps,
    async start() {
      watches.push(
        cluster.watch(apiKeys, {}, keys),
        cluster.watch(accessPolicies, {}, policies),
        cluster.watch(namespaces, { metadataOnly: true }, namespaceLabels),
        cluster.watch(configMaps, { labels: { [labels.managed]: 'true' } }, maps),
      )
      await Promise.all([keys, policies, namespaceLabels, maps].map((store) => store.whenSynced()))
    },
    async stop() {
      await Promise.all(watches.map((watch) => watch.stop()))
    },
    silence: (now) => Math.max(0, ...watches.map((watch) => now - watch.lastProgress())),
  }
}

function cacheKey(apiKey: ApiKey): CachedKey {
  const parsed = parseApiKey(apiKey)
  const { name, namespace } = apiKey.metadata
  const spec = parsed.ok ? parsed.value : undefined
  return {
    apiKey,
    parsed,
    asksFor: (spec?.access ?? []).map(({ policy }) => `${policy.namespace ?? namespace}/${policy.name}`),
    secret: spec && secretOf(spec, name, namespace),
  }
}

function secretOf(spec: ApiKeySpec, name: string, namespace: string): string | undefined {
  if (spec.source?.digest !== undefined) return undefined
  return `${namespace}/${spec.source?.existing?.secretRef.name ?? secretNameOf({ name, spec })}`
}

/** The keys that name a policy, by its name or with `*`. */
export const keysAskingFor = (caches: Caches, { namespace, name }: ObjectName): readonly CachedKey[] => {
  const found = [
    ...caches.apiKeys.by('policy', `${namespace}/${name}`),
    ...caches.apiKeys.by('policy', `${namespace}/*`),
  ]
  return [...new Map(found.map((key) => [nameKey(key.apiKey.metadata), key])).values()]
}

/** The policies that a key names, for each of its entries. */
export const policiesOf = (
  caches: Caches,
  { asksFor }: CachedKey,
): readonly (readonly { namespace: string; name: string; cached: CachedPolicy | undefined }[])[] =>
  asksFor.map((asked) => {
    const [namespace, name] = asked.split('/') as [string, string]
    if (name !== '*') return [{ namespace, name, cached: caches.policies.get({ namespace, name }) }]
    return caches.policies
      .by('namespace', namespace)
      .map((cached) => ({ namespace, name: cached.policy.metadata.name, cached }))
  })
