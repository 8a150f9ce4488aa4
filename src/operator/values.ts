import type { ApiKey, ApiKeySpec } from '../api/api-key.ts'
import { labels, secrets } from '../api/names.ts'
import { nameKey, type ObjectName, type Secret } from '../api/object.ts'
import { adoptionProblem, digestFromText, digestOf, parseKey } from '../core/key.ts'
import { type ApiKeySettings, foreignValue, ownerOf, usableValue, type ValueFacts } from '../core/reconcile/api-key.ts'
import { inspectSecret } from '../core/reconcile/key-secret.ts'
import { type Cluster, ClusterError } from '../kube/cluster.ts'
import type { CachedKey, Caches } from './caches.ts'

/** What the operator remembers of the values of keys: digests, never the values. */
export interface Values {
  /** Reads every value once. To be called before anything is published: a set without a key shuts its holder out. */
  load(): Promise<void>
  /** What is known of a key's value now; reads its Secret where that has changed. */
  read(key: CachedKey): Promise<ValueFacts>
  /** What was known last, of a key by its uid. */
  peek(uid: string): ValueFacts | undefined
  /** Takes in a Secret that was just written. */
  note(key: CachedKey, secret: Secret): void
  /** A Secret has changed, or is gone. */
  invalidate(name: ObjectName, version: string | undefined): readonly CachedKey[]
  /** The key itself is gone. */
  forget(uid: string): void
}

interface Known {
  readonly facts: ValueFacts
  readonly generation: number | undefined
  /** Of the Secret; undefined where there is none. */
  readonly secretVersion: string | undefined
  readonly stale: boolean
}

/** @param changed hears of keys whose value is another than before, or that must look again because of another key */
export function createValues(
  cluster: Cluster,
  caches: Caches,
  settings: ApiKeySettings,
  changed: (key: CachedKey) => void,
): Values {
  const known = new Map<string, Known>()
  /** Readings under way, by uid: what changes meanwhile must be read once more, for the answer may be from before. */
  const reading = new Map<string, { overtaken: boolean }>()
  const claims = new Claims()

  const remember = (
    key: CachedKey,
    facts: ValueFacts,
    secretVersion: string | undefined,
    stale = false,
  ): ValueFacts => {
    const { uid = '', generation } = key.apiKey.metadata
    const before = known.get(uid)?.facts
    const judged = withoutDuplicates(key, facts)
    known.set(uid, { facts: judged, generation, secretVersion, stale })
    if (JSON.stringify(usableOf(before)) !== JSON.stringify(usableOf(judged))) changed(key)
    return judged
  }
  /** The older of two keys with one value has it; the other waits, and looks again when the older is gone. */
  const withoutDuplicates = (key: CachedKey, facts: ValueFacts): ValueFacts => {
    const digests = usableValue(facts)?.values.map(({ digest }) => digest) ?? []
    for (const other of claims.set(key.apiKey, digests)) wake(other)
    const older = claims.older(key.apiKey, digests)
    if (older === undefined) return facts
    return { source: 'Unusable', reason: 'DuplicateKey', message: `ApiKey ${older}, which is older, has the same key.` }
  }
  const wake = (uid: string): void => {
    const entry = known.get(uid)
    if (entry) known.set(uid, { ...entry, stale: true })
    for (const key of caches.apiKeys.by('uid', uid)) changed(key)
  }
  const inspect = (key: CachedKey, spec: ApiKeySpec, secret: Secret | undefined): ValueFacts => {
    if (spec.source?.existing) return adopt(key.apiKey, spec.source.existing.secretRef, secret, settings.keyPrefix)
    return {
      source: 'Generated',
      secret: inspectSecret(ownerOf(key.apiKey, spec), secret, settings.seal),
    }
  }

  const values: Values = {
    async load() {
      for await (const secret of cluster.list(secrets, { labels: { [labels.managed]: 'true' } })) {
        const owner = secret.metadata.ownerReferences?.[0]?.uid
        for (const key of owner === undefined ? [] : caches.apiKeys.by('uid', owner)) {
          if (key.parsed.ok && key.secret === nameKey(secret.metadata)) {
            remember(key, inspect(key, key.parsed.value, secret as Secret), secret.metadata.resourceVersion)
          }
        }
      }
      const unread = [...caches.apiKeys.list()].filter(({ apiKey }) => !known.has(apiKey.metadata.uid ?? ''))
      await eachOf(unread, 16, async (key) => void (await values.read(key)))
    },

    async read(key) {
      const { uid = '', generation } = key.apiKey.metadata
      const entry = known.get(uid)
      if (entry && !entry.stale && entry.generation === generation) return entry.facts
      if (!key.parsed.ok) return remember(key, { source: 'Generated', secret: { state: 'Absent' } }, undefined)
      const spec = key.parsed.value
      if (spec.source?.digest !== undefined) {
        const digest = digestFromText(spec.source.digest)
        return remember(
          key,
          foreignValue('Digest', uid, digest, undefined, key.apiKey.metadata.creationTimestamp ?? ''),
          undefined,
        )
      }
      const now = { overtaken: false }
      reading.set(uid, now)
      try {
        const [namespace, name] = key.secret!.split('/') as [string, string]
        const secret = (await cluster.get(secrets, { namespace, name })) as Secret | undefined
        return remember(key, inspect(key, spec, secret), secret?.metadata.resourceVersion, now.overtaken)
      } catch (error) {
        if (!(error instanceof ClusterError) || error.code !== 'Forbidden') throw error
        return remember(key, { source: 'Unusable', reason: 'SecretUnreadable', message: error.message }, undefined)
      } finally {
        reading.delete(uid)
      }
    },

    peek: (uid) => known.get(uid)?.facts,

    note(key, secret) {
      if (key.parsed.ok) remember(key, inspect(key, key.parsed.value, secret), secret.metadata.resourceVersion)
    },

    invalidate(name, version) {
      return caches.apiKeys.by('secret', nameKey(name)).filter(({ apiKey }) => {
        const uid = apiKey.metadata.uid ?? ''
        const entry = known.get(uid)
        const under = reading.get(uid)
        if (under) under.overtaken = true
        else if (entry && !entry.stale && entry.secretVersion === version) return false
        if (entry) known.set(uid, { ...entry, stale: true })
        return true
      })
    },

    forget(uid) {
      known.delete(uid)
      for (const other of claims.drop(uid)) wake(other)
    },
  }
  return values
}

