import { nameKey } from '../api/object.ts'
import type { ClusterEvent } from './cluster.ts'

export interface RecordedEvent extends ClusterEvent {
  readonly count: number
  readonly lastTime: Date
}

/** The last events, equal ones counted in one. */
export class EventLog {
  private readonly limit: number
  private readonly recorded = new Map<string, RecordedEvent>()

  constructor(limit: number) {
    this.limit = limit
  }

  record(event: ClusterEvent, now: Date): void {
    const { regarding, type, reason, action, note } = event
    const key = JSON.stringify([regarding.kind, nameKey(regarding.metadata), type, reason, action, note])
    const count = (this.recorded.get(key)?.count ?? 0) + 1
    this.recorded.delete(key)
    this.recorded.set(key, { ...event, count, lastTime: now })
    for (const oldest of this.recorded.keys()) {
      if (this.recorded.size <= this.limit) break
      this.recorded.delete(oldest)
    }
  }

  /** The one that happened last at the end. */
  list(): readonly RecordedEvent[] {
    return [...this.recorded.values()]
  }
}
