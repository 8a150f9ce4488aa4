/**
 * One timer for all deadlines of a process: setting and clearing a timer for every request would cost more than parsing
 * its head. The price is that deadlines are met to the tick.
 */
export class Ticker {
  /** Milliseconds of a monotonic clock, as of the last tick. */
  now: number
  private readonly clock: () => number
  private readonly tasks = new Set<() => void>()
  private readonly timer: NodeJS.Timeout

  constructor(clock: () => number, intervalMilliseconds: number) {
    this.clock = clock
    this.now = clock()
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
    this.now = this.clock()
    for (const task of this.tasks) task()
  }
}
