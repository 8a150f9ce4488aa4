import { type KubeObject, nameKey, type ObjectName } from '../api/object.ts'
import type { WatchSink } from './cluster.ts'
import { nameOf } from './parts.ts'

interface Held {
  readonly name: ObjectName
  readonly uid: string
  readonly version: bigint
}

/**
 * Stands between what a server says, twice or with gaps, and a sink that shall hear of each change once. It remembers
 * what the sink holds, and so finds out after an interruption what has gone.
 */
export class Mirror {
  private readonly sink: WatchSink
  private readonly onProblem: (error: unknown) => void
  private readonly held = new Map<string, Held>()
  private seen: Set<string> | undefined
  private hasSynced = false

  constructor(sink: WatchSink, onProblem: (error: unknown) => void) {
    this.sink = sink
    this.onProblem = onProblem
  }

  /** A full reading begins: what does not come up until its end is gone. An unfinished one before it counts for nothing. */
  beginReading(): void {
    this.seen = new Set()
  }

  /** @param resourceVersion of all that was read */
  endReading(resourceVersion: string): void {
    const { seen } = this
    if (seen === undefined) return
    this.seen = undefined
    for (const [key, held] of this.held) if (!seen.has(key)) this.drop(key, held)
    this.deliver(() => this.sink.read?.(seen, resourceVersion))
    if (this.hasSynced) return
    this.hasSynced = true
    this.deliver(() => this.sink.synced())
  }

  put(object: KubeObject): void {
    const key = nameKey(object.metadata)
    const { uid = '' } = object.metadata
    const version = versionOf(object)
    const held = this.held.get(key)
    this.seen?.add(key)
    if (held !== undefined) {
      if (held.uid === uid && held.version === version) return
      const isOld = version < held.version
      // Between readings, an old version is an echo. In a reading it is the truth: the server was restored from a backup.
      if (isOld && this.seen === undefined) return
      if (isOld || held.uid !== uid) this.drop(key, held)
    }
    this.held.set(key, { name: nameOf(object), uid, version })
    this.deliver(() => this.sink.put(object))
  }

  gone(object: KubeObject): void {
    const key = nameKey(object.metadata)
    const held = this.held.get(key)
    if (held === undefined || held.uid !== object.metadata.uid || versionOf(object) < held.version) return
    this.seen?.delete(key)
    this.drop(key, held)
  }

  private drop(key: string, { name, uid }: Held): void {
    this.held.delete(key)
    this.deliver(() => this.sink.gone({ ...name, uid }))
  }

  private deliver(call: () => void): void {
    try {
      call()
    } catch (error) {
      this.onProblem(error)
    }
  }
}

/** Versions of one resource are integers that may exceed what a number holds exactly. */
const versionOf = ({ metadata }: KubeObject): bigint => BigInt(metadata.resourceVersion ?? 0)
