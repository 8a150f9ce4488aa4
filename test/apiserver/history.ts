import { configMaps, labels, secrets } from '../../src/api/names.ts'
import type { ConfigMap, KubeObject, Secret } from '../../src/api/object.ts'
import { type Manifest, manifestFile } from '../../src/api/verification.ts'
import { compareVersions } from '../../src/core/version.ts'
import { connect } from '../../src/kube/client.ts'
import type { WatchSink } from '../../src/kube/cluster.ts'
import { eventually } from '../support/wait.ts'

/** What has ever stood in managed Secrets and published sets, seen by a watch of an administrator's. */
export interface History {
  /** Values of a key's Secret, as namespace/name. */
  valuesOf(secret: string): readonly string[]
  /** Secrets that have had more than one value. */
  overwritten(): readonly string[]
  /** Sets that followed a newer one, as `namespace/name: 1.3 after 1.4`. */
  rolledBack(): readonly string[]
  readonly secrets: number
  stop(): Promise<void>
}

export async function recordHistory(kubeconfig: string): Promise<History> {
  const cluster = connect({ kubeconfig, userAgent: 'postern-test' })
  const values = new Map<string, Set<string>>()
  const editions = new Map<string, Manifest>()
  const rolledBack: string[] = []
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
        const text = (map as ConfigMap).data?.[manifestFile]
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
    valuesOf: (secret) => [...(values.get(secret) ?? [])],
    overwritten: () => [...values].flatMap(([name, seen]) => (seen.size > 1 ? [name] : [])),
    rolledBack: () => rolledBack,
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
