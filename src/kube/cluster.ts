import type { KubeObject, ObjectName, Resource } from '../api/object.ts'

/**
 * The API server as Postern uses it. `client.ts` is the real one, `memory.ts` one in memory with the same semantics;
 * a single contract suite holds both to it. Every method rejects with a ClusterError and nothing else.
 */
export interface Cluster {
  /** Undefined where there is no such object. */
  get(resource: Resource, name: ObjectName): Promise<KubeObject | undefined>

  /** Reads page by page, so that a long list is never in memory at once. */
  list(resource: Resource, scope?: Scope): AsyncIterable<KubeObject>

  /** Keeps the sink up to date until stopped, whatever happens to connections and servers in between. */
  watch(resource: Resource, scope: WatchScope, sink: WatchSink): Watch

  /** An apply that fails with AlreadyExists where the name is taken. */
  create(object: KubeObject): Promise<KubeObject>

  /**
   * Server-side apply as field manager `postern`, forced: the object's fields become ours, fields that we applied
   * before and that are absent now go, fields of others stay. `metadata.uid`, and with it `metadata.resourceVersion`,
   * are preconditions where given (Conflict).
   */
  apply(object: KubeObject): Promise<KubeObject>

  /**
   * The same for the status subresource, with nothing looked at but names, `status`, and as precondition
   * `metadata.resourceVersion`. NotFound where the object is gone.
   */
  applyStatus(object: KubeObject): Promise<KubeObject>

  /** Removes what has this name (and, where given, this uid and version: else Conflict). NotFound where there is none. */
  remove(
    resource: Resource,
    name: ObjectName,
    preconditions?: { readonly uid?: string; readonly resourceVersion?: string },
  ): Promise<void>

  /** Records an event. Never fails and never waits: repeats are counted in one, and too many are dropped. */
  emit(event: ClusterEvent): void

  /** Ends every watch and connection. */
  close(): Promise<void>
}

export interface Scope {
  /** All namespaces where absent. */
  readonly namespace?: string
  /** Label selector: every label must have this value. */
  readonly labels?: Readonly<Record<string, string>>
}

export interface WatchScope extends Scope {
  /** Delivers `apiVersion`, `kind` and `metadata` alone: for objects whose content is none of our business. */
  readonly metadataOnly?: boolean
}

/** What a watch tells. Calls are synchronous and in the order of the object's versions; one that throws stops nothing. */
export interface WatchSink {
  /** The object as it is now, frozen, without `managedFields`. The same version may come more than once. */
  put(object: KubeObject): void
  /** The object is gone, or left the scope. One that was deleted and made again under the same name is gone, then put. */
  gone(object: ObjectName & { readonly uid: string }): void
  /** Everything that was there when the watch began has been put. Called once. */
  synced(): void
  /**
   * As of this version there were exactly these (`namespace/name`). Told whenever everything had to be read anew, for
   * sinks that also learn from elsewhere, such as from their own writes, of what a watch may never have seen.
   */
  read?(names: ReadonlySet<string>, resourceVersion: string): void
}

export interface Watch {
  /** Nothing is delivered after this returns; resolves when the connection is closed. */
  stop(): Promise<void>
  /** When the server last gave a sign of life, in milliseconds of a monotonic clock. */
  lastProgress(): number
}

export interface ClusterEvent {
  readonly regarding: KubeObject
  readonly type: 'Normal' | 'Warning'
  readonly reason: string
  /** What was being done, CamelCase. */
  readonly action: string
  readonly note: string
}

export type ClusterErrorCode =
  | 'NotFound'
  | 'AlreadyExists'
  | 'Conflict'
  | 'Invalid'
  | 'Forbidden'
  | 'Unauthorized'
  | 'TooManyRequests'
  | 'TooLarge'
  /** The server could not be reached, or failed; the same call may succeed later. */
  | 'Unavailable'

export class ClusterError extends Error {
  override readonly name = 'ClusterError'
  readonly code: ClusterErrorCode
  /** Seconds to wait before trying again, where the server said so. */
  readonly retryAfterSeconds: number | undefined

  constructor(
    code: ClusterErrorCode,
    message: string,
    options?: { readonly cause?: unknown; readonly retryAfterSeconds?: number | undefined },
  ) {
    super(message, options)
    this.code = code
    this.retryAfterSeconds = options?.retryAfterSeconds
  }
}
