import type { Log } from '../../runtime/log.ts'
import type { Gate, Signals } from './gate.ts'
import type { Limits } from './limits.ts'
import type { Outbox } from './outbox.ts'
import type { Ticker } from './ticker.ts'
import type { UpstreamPool } from './upstream-pool.ts'

/** What all connections of one guarded port share. */
export interface Context {
  readonly gate: Gate
  readonly signals: Signals
  readonly limits: Limits
  readonly ticker: Ticker
  readonly pool: UpstreamPool
  readonly outbox: Outbox
  /** Bodies that are kept until they have been looked at and passed on. */
  readonly gathered: { bytes: number }
  readonly log: Log
  /** Milliseconds of a monotonic clock. */
  readonly clock: () => number
  /** No connection is kept after its present answer. */
  draining: boolean
}
