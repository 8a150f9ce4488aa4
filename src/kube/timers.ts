/** Time for whatever waits: an argument, so that tests move it by hand. */
export interface Timers {
  /** Milliseconds of a clock that never goes back. */
  now(): number
  /** Calls `act` once, not before so many milliseconds have passed. */
  after(milliseconds: number, act: () => void): Timer
}

export interface Timer {
  cancel(): void
}

/** The process's own timers. Waiting for one keeps the process alive. */
export const systemTimers: Timers = {
  now: () => performance.now(),
  after: (milliseconds, act) => new LongTimer(milliseconds, act),
}

/** `setTimeout` fires at once when asked for more than this, so a longer wait is made of several. */
const longestTimeoutMilliseconds = 2 ** 31 - 1

class LongTimer implements Timer {
  private timeout: NodeJS.Timeout | undefined

  constructor(milliseconds: number, act: () => void) {
    this.wait(milliseconds, act)
  }

  cancel(): void {
    clearTimeout(this.timeout)
  }

  private wait(milliseconds: number, act: () => void): void {
    const rest = milliseconds - longestTimeoutMilliseconds
    this.timeout =
      rest > 0
        ? setTimeout(() => this.wait(rest, act), longestTimeoutMilliseconds)
        : setTimeout(act, Math.max(0, milliseconds))
  }
}

/** Resolves after so long, or at once when the signal is aborted. */
export const pause = (timers: Timers, milliseconds: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) {
      resolve()
      return
    }
    const end = () => {
      timer.cancel()
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = timers.after(milliseconds, end)
    signal.addEventListener('abort', end)
  })
