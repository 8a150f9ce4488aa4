import { type Backoff, backoffMilliseconds } from './backoff.ts'
import { TimeHeap } from './heap.ts'
import { systemTimers, type Timer, type Timers } from './timers.ts'

export interface WorkQueueOptions {
  /** Does the work for one key. Where it throws or rejects, the key comes again later. */
  readonly handle: (key: string) => Promise<void>
  /** Hears of each failure; `failures` in a row, so far, for this key. */
  readonly onFailure: (key: string, error: unknown, failures: number) => void
  /** How many keys are handled at a time. Default 1. */
  readonly workers?: number
  /** Waiting between failures of one key. Default: half a second, doubling up to five minutes. */
  readonly backoff?: Backoff
  readonly timers?: Timers
  /** From 0 to 1. */
  readonly random?: () => number
}

/** `Later` is for work that may wait until nothing else does, such as the first look at everything. */
export type Priority = 'Now' | 'Later'

export interface QueueStatistics {
  /** Keys that are ready and wait for a worker. */
  readonly depth: number
  /** How long the first of them has waited; 0 where none does. */
  readonly oldestAgeSeconds: number
  readonly processing: number
  /** Keys that wait for their time. */
  readonly delayed: number
  readonly addedTotal: number
  readonly handledTotal: number
  /** Handled again because of a failure. */
  readonly retriesTotal: number
  /** How long the longest of the handlers at work has been at it. */
  readonly longestRunningSeconds: number
}

interface Ready {
  readonly key: string
  readonly since: number
}

/**
 * Work by key. A key waits at most once; one that is added while it is handled is handled again afterwards, never
 * twice at the same time. Nothing is handled before `start`.
 */
export class WorkQueue {
  private readonly options: WorkQueueOptions
  private readonly timers: Timers
  private readonly ready = { Now: new Fifo<Ready>(), Later: new Fifo<Ready>() }
  /** What is to be handled: by key, the place where it waits; undefined while it is handled. */
  private readonly dirty = new Map<string, { readonly priority: Priority; readonly entry: Ready | undefined }>()
  /** By key, since when. */
  private readonly processing = new Map<string, number>()
  private readonly heap = new TimeHeap<string>()
  private readonly due = new Map<string, number>()
  private readonly failures = new Map<string, number>()
  private timer: { readonly time: number; readonly timer: Timer } | undefined
  private state: 'New' | 'Running' | 'Draining' | 'Stopped' = 'New'
  private ended: PromiseWithResolvers<void> | undefined
  private readonly totals = { added: 0, handled: 0, retries: 0 }

  constructor(options: WorkQueueOptions) {
    this.options = options
    this.timers = options.timers ?? systemTimers
  }

  start(): void {
    if (this.state !== 'New') return
    this.state = 'Running'
    this.arm()
    this.dispatch()
  }

  /** Asks for a key to be handled. One that waits as `Later` moves up when it is added as `Now`. */
  add(key: string, priority: Priority = 'Now'): void {
    if (this.state === 'Draining' || this.state === 'Stopped') return
    const waiting = this.dirty.get(key)
    if (waiting?.priority === 'Now' || waiting?.priority === priority) return
    if (waiting === undefined) this.totals.added += 1
    this.enqueue(key, priority, waiting?.entry?.since)
  }

  /** Asks for it in a while. Where the key has a time already, the earlier counts. */
  addAfter(key: string, milliseconds: number): void {
    if (this.state === 'Draining' || this.state === 'Stopped') return
    if (milliseconds <= 0) {
      this.add(key)
      return
    }
    const time = this.timers.now() + milliseconds
    const before = this.due.get(key)
    if (before !== undefined && before <= time) return
    this.due.set(key, time)
    this.heap.push(time, key)
    this.arm()
  }

  /** Forgets a key's failures and the time that it waits for: what it stands for is no more. */
  forget(key: string): void {
    this.failures.delete(key)
    this.due.delete(key)
  }

  /**
   * Takes on nothing more and resolves when every handler at work is done; with `drain`, when what waits for a worker
   * has been handled as well. What waits for its time, failures included, is dropped.
   */
  stop({ drain = false }: { readonly drain?: boolean } = {}): Promise<void> {
    this.state = drain && this.state === 'Running' ? 'Draining' : 'Stopped'
    this.timer?.timer.cancel()
    this.due.clear()
    this.ended ??= Promise.withResolvers()
    this.settle()
    return this.ended.promise
  }