const usableOf = (facts: ValueFacts | undefined): unknown => facts && usableValue(facts)

function adopt(
  apiKey: ApiKey,
  reference: { readonly name: string; readonly key: string },
  secret: Secret | undefined,
  keyPrefix: string,
): ValueFacts {
  const unusable = (reason: 'SecretNotFound' | 'KeyMalformed' | 'KeyWeak', message: string): ValueFacts => ({
    source: 'Unusable',
    reason,
    message,
  })
  const encoded = secret?.data?.[reference.key]
  if (!secret)
    return unusable('SecretNotFound', `There is no Secret ${reference.name} yet (spec.source.existing.secretRef.name).`)
  if (encoded === undefined)
    return unusable(
      'SecretNotFound',
      `Secret ${reference.name} has no data ${reference.key} (spec.source.existing.secretRef.key).`,
    )
  const value = Buffer.from(encoded, 'base64').toString('latin1')
  const problem = adoptionProblem(value, keyPrefix)
  if (problem) return unusable(problem.reason, `Secret ${reference.name}, data ${reference.key}: ${problem.message}.`)
  const { uid = '', creationTimestamp = '' } = apiKey.metadata
  return foreignValue(
    'Existing',
    uid,
    digestOf(value).toString('base64url'),
    parseKey(value, keyPrefix)?.keyId,
    creationTimestamp,
  )
}

interface Claim {
  readonly uid: string
  readonly name: string
  /** Sorts by age: the creation time, then the uid. */
  readonly age: string
}

/** Which keys have which digests. */
class Claims {
  private readonly byDigest = new Map<string, Map<string, Claim>>()
  private readonly byKey = new Map<string, readonly string[]>()

  /** What a key has now. Returns the uids of others that had a digest in common with it before, or have now. */
  set({ metadata }: ApiKey, digests: readonly string[]): string[] {
    const { uid = '', creationTimestamp = '' } = metadata
    if (JSON.stringify(this.byKey.get(uid) ?? []) === JSON.stringify(digests)) return []
    const concerned = this.drop(uid)
    for (const digest of digests) {
      const holders = this.byDigest.get(digest) ?? new Map<string, Claim>()
      concerned.push(...holders.keys())
      this.byDigest.set(digest, holders.set(uid, { uid, name: nameKey(metadata), age: `${creationTimestamp} ${uid}` }))
    }
    this.byKey.set(uid, digests)
    return concerned
  }

  /** Returns the uids of keys that had a digest in common with it. */
  drop(uid: string): string[] {
    const concerned: string[] = []
    for (const digest of this.byKey.get(uid) ?? []) {
      const holders = this.byDigest.get(digest)!
      holders.delete(uid)
      concerned.push(...holders.keys())
      if (holders.size === 0) this.byDigest.delete(digest)
    }
    this.byKey.delete(uid)
    return concerned
  }

  /** The name of an older key with one of these digests. */
  older({ metadata }: ApiKey, digests: readonly string[]): string | undefined {
    const age = `${metadata.creationTimestamp ?? ''} ${metadata.uid ?? ''}`
    return digests
      .flatMap((digest) => [...(this.byDigest.get(digest)?.values() ?? [])])
      .find((claim) => claim.age < age)?.name
  }
}

async function eachOf<T>(items: readonly T[], atOnce: number, work: (item: T) => Promise<void>): Promise<void> {
  const rest = items.values()
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (const item of rest) await work(item)
    }),
  )
}
