import { managerName } from '../api/names.ts'
import type { KubeObject, ObjectName, Resource } from '../api/object.ts'
import { errorOf, readJson, readObject, readStatus } from './answers.ts'
import { withoutStringData } from './built-in.ts'
import {
  type Cluster,
  ClusterError,
  type ClusterEvent,
  type Scope,
  type Watch,
  type WatchScope,
  type WatchSink,
} from './cluster.ts'
import { Credentials } from './credentials.ts'
import { EventRecorder, type EventStatistics } from './events.ts'
import { readPages } from './pages.ts'
import { mainOnly, statusOnly, withPreconditions } from './parts.ts'
import { objectPath, withQuery } from './paths.ts'
import { Reflector, type ReflectorSettings } from './reflector.ts'
import { checkName, checkPreconditions, describe, ownResources, resourceOf } from './resources.ts'
import { type Answer, Transport, type TransportOptions, type TransportRequest } from './transport.ts'

export interface ConnectOptions {
  /** A kubeconfig file. Default: what KUBECONFIG names, `~/.kube/config`, or the Pod's own service account. */
  readonly kubeconfig?: string
  /** Default: the kubeconfig's current context. */
  readonly context?: string
  /** Default: the context's, or `default`. */
  readonly namespace?: string
  readonly userAgent: string
  /** Kinds that may be read and written. Default: those that Postern uses. */
  readonly resources?: readonly Resource[]
  /** Hears of interrupted watches, and of what their sinks throw. Default: nobody does. */
  readonly onProblem?: (error: unknown) => void
  /** How many objects of a list are asked for at a time. Default 500. */
  readonly pageSize?: number
  /** For tests: how watches, calls and credentials wait. */
  readonly watchSettings?: ReflectorSettings
  readonly callSettings?: Pick<TransportOptions, 'callSeconds' | 'trySeconds' | 'tries' | 'backoff'>
  readonly credentialSeconds?: number
}

/** A cluster that is reached over the network. */
export interface ConnectedCluster extends Cluster {
  /** Where things are looked for when nothing else is said. */
  readonly namespace: string
  eventStatistics(): EventStatistics
}

/** Reads the kubeconfig, and connects when something is first asked. Throws a ClusterError where it is not usable. */
export const connect = (options: ConnectOptions): ConnectedCluster => new Client(options)

class Client implements ConnectedCluster {
  readonly namespace: string
  private readonly options: ConnectOptions
  private readonly resources: readonly Resource[]
  private readonly transport: Transport
  private readonly recorder: EventRecorder
  private readonly watches = new Set<Reflector>()

  constructor(options: ConnectOptions) {
    const { kubeconfig, context, credentialSeconds, userAgent } = options
    const credentials = new Credentials({ kubeconfig, context, cacheSeconds: credentialSeconds })
    this.options = options
    this.namespace = options.namespace ?? credentials.namespace
    this.resources = options.resources ?? ownResources
    this.transport = new Transport({ credentials, userAgent, ...options.callSettings })
    this.recorder = new EventRecorder({ transport: this.transport, now: () => new Date() })
  }

  async get(resource: Resource, name: ObjectName): Promise<KubeObject | undefined> {
    checkName(resource, name)
    const about = describe(resource.kind, name)
    const answer = await this.transport.request({
      method: 'GET',
      path: objectPath(resource, name),
      about,
      repeatable: true,
    })
    // A path that is not served at all is not the absence of one object.
    if (answer.status === 404 && readStatus(answer).details?.name !== undefined) return undefined
    return this.read(answer, resource, about)
  }

  async *list(resource: Resource, scope: Scope = {}): AsyncIterable<KubeObject> {
    const { pageSize = 500 } = this.options
    for await (const { objects } of readPages(this.transport, resource, scope, { pageSize })) yield* objects
  }

  watch(resource: Resource, scope: WatchScope, sink: WatchSink): Watch {
    const { onProblem = () => {}, pageSize = 500, watchSettings } = this.options
    const reflector = new Reflector({
      transport: this.transport,
      resource,
      scope,
      sink,
      onProblem,
      pageSize,
      settings: watchSettings,
    })
    this.watches.add(reflector)
    reflector.start()
    return {
      stop: () => {
        this.watches.delete(reflector)
        return reflector.stop()
      },
      lastProgress: () => reflector.lastProgress(),
    }
  }

  async create(object: KubeObject): Promise<KubeObject> {
    const resource = resourceOf(this.resources, object)
    // An apply, so that later applies know which fields are ours, with a version that no object ever has.
    const body = mainOnly(withoutStringData(object))
    const metadata = { ...body.metadata, resourceVersion: '1' }
    try {
      return await this.patch(resource, { ...body, metadata }, '', false)
    } catch (error) {
      if (!(error instanceof ClusterError) || error.code !== 'Conflict') throw error
      throw new ClusterError('AlreadyExists', `${describe(object.kind, object.metadata)} already exists`)
    }
  }

  async apply(object: KubeObject): Promise<KubeObject> {
    const resource = resourceOf(this.resources, object)
    checkPreconditions('Object', object)
    return this.patch(resource, withPreconditions(mainOnly(withoutStringData(object)), object), '', true)
  }

  async applyStatus(object: KubeObject): Promise<KubeObject> {
    const resource = resourceOf(this.resources, object)
    checkPreconditions('Status', object)
    return this.patch(resource, withPreconditions(statusOnly(object), object), '/status', true)
  }

  async remove(
    resource: Resource,
    name: ObjectName,
    preconditions: { readonly uid?: string; readonly resourceVersion?: string } = {},
  ): Promise<void> {
    checkName(resource, name)
    const about = describe(resource.kind, name)
    const body = { apiVersion: 'v1', kind: 'DeleteOptions', propagationPolicy: 'Background', preconditions }
    const answer = await this.transport.request({
      method: 'DELETE',
      path: objectPath(resource, name),
      body: JSON.stringify(body),
      about,
      repeatable: preconditions.uid !== undefined,
    })
    if (answer.status >= 300) throw errorOf(answer, about, resource.kind)
  }

  emit(event: ClusterEvent): void {
    this.recorder.record(event)
  }

  eventStatistics(): EventStatistics {
    return this.recorder.statistics()
  }

  async close(): Promise<void> {
    this.recorder.close()
    await Promise.all([...this.watches].map((watch) => watch.stop()))
    await this.transport.close()
  }

  private async patch(
    resource: Resource,
    body: KubeObject,
    subresource: string,
    repeatable: boolean,
  ): Promise<KubeObject> {
    const about = describe(resource.kind, body.metadata)
    const request: TransportRequest = {
      method: 'PATCH',
      path: withQuery(objectPath(resource, body.metadata) + subresource, { fieldManager: managerName, force: true }),
      body: yamlOf(body),
      contentType: 'application/apply-patch+yaml',
      about,
      repeatable,
    }
    return this.read(await this.transport.request(request), resource, about)
  }

  private read(answer: Answer, resource: Resource, about: string): KubeObject {
    if (answer.status >= 300) throw errorOf(answer, about, resource.kind)
    return readObject(readJson(answer.body, about), resource)
  }
}

/**
 * JSON that reads the same as YAML, which is the only form that the API server takes an apply in: YAML takes some
 * characters that JSON leaves as they are for line breaks, and others it does not allow.
 */
const yamlOf = (value: unknown): string =>
  JSON.stringify(value).replace(
    /[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
