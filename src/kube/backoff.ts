export interface Backoff {
  readonly firstMilliseconds: number
  readonly longestMilliseconds: number
}

/**
 * How long to wait after so many failures in a row: twice as long each time up to the longest, less a random part of
 * up to a half, so that many who failed at once do not come back at once.
 */
export const backoffMilliseconds = (backoff: Backoff, failures: number, random: () => number): number => {
  const full = Math.min(backoff.longestMilliseconds, backoff.firstMilliseconds * 2 ** Math.min(failures - 1, 60))
  return full * (1 - random() / 2)
}
