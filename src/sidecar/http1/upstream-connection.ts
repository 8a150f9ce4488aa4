import { connect, type Socket } from 'node:net'
import type { Exchange } from './exchange.ts'
import type { Endpoint } from './proxy-listener.ts'
import { smallBytes } from './send.ts'
import type { UpstreamPool } from './upstream-pool.ts'

export const readBytes = 64 * 1024

/** A connection to the application: carries one exchange at a time, and waits in the pool between them. */
export class UpstreamConnection {
  readonly socket: Socket
  exchange: Exchange | undefined
  /** It has carried an exchange before, so the application may have closed it without our knowing yet. */
  reused = false
  /** When it is closed if it is still idle, in the ticker's milliseconds. */
  idleUntil = 0
  private readonly shared: Buffer
  private connected = false
  private error: NodeJS.ErrnoException | undefined

  /** @param shared all connections read into this buffer as long as answers are so short that they pass through at once */
  constructor(pool: UpstreamPool, { host, port }: Endpoint, exchange: Exchange, shared: Buffer) {
    this.exchange = exchange
    this.shared = shared
    // Reading into a buffer that is there already spares an allocation for every answer, a twentieth of its whole cost.
    const onread = {
      buffer: () => this.nextBuffer(),
      callback: (size: number, buffer: Uint8Array) => this.read(size, buffer as Buffer),
    }
    this.socket = connect({ host, port, noDelay: true, onread })
    this.socket.on('connect', () => {
      this.connected = true
      pool.connected()
    })
    this.socket.on('drain', () => this.exchange?.upstreamDrained())
    this.socket.on('end', () => this.exchange?.upstreamEnded())
    this.socket.on('error', (error) => {
      this.error = error
    })
    this.socket.on('close', () => {
      pool.closed(this)
      const { exchange: unfinished } = this
      this.exchange = undefined
      unfinished?.upstreamClosed(
        this.connected ? 'Closed' : 'Unreachable',
        this.error?.code ?? 'closed by the application',
      )
    })
  }

  /** For ever, without a word to the exchange that it carries. */
  destroy(): void {
    this.exchange = undefined
    this.socket.destroy()
  }

  private read(size: number, buffer: Buffer): boolean {
    if (this.exchange === undefined) {
      // Nobody asked: whatever it is, it must not become the answer to the next request.
      this.socket.destroy()
      return true
    }
    const bytes = buffer.subarray(0, size)
    // What is sent as views would be overwritten by the next read of any connection.
    const kept = buffer === this.shared && size > smallBytes ? Buffer.from(bytes) : bytes
    const { exchange } = this
    try {
      exchange.receive(kept)
    } catch (error) {
      exchange.crash(error)
    }
    return true
  }

  /** An answer of several pieces gets buffers of its own: their views may wait for the client. */
  private nextBuffer(): Buffer {
    return this.exchange?.isStreaming === true ? Buffer.allocUnsafeSlow(readBytes) : this.shared
  }
}
