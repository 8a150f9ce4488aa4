import { createServer, type Server, type Socket } from 'node:net'
import type { Log } from '../../runtime/log.ts'
import { closeServer, openServer } from '../server.ts'
import { ClientConnection } from './client-connection.ts'
import type { Context } from './context.ts'
import type { Gate, Signals } from './gate.ts'
import type { Limits } from './limits.ts'
import { Outbox } from './outbox.ts'
import type { Ticker } from './ticker.ts'
import { UpstreamPool } from './upstream-pool.ts'

export interface Endpoint {
  readonly host: string
  readonly port: number
}

export interface ProxyOptions {
  readonly listen: Endpoint
  readonly upstream: Endpoint
  readonly gate: Gate
  readonly signals: Signals
  readonly limits: Limits
  readonly ticker: Ticker
  /** Milliseconds of a monotonic clock. */
  readonly clock: () => number
  readonly log: Log
}

/** A guarded port: accepts clients, and sends on what the gate admits. */
export class ProxyListener {
  readonly pool: UpstreamPool
  private readonly context: Context
  private readonly server: Server
  private readonly connections = new Set<ClientConnection>()
  private readonly stopTicking: () => void
  private readonly endpoint: Endpoint

  constructor(options: ProxyOptions) {
    const { gate, signals, limits, ticker, clock, log } = options
    this.endpoint = options.listen
    this.pool = new UpstreamPool({ gate, signals, limits, ticker }, options.upstream)
    const outbox = new Outbox(() => this.pool.size - this.pool.idleCount)
    const gathered = { bytes: 0 }
    this.context = { gate, signals, limits, ticker, clock, pool: this.pool, outbox, gathered, log, draining: false }
    // Half-open, so that a client may close its side once it has sent its request.
    this.server = createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true }, (socket) => this.accept(socket))
    this.server.maxConnections = limits.maxConnections
    this.server.on('drop', () => signals.connectionDropped())
    this.stopTicking = ticker.every(() => this.tick(true))
  }

  get connectionCount(): number {
    return this.connections.size
  }

  /** @returns where it listens: the port is a free one where 0 was asked for */
  listen(): Promise<Endpoint> {
    return openServer(this.server, this.endpoint, this.context.log)
  }

  /** Looks at every exchange in progress again: what is decided may have changed. */
  review(): void {
    this.tick(false)
  }

  /** Accepts no more, lets exchanges in progress end, and cuts what is left after so many seconds. */
  async stop(withinSeconds: number): Promise<void> {
    this.context.draining = true
    await closeServer(this.server, withinSeconds, {
      drain: () => {
        for (const connection of this.connections) connection.drain()
      },
      cut: () => {
        for (const connection of this.connections) connection.abort()
      },
    })
    this.stopTicking()
    this.pool.destroy()
  }

  private accept(socket: Socket): void {
    const connection = new ClientConnection(this.context, socket)
    this.connections.add(connection)
    socket.on('close', () => this.connections.delete(connection))
  }

  private tick(byTimeAlone: boolean): void {
    const { now } = this.context.ticker
    for (const connection of this.connections) connection.tick(now, byTimeAlone)
    this.pool.tick(now)
  }
}
