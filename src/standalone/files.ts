import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { accessPolicies, apiKeys, configMaps, labels, secrets } from '../api/names.ts'
import { type ConfigMap, type KubeObject, nameKey, type Resource, type Secret } from '../api/object.ts'
import { configMapName, type Manifest, manifestFile } from '../api/verification.ts'
import { problemLine, readManifest, writeManifest } from '../core/manifest.ts'
import type { Watch, WatchSink } from '../kube/cluster.ts'
import type { MemoryCluster } from '../kube/memory.ts'
import type { Log } from '../runtime/log.ts'
import { namesIn, readIfThere, writeVolume, writeWhole } from './disk.ts'

const defaultRetryMilliseconds = 1000

/**
 * The cluster as files, and the cluster from files:
 *
 *   secrets/<namespace>/<name>/<data name>         what Postern put into Secrets
 *   verification/<namespace>/<policy>/             the sets, laid out as a mounted volume
 *   status/<Kind>/<namespace>/<name>.yaml          whole objects; of Secrets, all but the data
 */
export class StateFiles {
  private readonly cluster: MemoryCluster
  private readonly state: string
  private readonly log: Log
  private readonly watches: Watch[] = []
  /** What is to be written yet: by file or volume, the newest content. */
  private readonly waiting = new Map<string, () => Promise<void>>()
  /** The same for volumes, which come first: a key that is revoked must not wait until a thousand others are on disk. */
  private readonly urgent = new Map<string, () => Promise<void>>()
  /** What could not be written, until there is something newer to write there. */
  private readonly failed = new Map<string, () => Promise<void>>()
  private readonly retryMilliseconds: number
  private writing: Promise<void> | undefined
  private retry: NodeJS.Timeout | undefined
  private stopped = false

  constructor(options: { cluster: MemoryCluster; state: string; log: Log; retryMilliseconds?: number }) {
    this.cluster = options.cluster
    this.state = options.state
    this.log = options.log
    this.retryMilliseconds = options.retryMilliseconds ?? defaultRetryMilliseconds
  }

  static verificationDirectory(state: string, policy: string): string {
    return join(state, 'verification', policy)
  }

  /** Puts into the cluster what was in it when the last process ended. */
  async restore(): Promise<void> {
    for (const resource of [accessPolicies, apiKeys]) {
      for await (const object of this.readStatus(resource)) await this.cluster.restore(object, 'user')
    }
    for await (const object of this.readStatus(secrets)) {
      const secret = await this.withData(object)
      // Without its data it is as good as deleted: its key will have another value.
      if (secret) await this.cluster.restore(secret, 'postern')
    }
    for await (const { metadata } of this.cluster.list(accessPolicies)) {
      for (const configMap of await this.readVolume(metadata.namespace!, metadata.name))
        await this.cluster.restore(configMap, 'postern')
    }
    this.cluster.collectGarbage()
  }

  /** Follows the cluster from now on. */
  start(): void {
    const follow = (resource: Resource, sink: Pick<WatchSink, 'put' | 'gone'>, scope = {}): void => {
      this.watches.push(this.cluster.watch(resource, scope, { ...sink, synced: () => {} }))
    }
    for (const resource of [accessPolicies, apiKeys]) {
      follow(resource, {
        put: (object) => this.putStatus(resource, object),
        gone: (name) => this.later(this.statusFile(resource, nameKey(name)), (file) => rm(file, { force: true })),
      })
    }
    const managed = { labels: { [labels.managed]: 'true' } }
    follow(
      secrets,
      { put: (object) => this.putSecret(object as Secret), gone: (name) => this.dropSecret(nameKey(name)) },
      managed,
    )
    follow(
      configMaps,
      {
        put: (object) => this.putVolume(object),
        gone: (object) => this.putVolume({ ...object, ...this.labelsOf(object.name) }),
      },
      managed,
    )
  }

  /** Resolves when everything is on disk, or cannot be. */
  async stop(): Promise<void> {
    await this.settled()
    this.stopped = true
    clearTimeout(this.retry)
    await Promise.all(this.watches.map((watch) => watch.stop()))
    await this.writing
  }

  /** Resolves when nothing waits to be written. */
  async settled(): Promise<void> {
    // Watches hear of a change a turn after it was made.
    await new Promise((resolve) => setImmediate(resolve))
    await this.writing
  }

  private putStatus(resource: Resource, object: KubeObject): void {
    this.later(this.statusFile(resource, nameKey(object.metadata)), (file) => writeWhole(file, writeManifest(object)))
  }

  private putSecret(secret: Secret): void {
    const name = nameKey(secret.metadata)
    const { data = {}, ...rest } = secret
    this.later(join(this.state, 'secrets', name), async (directory) => {
      for (const [part, value] of Object.entries(data))
        await writeWhole(join(directory, part), Buffer.from(value, 'base64'))
      for (const part of await namesIn(directory)) if (!Object.hasOwn(data, part)) await rm(join(directory, part))
      // Last: without it the data mean nothing, and with it they must be there.
      await writeWhole(this.statusFile(secrets, name), writeManifest({ ...rest, names: Object.keys(data) }))
    })
  }

