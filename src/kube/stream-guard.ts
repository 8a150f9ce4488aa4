import { ClusterError } from './cluster.ts'
import type { Timer, Timers } from './timers.ts'

/** Ends a stream that has fallen silent, or that goes on for too long. */
export class StreamGuard {
  private readonly controller = new AbortController()
  private readonly timers: Timers
  private readonly stopping: AbortSignal
  private readonly idleSeconds: number
  private readonly stop = () => this.controller.abort(this.stopping.reason)
  private readonly end: Timer
  private idle: Timer
  private last: number

  constructor(timers: Timers, stopping: AbortSignal, idleSeconds: number, longestSeconds: number) {
    this.timers = timers
    this.stopping = stopping
    this.idleSeconds = idleSeconds
    this.last = timers.now()
    this.end = timers.after(longestSeconds * 1000, () => this.abort('it did not end when it was to'))
    this.idle = timers.after(idleSeconds * 1000, () => this.check())
    if (stopping.aborted) this.stop()
    else stopping.addEventListener('abort', this.stop)
  }

  get signal(): AbortSignal {
    return this.controller.signal
  }

  heard(): void {
    this.last = this.timers.now()
  }

  release(): void {
    this.end.cancel()
    this.idle.cancel()
    this.stopping.removeEventListener('abort', this.stop)
  }

  private check(): void {
    const rest = this.last + this.idleSeconds * 1000 - this.timers.now()
    if (rest > 0) this.idle = this.timers.after(rest, () => this.check())
    else this.abort(`nothing was heard for ${this.idleSeconds} s`)
  }

  private abort(why: string): void {
    this.controller.abort(new ClusterError('Unavailable', `watch: ${why}`))
  }
}
