import type { Timer, Timers } from '../../src/kube/timers.ts'

/** Time that passes only when a test says so. */
export class ManualTimers implements Timers {
  private time = 0
  private readonly waiting = new Set<{ readonly at: number; readonly act: () => void }>()

  now(): number {
    return this.time
  }

  after(milliseconds: number, act: () => void): Timer {
    const entry = { at: this.time + Math.max(0, milliseconds), act }
    this.waiting.add(entry)
    return { cancel: () => this.waiting.delete(entry) }
  }

  /** How many timers are set. */
  get pending(): number {
    return this.waiting.size
  }

  /** Lets time pass: timers fire in order, and what they cause settles before the next one. */
  async pass(milliseconds: number): Promise<void> {
    const end = this.time + milliseconds
    await settled()
    for (;;) {
      const next = [...this.waiting].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0]
      if (next === undefined) break
      this.waiting.delete(next)
      this.time = next.at
      next.act()
      await settled()
    }
    this.time = end
  }
}

/** Lets everything run that only waits for promises. */
export const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