  private dropSecret(name: string): void {
    this.later(join(this.state, 'secrets', name), async (directory) => {
      await rm(this.statusFile(secrets, name), { force: true })
      await rm(directory, { recursive: true, force: true })
    })
  }

  private labelsOf(configMap: string): { labels: Record<string, string> } {
    return { labels: { [labels.policy]: configMap.replace(/^postern-/, '').replace(/\.keys-\d+$/, '') } }
  }

  /** All ConfigMaps of a policy are one volume, as a pod would mount them. */
  private putVolume(object: {
    metadata?: KubeObject['metadata']
    namespace?: string
    labels?: Readonly<Record<string, string>>
  }): void {
    const namespace = object.metadata?.namespace ?? object.namespace!
    const policy = (object.metadata?.labels ?? object.labels)?.[labels.policy]
    if (policy === undefined) return
    this.later(
      StateFiles.verificationDirectory(this.state, `${namespace}/${policy}`),
      async (directory) => {
        const files = new Map<string, string>()
        for await (const map of this.cluster.list(configMaps, { namespace, labels: { [labels.policy]: policy } })) {
          for (const [name, text] of Object.entries((map as ConfigMap).data ?? {})) files.set(name, text)
        }
        await writeVolume(directory, files)
      },
      this.urgent,
    )
  }

  /** Writes one after the other, the newest content of each; what fails is tried again. */
  private later(place: string, write: (place: string) => Promise<void>, queue = this.waiting): void {
    this.failed.delete(place)
    // A place keeps its turn: the status, which has the uid, is on disk before the Secret that names it as its owner.
    queue.set(place, () => write(place))
    this.writing ??= this.writeAll()
  }

  private async writeAll(): Promise<void> {
    for (;;) {
      const queue = this.urgent.size > 0 ? this.urgent : this.waiting
      const next = queue.entries().next().value
      if (!next) break
      const [place, write] = next
      queue.delete(place)
      try {
        await write()
      } catch (error) {
        this.log.error('A file could not be written, and is tried again', { place, error })
        if (!queue.has(place)) this.failed.set(place, write)
      }
    }
    this.writing = undefined
    if (this.failed.size === 0 || this.stopped) return
    clearTimeout(this.retry)
    this.retry = setTimeout(() => {
      for (const [place, write] of this.failed) this.waiting.set(place, write)
      this.failed.clear()
      this.writing ??= this.writeAll()
    }, this.retryMilliseconds)
  }

  private statusFile(resource: Resource, name: string): string {
    return join(this.state, 'status', resource.kind, `${name}.yaml`)
  }

  private async *readStatus(resource: Resource): AsyncIterable<KubeObject & { readonly names?: readonly string[] }> {
    const root = join(this.state, 'status', resource.kind)
    for (const namespace of await namesIn(root)) {
      for (const file of await namesIn(join(root, namespace))) {
        const path = join(root, namespace, file)
        const { objects, problems } = readManifest(path, (await readIfThere(path))?.toString('utf8') ?? '')
        if (problems.length > 0 || objects.length !== 1) {
          const reason = problems.map(problemLine).join('\n') || `${path}:1:1: holds ${objects.length} objects, not one`
          throw new Error(`${reason}\nRestore the file; without it the object is made anew, and its key with it.`)
        }
        yield objects[0]!.value as unknown as KubeObject
      }
    }
  }

  private async withData({
    names = [],
    ...secret
  }: KubeObject & { readonly names?: readonly string[] }): Promise<Secret | undefined> {
    const directory = join(this.state, 'secrets', nameKey(secret.metadata))
    const data: Record<string, string> = {}
    for (const name of names) {
      const bytes = await readIfThere(join(directory, name))
      if (bytes) data[name] = bytes.toString('base64')
    }
    return Object.keys(data).length === 0 ? undefined : { ...secret, data }
  }

  /** The ConfigMaps whose data a volume holds; none where its manifest cannot be read. */
  private async readVolume(namespace: string, policy: string): Promise<ConfigMap[]> {
    const directory = join(StateFiles.verificationDirectory(this.state, `${namespace}/${policy}`), '..data')
    const files = new Map<string, string>()
    for (const name of await namesIn(directory))
      files.set(name, (await readIfThere(join(directory, name)))?.toString('utf8') ?? '')
    const manifest = readJson(files.get(manifestFile))
    if (!manifest) return []
    return Array.from({ length: manifest.shards }, (_, shard): ConfigMap => {
      const own = [...files].filter(([name]) => shardOfFile(name) === shard)
      return {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: {
          namespace,
          name: configMapName(policy, shard),
          labels: { [labels.managed]: 'true', [labels.policy]: policy, 'app.kubernetes.io/managed-by': 'postern' },
          ownerReferences: [
            {
              apiVersion: accessPolicies.apiVersion,
              kind: accessPolicies.kind,
              name: policy,
              uid: manifest.policyUid,
              controller: true,
              blockOwnerDeletion: true,
            },
          ],
        },
        data: Object.fromEntries(own),
      }
    })
  }
}

const shardOfFile = (name: string): number => Number(/^(?:keys-|grants-)(\d+)/.exec(name)?.[1] ?? 0)

function readJson(text: string | undefined): Manifest | undefined {
  try {
    return text === undefined ? undefined : (JSON.parse(text) as Manifest)
  } catch {
    return undefined
  }
}
