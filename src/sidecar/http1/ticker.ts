export interface Clock {
  /** Unix milliseconds. */
  now(): number
  /** Milliseconds that never go back. */
  monotonic(): number
}

/**
 * One timer for all deadlines of a process: setting and clearing a timer for every request would cost more than parsing
 * its head. The price is that deadlines are met to the tick.
 */
export class Ticker {
  /** Milliseconds of a monotonic clock, as of the last tick. */
  now: number
  /** The time of the last tick as a Date field has it. */
  date: string
  private readonly clock: Clock
  private readonly tasks = new Set<() => void>()
  private readonly timer: NodeJS.Timeout

  constructor(clock: Clock, intervalMilliseconds: number) {
    this.clock = clock
    this.now = clock.monotonic()
    this.date = new Date(clock.now()).toUTCString()
    this.timer = setInterval(() => this.tick(), intervalMilliseconds)
  }

  /** Runs the task at each tick until the function that is returned is called. */
  every(task: () => void): () => void {
    this.tasks.add(task)
    return () => this.tasks.delete(task)
  }

  stop(): void {
    clearInterval(this.timer)
  }

  private tick(): void {
    this.now = this.clock.monotonic()
    this.date = new Date(this.clock.now()).toUTCString()
    for (const task of this.tasks) task()
  }
}
