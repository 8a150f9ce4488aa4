import { randomBytes } from 'node:crypto'
import { secrets } from '../api/names.ts'
import { nameKey, type ObjectName } from '../api/object.ts'
import type { Settings } from '../api/settings.ts'
import { type Cluster, ClusterError, type Watch } from '../kube/cluster.ts'
import { WorkQueue } from '../kube/queue.ts'
import type { Log } from '../runtime/log.ts'
import type { Metrics } from '../runtime/metrics.ts'
import { createCaches } from './caches.ts'
import { Publications } from './publications.ts'
import { accessPolicyReconciler, apiKeyReconciler, type Reconciler, type Surroundings } from './reconcilers.ts'
import { loadOperatorKeys } from './signing.ts'
import { createValues } from './values.ts'
import { type Queues, wakeOnChanges } from './wakes.ts'

export interface OperatorOptions {
  readonly cluster: Cluster
  /** Where the operator keeps its own Secret. */
  readonly namespace: string
  readonly settings: Settings
  readonly log: Log
  readonly metrics: Metrics
  readonly now?: () => Date
  /** Pause between two writes of one verification set, by its bytes. Default: what etcd stands, 2 s, and 5 s from 256 KiB. */
  readonly pauseMilliseconds?: (bytes: number) => number
}

export interface Operator {
  /** Public keys, base64url, by which sidecars verify what it publishes: the one in use, and the next. */
  readonly publicKeys: readonly string[]
  /** Why it is not well; undefined where it is: watches are alive and work goes on. */
  problem(): string | undefined
  /** Finishes what is under way. */
  stop(): Promise<void>
}

/** Changes that come within so many milliseconds are published together. */
const coalesceMilliseconds = 100
/** However far the next moment is, the clock may have been changed meanwhile. */
const longestSleepMilliseconds = 3_600_000
/** Short, because after an outage of the API server everything waits: it must be over soon when the server is back. */
const backoff = { firstMilliseconds: 500, longestMilliseconds: 10_000 }
const stuckMilliseconds = 300_000
const workers = { apiKeys: 16, policies: 2 }

/** Resolves when the operator knows everything and has begun to work. */
export async function startOperator(options: OperatorOptions): Promise<Operator> {
  const { cluster, settings, log, metrics, now = () => new Date() } = options
  const keys = await loadOperatorKeys(cluster, options.namespace, randomBytes)
  const caches = createCaches(cluster, settings.keyPrefix)
  const publications = new Publications()
  const outcomes = metrics.counter('postern_reconcile_total', 'Looks at an object, by outcome.', ['kind', 'outcome'])
  const depths = metrics.gauge('postern_queue_depth', 'Objects that wait to be looked at.', ['kind'])
  const keySettings = { keyPrefix: settings.keyPrefix, seal: keys.seal }
  const queues: Queues = {
    apiKeys: createQueue('ApiKey', workers.apiKeys, (name) => reconcilers.apiKeys(name)),
    policies: createQueue('AccessPolicy', workers.policies, (name) => reconcilers.policies(name)),
  }
  const wakes = wakeOnChanges(caches, queues, coalesceMilliseconds)
  const values = createValues(cluster, caches, keySettings, wakes.valueChanged)
  wakes.onForgotten((uid) => values.forget(uid))
  const around: Surroundings = { cluster, caches, values, publications, now, randomBytes }
  const publishSettings = {
    signingKey: keys.current,
    nextPublicKey: keys.next.publicKey,
    pauseMilliseconds: options.pauseMilliseconds ?? ((bytes: number) => (bytes > 256 * 1024 ? 5000 : 2000)),
  }
  const reconcilers = {
    apiKeys: apiKeyReconciler(around, keySettings),
    policies: accessPolicyReconciler(around, publishSettings, {
      published: (names) => {
        for (const name of names) queues.apiKeys.add(name)
      },
    }),
  }

  function createQueue(kind: string, count: number, reconcile: Reconciler): WorkQueue {
    const succeeded = outcomes.with(kind, 'Succeeded')
    const failed = outcomes.with(kind, 'Failed')
    const queue: WorkQueue = new WorkQueue({
      workers: count,
      backoff,
      handle: async (key) => {
        const { again, wakeAt } = await reconcile(parseName(key))
        succeeded.add()
        if (again) queue.add(key)
        if (wakeAt)
          queue.addAfter(key, Math.min(Math.max(wakeAt.getTime() - now().getTime(), 1), longestSleepMilliseconds))
      },
      onFailure: (key, error, failures) => {
        failed.add()
        // Somebody else was faster: the next look will see what they wrote.
        const expected =
          error instanceof ClusterError &&
          (error.code === 'Conflict' || error.code === 'NotFound' || error.code === 'AlreadyExists')
        log[expected ? 'debug' : 'warn']('A look at an object failed and is tried again', {
          kind,
          object: key,
          failures,
          error,
        })
      },
    })
    depths.with(kind).read(() => queue.statistics().depth)
    return queue
  }

  await caches.start()
  await values.load()
  const secretWatch: Watch = cluster.watch(
    secrets,
    { metadataOnly: true },
    {
      put: ({ metadata }) => secretChanged(metadata, metadata.resourceVersion),
      gone: (name) => secretChanged(name, undefined),
      synced: () => {},
    },
  )
  function secretChanged(name: ObjectName, version: string | undefined): void {
    for (const { apiKey } of values.invalidate(name, version)) queues.apiKeys.add(nameKey(apiKey.metadata))
  }
  for (const { policy } of caches.policies.list()) queues.policies.add(nameKey(policy.metadata), 'Later')
  for (const { apiKey } of caches.apiKeys.list()) queues.apiKeys.add(nameKey(apiKey.metadata), 'Later')
  queues.policies.start()
  queues.apiKeys.start()
  const publicKeys = [keys.current.publicKey, keys.next.publicKey]
  log.info('The operator has begun', { apiKeys: caches.apiKeys.size, accessPolicies: caches.policies.size, publicKeys })

  return {
    publicKeys,
    problem() {
      const silence = caches.silence(performance.now())
      if (silence > stuckMilliseconds) return `watches have been silent for ${Math.round(silence / 1000)} s`
      for (const [kind, queue] of Object.entries(queues)) {
        const seconds = queue.statistics().longestRunningSeconds
        if (seconds * 1000 > stuckMilliseconds)
          return `${kind}: one look has been going on for ${Math.round(seconds)} s`
      }
      return undefined
    },
    async stop() {
      await Promise.all([secretWatch.stop(), caches.stop()])
      await Promise.all([queues.apiKeys.stop(), queues.policies.stop()])
    },
  }
}

function parseName(key: string): ObjectName {
  const [namespace, name] = key.split('/') as [string, string]
  return { namespace, name }
}
