import {
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { Endpoint } from '../http1/proxy-listener.ts'
import { closeServer, openServer } from '../server.ts'
import { answerCheck, deniedResponse } from './grpc-answers.ts'
import type { DecisionListenerOptions } from './http-listener.ts'

const checkPath = '/envoy.service.auth.v3.Authorization/Check'
/** How long a question may take to arrive. Gateways wait for 200 ms unless told otherwise, and take no answer for an error. */
const deadlineMilliseconds = 100
const sweepMilliseconds = 25
/** A message with a body in it; what is larger is answered with no. */
const maxMessageBytes = 4 * 1024 * 1024
/** In front of a message: whether it is compressed, and its length. */
const prefixBytes = 5
const unimplemented = '12'
const serverSettings = { enablePush: false, maxConcurrentStreams: 1024, maxHeaderListSize: 16 * 1024 }

/** A question of which not everything has arrived. */
interface Pending {
  received: Buffer
  readonly deadline: number
}

/** Answers gateways that ask by `envoy.service.auth.v3.Authorization`, over HTTP/2 by prior knowledge. */
export class GrpcDecisionListener {
  private readonly options: DecisionListenerOptions
  private readonly clock: () => number
  private readonly server: Http2Server
  private readonly sessions = new Map<
    ServerHttp2Session,
    { readonly peer: string | undefined; readonly trusted: boolean }
  >()
  private readonly pending = new Map<ServerHttp2Stream, Pending>()
  private sweeping: NodeJS.Timeout | undefined

  /** @param options.clock milliseconds that never go back */
  constructor(options: DecisionListenerOptions & { readonly clock: () => number }) {
    this.options = options
    this.clock = options.clock
    this.server = createServer({ settings: serverSettings, maxSessionMemory: 16, maxSessionInvalidFrames: 100 })
    this.server.maxConnections = options.limits.maxConnections
    this.server.on('session', (session) => this.open(session))
    this.server.on('stream', (stream, headers) => this.receive(stream, headers))
    // A connection that broke; `close` follows.
    this.server.on('sessionError', () => {})
  }

  /** @returns where it listens: the port is a free one where 0 was asked for */
  listen(): Promise<Endpoint> {
    const { listen, log } = this.options
    return openServer(this.server, listen, log)
  }

  /** Accepts no more, and cuts what is left after so many seconds. */
  async stop(withinSeconds: number): Promise<void> {
    await closeServer(this.server, withinSeconds, {
      drain: () => {
        for (const session of this.sessions.keys()) session.close()
      },
      cut: () => {
        for (const session of this.sessions.keys()) session.destroy()
      },
    })
    clearInterval(this.sweeping)
  }

  private open(session: ServerHttp2Session): void {
    const { isTrusted, limits } = this.options
    const peer = session.socket.remoteAddress
    const trusted = isTrusted(peer)
    this.sessions.set(session, { peer, trusted })
    // Gateways keep connections for later; nobody else may.
    if (!trusted) session.setTimeout(limits.headSeconds * 1000, () => session.destroy())
    session.on('close', () => this.sessions.delete(session))
  }

  private receive(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    // Streams that are reset by the gateway need no answer.
    stream.on('error', () => {})
    if (headers[':path'] !== checkPath || headers[':method'] !== 'POST') {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': unimplemented }, endStream)
      return
    }
    const from = stream.session && this.sessions.get(stream.session as ServerHttp2Session)
    if (from?.trusted !== true) {
      this.options.desk.note('PeerNotTrusted', from?.peer)
      this.send(stream, deniedResponse)
      stream.session?.close()
      return
    }
    stream.on('data', (bytes: Buffer) => this.gather(stream, bytes, from.peer))
    stream.on('end', () => this.refuse(stream, from.peer))
    stream.on('close', () => this.pending.delete(stream))
    this.pending.set(stream, { received: nothing, deadline: this.clock() + deadlineMilliseconds })
    // One timer for all: starting one for every question would cost more than it is worth.
    this.sweeping ??= setInterval(() => this.sweep(), sweepMilliseconds)
  }

  private gather(stream: ServerHttp2Stream, bytes: Buffer, peer: string | undefined): void {
    const pending = this.pending.get(stream)
    if (pending === undefined) return
    pending.received = pending.received.length === 0 ? bytes : Buffer.concat([pending.received, bytes])
    const { received } = pending
    if (received.length < prefixBytes) return
    const length = received.readUInt32BE(1)
    if (received[0] !== 0 || length > maxMessageBytes || received.length > prefixBytes + length) {
      this.refuse(stream, peer)
    } else if (received.length === prefixBytes + length) {
      this.pending.delete(stream)
      this.send(stream, this.answer(received.subarray(prefixBytes), peer))
    }
  }

  private answer(message: Buffer, peer: string | undefined): string {
    const { desk } = this.options
    try {
      return answerCheck(desk, message, peer)
    } catch (error) {
      desk.crashed(error)
      return deniedResponse
    }
  }

  private refuse(stream: ServerHttp2Stream, peer: string | undefined): void {
    if (!this.pending.delete(stream)) return
    this.options.desk.note('QuestionMalformed', peer)
    this.send(stream, deniedResponse)
  }

  private send(stream: ServerHttp2Stream, message: string): void {
    if (stream.destroyed || stream.headersSent) return
    const frame = Buffer.allocUnsafe(prefixBytes + message.length)
    frame[0] = 0
    frame.writeUInt32BE(message.length, 1)
    frame.write(message, prefixBytes, 'latin1')
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
    stream.end(frame)
  }

  private sweep(): void {
    if (this.pending.size === 0) {
      clearInterval(this.sweeping)
      this.sweeping = undefined
      return
    }
    const now = this.clock()
    for (const [stream, { deadline }] of this.pending) {
      if (now < deadline) return
      this.refuse(stream, stream.session?.socket.remoteAddress)
    }
  }
}

const nothing = Buffer.alloc(0)
const endStream = { endStream: true }
