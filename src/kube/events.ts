import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { managerName } from '../api/names.ts'
import { nameKey } from '../api/object.ts'
import type { ClusterEvent } from './cluster.ts'
import { collectionPath, objectPath } from './paths.ts'
import { systemTimers, type Timer, type Timers } from './timers.ts'
import type { Answer, Transport } from './transport.ts'

export interface EventRecorderOptions {
  readonly transport: Transport
  readonly now: () => Date
  readonly timers?: Timers | undefined
  /** How often the count of a repeated event is written. Default 60. */
  readonly seriesSeconds?: number | undefined
  /** One that is not repeated for so long is a new one next time. Default 360. */
  readonly forgetSeconds?: number | undefined
  /** How many events about one object may come at once; another is allowed every five minutes. Default 25. */
  readonly burst?: number | undefined
  /** How many may wait to be written. Default 500. */
  readonly waiting?: number | undefined
}

export interface EventStatistics {
  readonly written: number
  /** Too many, or refused by the server. */
  readonly dropped: number
}

interface Series {
  readonly event: ClusterEvent
  readonly name: string
  count: number
  written: number
  last: Date
  lastMilliseconds: number
}

const events = { apiVersion: 'events.k8s.io/v1', kind: 'Event', plural: 'events', namespaced: true }

/**
 * Records events without ever failing or keeping anybody waiting. Repeats of one are counted in it; what comes too fast,
 * or cannot be written, is dropped: events are for people, and truth is in the status.
 */
export class EventRecorder {
  private readonly options: EventRecorderOptions
  private readonly timers: Timers
  private readonly series = new Map<string, Series>()
  private readonly allowance = new Map<string, { tokens: number; since: number }>()
  private readonly queue: (() => Promise<void>)[] = []
  private working: Promise<void> | undefined
  private timer: Timer | undefined
  private closed = false
  private readonly totals = { written: 0, dropped: 0 }

  constructor(options: EventRecorderOptions) {
    this.options = options
    this.timers = options.timers ?? systemTimers
  }

  record(event: ClusterEvent): void {
    if (this.closed) return
    const { regarding, type, reason, action, note } = event
    const key = JSON.stringify([regarding.metadata.uid, type, reason, action, note])
    const known = this.series.get(key)
    if (known !== undefined) {
      known.count += 1
      known.last = this.options.now()
      known.lastMilliseconds = this.timers.now()
      if (known.written === 1) this.enqueue(() => this.writeCount(known))
      return
    }
    if (!this.isAllowed(`${regarding.kind} ${regarding.metadata.uid}`)) {
      this.totals.dropped += 1
      return
    }
    const name = `${regarding.metadata.name.slice(0, 230)}.${randomBytes(8).toString('hex')}`
    const now = { last: this.options.now(), lastMilliseconds: this.timers.now() }
    const series: Series = { event, name, count: 1, written: 0, ...now }
    this.series.set(key, series)
    this.enqueue(() => this.writeFirst(key, series))
    this.timer ??= this.timers.after((this.options.seriesSeconds ?? 60) * 1000, () => this.sweep())
  }

  statistics(): EventStatistics {
    return { ...this.totals }
  }

  /** Takes on nothing more; what is being written is not waited for beyond the transport's own end. */
  close(): void {
    this.closed = true
    this.timer?.cancel()
    this.queue.length = 0
  }

  /** Writes the counts that have risen, and forgets what has not been heard of for long. */
  private sweep(): void {
    this.timer = undefined
    const { seriesSeconds = 60, forgetSeconds = 360 } = this.options
    const now = this.timers.now()
    for (const [key, series] of this.series) {
      if (series.count > series.written && series.written > 0) this.enqueue(() => this.writeCount(series))
      if (now - series.lastMilliseconds >= forgetSeconds * 1000) this.series.delete(key)
    }
    for (const [key, { since }] of this.allowance) {
      if (now - since >= refillMilliseconds * (this.options.burst ?? 25)) this.allowance.delete(key)
    }
    if (this.series.size > 0) this.timer = this.timers.after(seriesSeconds * 1000, () => this.sweep())
  }

  private isAllowed(about: string): boolean {
    const { burst = 25 } = this.options
    const now = this.timers.now()
    const bucket = this.allowance.get(about) ?? { tokens: burst, since: now }
    const tokens = Math.min(burst, bucket.tokens + (now - bucket.since) / refillMilliseconds)
    this.allowance.set(about, { tokens: Math.max(0, tokens - 1), since: now })
    return tokens >= 1
  }

  private enqueue(write: () => Promise<void>): void {
    if (this.queue.length >= (this.options.waiting ?? 500)) {
      this.totals.dropped += 1
      return
    }
    this.queue.push(write)
    this.working ??= this.work()
  }

  private async work(): Promise<void> {
    for (let write = this.queue.shift(); write !== undefined; write = this.queue.shift()) {
      try {
        await write()
        this.totals.written += 1
      } catch {
        this.totals.dropped += 1
      }
    }
    this.working = undefined
  }

  private async writeFirst(key: string, series: Series): Promise<void> {
    const { event, name, last } = series
    const { regarding, type, reason, action, note } = event
    const { apiVersion, kind, metadata } = regarding
    const { namespace, uid, resourceVersion } = metadata
    const body = {
      apiVersion: events.apiVersion,
      kind: events.kind,
      metadata: { name, namespace: namespaceOf(event) },
      eventTime: microTime(last),
      reportingController: managerName,
      reportingInstance: `${managerName}-${hostname()}`.slice(0, 128),
      regarding: { apiVersion, kind, namespace, name: metadata.name, uid, resourceVersion },
      type,
      reason,
      action,
      note: shorten(note, 1024),
    }
    series.written = 1
    try {
      await this.send('POST', collectionPath(events, namespaceOf(event)), 'application/json', body, event)
    } catch (error) {
      this.series.delete(key)
      throw error
    }
    if (series.count > 1) this.enqueue(() => this.writeCount(series))
  }

  private async writeCount(series: Series): Promise<void> {
    const { event, name, count, last, written } = series
    if (count <= written) return
    series.written = count
    const body = { series: { count, lastObservedTime: microTime(last) } }
    const path = objectPath(events, { namespace: namespaceOf(event), name })
    await this.send('PATCH', path, 'application/merge-patch+json', body, event)
  }

  private async send(method: 'POST' | 'PATCH', path: string, contentType: string, body: object, event: ClusterEvent) {
    const about = `event about ${event.regarding.kind} ${nameKey(event.regarding.metadata)}`
    const request = { method, path, contentType, body: JSON.stringify(body), about, repeatable: false }
    const answer: Answer = await this.options.transport.request(request)
    if (answer.status >= 300) throw new Error(`${about}: status ${answer.status}`)
  }
}

const refillMilliseconds = 300_000

const namespaceOf = ({ regarding }: ClusterEvent): string => regarding.metadata.namespace ?? 'default'

/** RFC 3339 with six digits, as the API server wants it. */
const microTime = (time: Date): string => time.toISOString().replace('Z', '000Z')

const shorten = (text: string, longest: number): string => {
  const bytes = Buffer.from(text)
  return bytes.length <= longest
    ? text
    : `${bytes
        .subarray(0, longest - 3)
        .toString('utf8')
        .replace(/\uFFFD+$/, '')}…`
}
