/** A proxy over loopback whose decisions are made by the test, with raw sockets at both ends. */

import { connect, createServer, type Server, type Socket } from 'node:net'
import type { Allowed } from '../../src/core/authorize/decision.ts'
import { createLog } from '../../src/runtime/log.ts'
import type { Answer, Failure, Gate } from '../../src/sidecar/http1/gate.ts'
import { defaultLimits, type Limits } from '../../src/sidecar/http1/limits.ts'
import { ProxyListener } from '../../src/sidecar/http1/proxy-listener.ts'
import type { RequestHead } from '../../src/sidecar/http1/request-head.ts'
import { Ticker } from '../../src/sidecar/http1/ticker.ts'
import { eventually } from './wait.ts'

/** One end of a connection, as bytes. */
export class RawSocket {
  readonly socket: Socket
  /** Everything received so far, one character per byte. */
  received = ''
  ended = false
  closed = false
  failed = false

  constructor(socket: Socket) {
    this.socket = socket
    socket.setNoDelay(true)
    socket.setEncoding('latin1')
    socket.on('data', (text: string) => {
      this.received += text
    })
    socket.on('end', () => {
      this.ended = true
    })
    socket.on('error', () => {
      this.failed = true
    })
    socket.on('close', () => {
      this.closed = true
    })
  }

  send(text: string): void {
    this.socket.write(text, 'latin1')
  }

  /** Waits until the text has been received, and gives all that was received until then. */
  async receives(text: string): Promise<string> {
    return eventually(`${JSON.stringify(text)} in ${JSON.stringify(this.received.slice(0, 2000))}`, () =>
      this.received.includes(text) ? this.received : undefined,
    )
  }

  async closes(): Promise<string> {
    await eventually(`the end of ${JSON.stringify(this.received.slice(0, 2000))}`, () => this.ended || this.closed)
    return this.received
  }
}

/** An application that says exactly what the test says. */
export class RawUpstream {
  readonly connections: RawSocket[] = []
  private readonly server: Server
  private taken = 0

  constructor() {
    this.server = createServer({ allowHalfOpen: true }, (socket) => this.connections.push(new RawSocket(socket)))
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => {
      this.server.listen(0, '127.0.0.1', resolve)
    })
    const address = this.server.address()
    if (address === null || typeof address === 'string') throw new Error('no port')
    return address.port
  }

  /** The next connection that nobody asked for yet. */
  async connection(): Promise<RawSocket> {
    const index = this.taken
    this.taken += 1
    return eventually(`connection ${index} to the application`, () => this.connections[index])
  }

  stop(): void {
    this.server.close()
    for (const { socket } of this.connections) socket.destroy()
  }
}

const refusal = (status: number, body: string): Answer => ({
  allow: false,
  status,
  reason: 'Refused',
  fieldLines: 'X-By: gate\r\n',
  body,
})

/** Lets everything pass but `/refused`, and shows what it was asked. */
export class TestGate implements Gate {
  readonly upstream = { timeoutSeconds: 60, maxConnections: 100 }
  readonly heads: RequestHead[] = []
  readonly failures: Failure[] = []
  /** Set to end exchanges in progress. */
  revoked = false

  admit(head: RequestHead, peer: string | undefined): Allowed | Answer {
    this.heads.push(head)
    if (head.target === '/defect') throw new Error('on purpose')
    if (head.target.startsWith('/refused')) return refusal(401, 'no')
    const { method, target, fields } = head
    return {
      allow: true,
      facts: { method, target, fields, peer },
      key: undefined,
      interface: undefined,
      target,
      fieldLines: 'Host: app\r\n',
    }
  }

  review(): Answer | undefined {
    return this.revoked ? refusal(401, 'revoked') : undefined
  }

  unreadable(status: number, detail: string): Answer {
    return refusal(status, detail)
  }

  failed = (failure: Failure): Answer => {
    this.failures.push(failure)
    const status = { BodyMalformed: 400, BodyStalled: 408, Unreachable: 503, Overloaded: 503, TimedOut: 504 }
    return refusal(failure in status ? status[failure as keyof typeof status] : 502, failure)
  }
}

export class Counts {
  ended = 0
  connects = 0
  retries = 0
  cuts = 0
  drops = 0

  exchangeEnded(): void {
    this.ended += 1
  }

  upstreamConnected(): void {
    this.connects += 1
  }

  retried(): void {
    this.retries += 1
  }

  cut(): void {
    this.cuts += 1
  }

  connectionDropped(): void {
    this.drops += 1
  }
}

export interface Proxied {
  readonly proxy: ProxyListener
  readonly gate: TestGate
  readonly counts: Counts
  readonly upstream: RawUpstream
  readonly port: number
  readonly client: () => Promise<RawSocket>
  readonly stop: () => Promise<void>
}

/** @param limits deadlines in seconds, which may be fractions: ticks come every 20 ms */
export async function proxied(limits: Partial<Limits> = {}, upstreamPort?: number): Promise<Proxied> {
  const upstream = new RawUpstream()
  const gate = new TestGate()
  const counts = new Counts()
  const clock = () => performance.now()
  const ticker = new Ticker({ monotonic: clock, now: () => 0 }, 20)
  const proxy = new ProxyListener({
    listen: { host: '127.0.0.1', port: 0 },
    upstream: { host: '127.0.0.1', port: upstreamPort ?? (await upstream.listen()) },
    gate,
    signals: counts,
    limits: { ...defaultLimits, ...limits },
    ticker,
    clock,
    log: createLog({ level: 'silent' }),
  })
  const { port } = await proxy.listen()
  const clients: RawSocket[] = []
  return {
    proxy,
    gate,
    counts,
    upstream,
    port,
    client: async () => {
      const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
      const client = new RawSocket(socket)
      clients.push(client)
      await new Promise<void>((resolve, reject) => {
        socket.once('connect', resolve)
        socket.once('error', reject)
      })
      return client
    },
    stop: async () => {
      for (const { socket } of clients) socket.destroy()
      await proxy.stop(0)
      ticker.stop()
      upstream.stop()
    },
  }
}
