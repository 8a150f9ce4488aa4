import { labels } from '../api/names.ts'
import { type KubeObject, nameKey } from '../api/object.ts'
import type { WorkQueue } from '../kube/queue.ts'
import { type CachedKey, type Caches, keysAskingFor } from './caches.ts'

export interface Queues {
  readonly apiKeys: Pick<WorkQueue, 'add' | 'addAfter' | 'start' | 'stop' | 'statistics' | 'forget'>
  readonly policies: Pick<WorkQueue, 'add' | 'addAfter' | 'start' | 'stop' | 'statistics' | 'forget'>
}

export interface Wakes {
  /** The value of a key is another, or may be. */
  readonly valueChanged: (key: CachedKey) => void
  /** Hears of the uid of each key that is gone. */
  onForgotten(listener: (uid: string) => void): void
}

/**
 * Who looks again when something changes: exactly those whom it concerns, so that a change costs the same with many keys as
 * with few. Policies wait a moment, since changes of keys come in crowds.
 */
export function wakeOnChanges(caches: Caches, queues: Queues, coalesceMilliseconds: number): Wakes {
  const forgotten: ((uid: string) => void)[] = []
  const wakeKey = ({ apiKey }: CachedKey): void => queues.apiKeys.add(nameKey(apiKey.metadata))
  const wakePoliciesOf = ({ asksFor }: CachedKey): void => {
    for (const asked of asksFor) {
      const [namespace, name] = asked.split('/') as [string, string]
      const names =
        name === '*'
          ? caches.policies.by('namespace', namespace).map(({ policy }) => nameKey(policy.metadata))
          : [asked]
      for (const policy of names) queues.policies.addAfter(policy, coalesceMilliseconds)
    }
  }

  caches.apiKeys.onChange(({ name, before, after }) => {
    if (after) wakeKey(after)
    else queues.apiKeys.forget(nameKey(name))
    if (isSameSpec(before?.apiKey, after?.apiKey)) return
    for (const key of [before, after]) if (key) wakePoliciesOf(key)
    const uid = before?.apiKey.metadata.uid
    if (uid !== undefined && uid !== after?.apiKey.metadata.uid) for (const listener of forgotten) listener(uid)
  })

  caches.policies.onChange(({ name, before, after }) => {
    queues.policies.add(nameKey(name))
    if (isSameSpec(before?.policy, after?.policy)) return
    for (const key of keysAskingFor(caches, name)) wakeKey(key)
    // One of them may have been in conflict with this one, or may be now.
    for (const { policy } of caches.policies.by('namespace', name.namespace ?? ''))
      queues.policies.add(nameKey(policy.metadata))
  })

  caches.namespaces.onChange(({ name }) => {
    for (const key of caches.apiKeys.by('namespace', name.name)) {
      wakeKey(key)
      wakePoliciesOf(key)
    }
  })

  caches.configMaps.onChange(({ before, after }) => {
    for (const map of [before, after]) {
      const name = map?.metadata.labels?.[labels.policy]
      if (name !== undefined) queues.policies.add(`${map!.metadata.namespace}/${name}`)
    }
  })

  return {
    valueChanged(key) {
      wakeKey(key)
      wakePoliciesOf(key)
    },
    onForgotten: (listener) => void forgotten.push(listener),
  }
}

const isSameSpec = (before: KubeObject | undefined, after: KubeObject | undefined): boolean =>
  before?.metadata.uid === after?.metadata.uid &&
  before?.metadata.generation === after?.metadata.generation &&
  before?.metadata.deletionTimestamp === after?.metadata.deletionTimestamp
