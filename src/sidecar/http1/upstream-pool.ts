import type { Context } from './context.ts'
import type { Exchange } from './exchange.ts'
import type { Endpoint } from './proxy-listener.ts'
import { readBytes, UpstreamConnection } from './upstream-connection.ts'

type PoolContext = Pick<Context, 'gate' | 'signals' | 'limits' | 'ticker'>

/** The connections to one application. The one used last is used next: the others may grow idle and close. */
export class UpstreamPool {
  private readonly context: PoolContext
  private readonly endpoint: Endpoint
  private readonly all = new Set<UpstreamConnection>()
  private readonly idle: UpstreamConnection[] = []
  private readonly waiting: Exchange[] = []
  private readonly shared = Buffer.allocUnsafeSlow(readBytes)

  constructor(context: PoolContext, endpoint: Endpoint) {
    this.context = context
    this.endpoint = endpoint
  }

  get size(): number {
    return this.all.size
  }

  get idleCount(): number {
    return this.idle.length
  }

  get waitingCount(): number {
    return this.waiting.length
  }

  /**
   * Gives the exchange a connection: at once where there is one, or may be one more; else when one is free.
   *
   * @param fresh take none that was used before
   * @returns false where too many wait already
   */
  take(exchange: Exchange, fresh: boolean): boolean {
    const connection = fresh ? undefined : this.idle.pop()
    if (connection !== undefined) {
      connection.exchange = exchange
      exchange.attach(connection)
      return true
    }
    if (this.all.size < this.context.gate.upstream.maxConnections) {
      this.open(exchange)
      return true
    }
    if (this.waiting.length >= this.context.limits.maxWaiting) return false
    this.waiting.push(exchange)
    return true
  }

  /** The exchange does not wait any more. */
  leave(exchange: Exchange): void {
    const index = this.waiting.indexOf(exchange)
    if (index >= 0) this.waiting.splice(index, 1)
  }

  /** The exchange is over, and the connection may carry another. */
  release(connection: UpstreamConnection): void {
    connection.reused = true
    const next = this.waiting.shift()
    connection.exchange = next
    if (next !== undefined) {
      next.attach(connection)
      return
    }
    connection.idleUntil = this.context.ticker.now + this.context.limits.upstreamIdleSeconds * 1000
    this.idle.push(connection)
  }

  connected(): void {
    this.context.signals.upstreamConnected()
  }

  closed(connection: UpstreamConnection): void {
    this.all.delete(connection)
    const index = this.idle.indexOf(connection)
    if (index >= 0) this.idle.splice(index, 1)
    if (this.all.size >= this.context.gate.upstream.maxConnections) return
    const next = this.waiting.shift()
    if (next !== undefined) this.open(next)
  }

  tick(now: number): void {
    // The first was put there earliest.
    while (this.idle[0] !== undefined && this.idle[0].idleUntil <= now) this.idle.shift()?.destroy()
  }

  destroy(): void {
    for (const connection of this.all) connection.destroy()
  }

  private open(exchange: Exchange): void {
    const connection = new UpstreamConnection(this, this.endpoint, exchange, this.shared)
    this.all.add(connection)
    exchange.attach(connection)
  }
}
