import { apiKeys, conditionTypes, configMaps, labels, secrets } from '../../src/api/names.ts'
import type { ConfigMap, KubeObject, Secret } from '../../src/api/object.ts'
import { type Manifest, manifestFile } from '../../src/api/verification.ts'
import { compareVersions } from '../../src/core/version.ts'
import { connect } from '../../src/kube/client.ts'
import type { WatchSink } from '../../src/kube/cluster.ts'
import { eventually } from '../support/wait.ts'
import { conditionOf, type Stored } from './objects.ts'

/** What has ever stood in managed Secrets and published sets, and what keys are now, seen by watches of an administrator's. */
export interface History {
  /** Why each ApiKey of a namespace is Ready or not, by its name; undefined where its status is about an older spec. */
  reasons(namespace: string): ReadonlyMap<string, string | undefined>
  /** Secrets that have had more than one value. */
  overwritten(): readonly string[]
  /** Sets that followed a newer one, as `namespace/name: 1.3 after 1.4`. */
  rolledBack(): readonly string[]
  readonly secrets: number
  /** The data of each version of a ConfigMap, by its namespace/name, as one text. */
  versionsOf(configMap: string): readonly string[]
  stop(): Promise<void>
}

export async function recordHistory(kubeconfig: string): Promise<History> {
  const cluster = connect({ kubeconfig, userAgent: 'postern-test' })
  const values = new Map<string, Set<string>>()
  const versions = new Map<string, string[]>()
  const editions = new Map<string, Manifest>()
  const rolledBack: string[] = []
  const reasons = new Map<string, Map<string, string | undefined>>()
  let synced = 0
  const sink = (put: (name: string, object: KubeObject) => void): WatchSink => ({
    put: (object) => put(`${object.metadata.namespace}/${object.metadata.name}`, object),
    gone: () => {},
    synced: () => {
      synced += 1
    },
  })
  const scope = { labels: { [labels.managed]: 'true' } }
  const watches = [
    cluster.watch(
      apiKeys,
      {},
      sink((_, key) => {
        const { name, namespace = '', generation } = key.metadata
        const status = key.status as Stored['status']
        const reason = conditionOf(key as Stored, conditionTypes.ready)?.reason
        const known = reasons.get(namespace) ?? new Map<string, string | undefined>()
        reasons.set(namespace, known.set(name, status?.observedGeneration === generation ? reason : undefined))
      }),
    ),
    cluster.watch(
      secrets,
      scope,
      sink((name, secret) => {
        const value = (secret as Secret).data?.key
        if (value !== undefined) values.set(name, (values.get(name) ?? new Set()).add(value))
      }),
    ),
    cluster.watch(
      configMaps,
      scope,
      sink((name, map) => {
        const { data = {} } = map as ConfigMap
        versions.set(name, [...(versions.get(name) ?? []), Object.values(data).join('\n')])
        const text = data[manifestFile]
        if (text === undefined) return
        const [after, before] = [JSON.parse(text) as Manifest, editions.get(name)]
        const order = before?.policyUid === after.policyUid ? compareVersions(after, before) : 1
        if (order < 0) rolledBack.push(`${name}: ${versionOf(after)} after ${versionOf(before!)}`)
        editions.set(name, after)
      }),
    ),
  ]
  await eventually('the history to begin', () => synced === watches.length)
  return {
    reasons: (namespace) => reasons.get(namespace) ?? new Map(),
    overwritten: () => [...values].flatMap(([name, seen]) => (seen.size > 1 ? [name] : [])),
    rolledBack: () => rolledBack,
    versionsOf: (configMap) => versions.get(configMap) ?? [],
    get secrets() {
      return values.size
    },
    async stop() {
      await Promise.all(watches.map((watch) => watch.stop()))
      await cluster.close()
    },
  }
}

const versionOf = ({ epoch, sequence }: Manifest): string => `${epoch}.${sequence}`