  statistics(): QueueStatistics {
    const now = this.timers.now()
    const seconds = (since: number | undefined) => (since === undefined ? 0 : Math.max(0, now - since) / 1000)
    const oldest = [this.first('Now'), this.first('Later')].flatMap((ready) => ready?.since ?? [])
    return {
      depth: this.depth(),
      oldestAgeSeconds: seconds(oldest.length === 0 ? undefined : Math.min(...oldest)),
      processing: this.processing.size,
      delayed: this.due.size,
      addedTotal: this.totals.added,
      handledTotal: this.totals.handled,
      retriesTotal: this.totals.retries,
      longestRunningSeconds: seconds(this.processing.values().next().value),
    }
  }

  private enqueue(key: string, priority: Priority, since = this.timers.now()): void {
    if (this.processing.has(key)) {
      this.dirty.set(key, { priority, entry: undefined })
      return
    }
    const entry = { key, since }
    this.dirty.set(key, { priority, entry })
    this.ready[priority].push(entry)
    this.dispatch()
  }

  private dispatch(): void {
    const workers = this.options.workers ?? 1
    while ((this.state === 'Running' || this.state === 'Draining') && this.processing.size < workers) {
      const next = this.take()
      if (next === undefined) return
      void this.work(next)
    }
  }

  private take(): string | undefined {
    const priority = this.first('Now') !== undefined ? 'Now' : 'Later'
    const ready = this.first(priority)
    if (ready === undefined) return undefined
    this.ready[priority].shift()
    this.dirty.delete(ready.key)
    this.processing.set(ready.key, this.timers.now())
    return ready.key
  }

  /** The next of a priority, past those that have moved up meanwhile. */
  private first(priority: Priority): Ready | undefined {
    const fifo = this.ready[priority]
    for (let ready = fifo.first; ready !== undefined; ready = fifo.first) {
      if (this.dirty.get(ready.key)?.entry === ready) return ready
      fifo.shift()
    }
    return undefined
  }

  private async work(key: string): Promise<void> {
    try {
      await this.options.handle(key)
      this.failures.delete(key)
    } catch (error) {
      this.failed(key, error)
    }
    this.totals.handled += 1
    this.processing.delete(key)
    const again = this.dirty.get(key)
    if (again !== undefined) this.enqueue(key, again.priority)
    this.dispatch()
    this.settle()
  }

  private failed(key: string, error: unknown): void {
    const { backoff = defaultBackoff, random = Math.random, onFailure } = this.options
    const failures = (this.failures.get(key) ?? 0) + 1
    this.failures.set(key, failures)
    this.totals.retries += 1
    this.addAfter(key, backoffMilliseconds(backoff, failures, random))
    try {
      onFailure(key, error, failures)
    } catch {
      // A report that fails must not end the work.
    }
  }

  /** Sets the one timer to the earliest time that anything waits for. */
  private arm(): void {
    if (this.state !== 'Running') return
    const time = this.heap.earliest
    if (time === undefined || this.timer?.time === time) return
    this.timer?.timer.cancel()
    this.timer = { time, timer: this.timers.after(time - this.timers.now(), () => this.wake()) }
  }

  private wake(): void {
    this.timer = undefined
    const now = this.timers.now()
    while (this.heap.earliest !== undefined && this.heap.earliest <= now) {
      const { time, value: key } = this.heap.pop()!
      if (this.due.get(key) !== time) continue
      this.due.delete(key)
      this.add(key)
    }
    this.arm()
  }

  private depth(): number {
    let depth = 0
    for (const { entry } of this.dirty.values()) if (entry !== undefined) depth += 1
    return depth
  }

  private settle(): void {
    if (this.state === 'Draining' && this.dirty.size === 0) this.state = 'Stopped'
    if (this.state === 'Stopped' && this.processing.size === 0) this.ended?.resolve()
  }
}

const defaultBackoff: Backoff = { firstMilliseconds: 500, longestMilliseconds: 300_000 }

/** An array whose front can be taken cheaply. */
class Fifo<T> {
  private items: T[] = []
  private head = 0

  get first(): T | undefined {
    return this.items[this.head]
  }

  push(item: T): void {
    this.items.push(item)
  }

  shift(): void {
    this.head += 1
    if (this.head < 1024 || this.head * 2 < this.items.length) return
    this.items = this.items.slice(this.head)
    this.head = 0
  }
}
