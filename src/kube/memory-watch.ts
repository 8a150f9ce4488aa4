import { type KubeObject, nameKey, type Resource } from '../api/object.ts'
import type { Watch, WatchScope, WatchSink } from './cluster.ts'
import { nameOf } from './parts.ts'
import { inScope, metadataOf } from './scope.ts'

/** One object as it was and as it is; undefined where there is none. */
export interface Change {
  readonly resource: Resource
  readonly before: KubeObject | undefined
  readonly after: KubeObject | undefined
}

export interface MemoryWatchOptions {
  readonly schedule: (deliver: () => void) => void
  readonly stopped: () => void
  readonly onProblem: (error: unknown) => void
}

/** A watch of a cluster in memory: keeps the order of changes, and delivers them after the writer has gone on. */
export class MemoryWatch implements Watch {
  private readonly resource: Resource
  private readonly scope: WatchScope
  private readonly sink: WatchSink
  private readonly options: MemoryWatchOptions
  private readonly waiting: (() => void)[] = []
  /** What the sink holds: uids by name. */
  private readonly known = new Map<string, string>()
  private active = true

  constructor(resource: Resource, scope: WatchScope, sink: WatchSink, options: MemoryWatchOptions) {
    this.resource = resource
    this.scope = scope
    this.sink = sink
    this.options = options
  }

  begin(objects: readonly KubeObject[]): void {
    for (const object of objects) this.later(() => this.put(object))
    this.later(() => this.sink.synced())
  }

  tell({ resource, before, after }: Change): void {
    if (resource.kind !== this.resource.kind || resource.apiVersion !== this.resource.apiVersion) return
    if (after !== undefined && inScope(after, this.scope)) this.later(() => this.put(after))
    else if (before !== undefined) this.later(() => this.gone(before))
  }

  async stop(): Promise<void> {
    this.active = false
    this.options.stopped()
  }

  lastProgress(): number {
    return performance.now()
  }

  private put(object: KubeObject): void {
    const key = nameKey(object.metadata)
    const uid = this.known.get(key)
    this.known.set(key, object.metadata.uid!)
    if (uid !== undefined && uid !== object.metadata.uid) this.sink.gone({ ...nameOf(object), uid })
    this.sink.put(this.scope.metadataOnly ? Object.freeze(metadataOf(object)) : object)
  }

  private gone(object: KubeObject): void {
    const { uid } = object.metadata
    const key = nameKey(object.metadata)
    if (this.known.get(key) !== uid) return
    this.known.delete(key)
    this.sink.gone({ ...nameOf(object), uid: uid! })
  }

  private later(deliver: () => void): void {
    this.waiting.push(deliver)
    if (this.waiting.length === 1) this.options.schedule(() => this.flush())
  }

  private flush(): void {
    for (const deliver of this.waiting.splice(0)) {
      if (!this.active) return
      try {
        deliver()
      } catch (error) {
        this.options.onProblem(error)
      }
    }
  }
}
