import type { RateLimit } from '../../api/rate-limit.ts'

/**
 * What a key has spent (GCRA, the generic cell rate algorithm, as a count of requests that is worked off with time). It is
 * kept relative to `at`, so that a clock that jumps does no harm: back, and nothing is worked off meanwhile; ahead, and
 * the bucket is full, which is a burst and no more.
 */
export interface Spending {
  /** Requests that are not worked off yet. */
  readonly spent: number
  /** Unix seconds. */
  readonly at: number
}

/** What a limited key may still do, as clients are told. */
export interface Allowance {
  readonly limit: RateLimit
  /** Requests that may be made at once. */
  readonly remaining: number
  /** Whole seconds until one more may be made than now; where none may, from when on the client may try again. */
  readonly resetSeconds: number
}

export interface LimitVerdict {
  readonly granted: boolean
  readonly spending: Spending
  readonly allowance: Allowance
}

/** What adding up fractions may be off by. */
const tolerance = 1e-6

/** Takes one request from the bucket, or says when there will be one. A refusal spends nothing. */
export function spend(limit: RateLimit, before: Spending | undefined, now: number): LimitVerdict {
  const burst = limit.burst ?? limit.requests
  const left = before === undefined ? 0 : Math.min(burst, unworked(limit, before, now))
  const granted = left + 1 <= burst + tolerance
  const spent = granted ? left + 1 : left
  const remaining = Math.max(0, Math.floor(burst - spent + tolerance))
  // A bucket that is not full gets its next whole token when `spent` has come down to what leaves room for it.
  const missing = Math.max(0, spent - (burst - remaining - 1))
  return {
    granted,
    spending: { spent, at: now },
    allowance: { limit, remaining, resetSeconds: Math.max(1, Math.ceil(missing * secondsEach(limit) - tolerance)) },
  }
}

/** What of the spending is left, in requests. */
const unworked = (limit: RateLimit, { spent, at }: Spending, now: number): number =>
  Math.max(0, spent - Math.max(0, now - at) / secondsEach(limit))

const secondsEach = ({ requests, perSeconds }: RateLimit): number => perSeconds / requests

/** Buckets below which none is looked for that could go. */
const leastSwept = 1024

/**
 * The buckets of a policy's keys, by key id: a key keeps its own over rotations and new sets. Full ones say nothing and are
 * forgotten, so there are never more than twice as many as keys that were used of late.
 */
export class Limiter {
  private readonly buckets = new Map<string, Spending & { readonly limit: RateLimit }>()
  private sweepAt = leastSwept

  get size(): number {
    return this.buckets.size
  }

  spend(keyId: string, limit: RateLimit, now: number): LimitVerdict {
    const verdict = spend(limit, this.buckets.get(keyId), now)
    if (this.buckets.size >= this.sweepAt && !this.buckets.has(keyId)) this.sweep(now)
    this.buckets.set(keyId, { ...verdict.spending, limit })
    return verdict
  }

  private sweep(now: number): void {
    for (const [keyId, bucket] of this.buckets)
      if (unworked(bucket.limit, bucket, now) <= tolerance) this.buckets.delete(keyId)
    this.sweepAt = Math.max(leastSwept, 2 * this.buckets.size)
  }
}
