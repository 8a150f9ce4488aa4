import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import type { Log } from '../../runtime/log.ts'
import type { Limits } from '../http1/limits.ts'
import type { Endpoint } from '../http1/proxy-listener.ts'
import type { Ticker } from '../http1/ticker.ts'
import type { DecisionDesk } from './desk.ts'
import { answerOverHttp, noReply } from './http-answers.ts'
import { type HttpContext, HttpDecisionConnection } from './http-connection.ts'

export interface DecisionListenerOptions {
  readonly listen: Endpoint
  readonly desk: DecisionDesk
  /** Who may ask, by the address of the connection. */
  readonly isTrusted: (address: string | undefined) => boolean
  readonly limits: Limits
  readonly ticker: Ticker
  readonly log: Log
}

/** Answers gateways that ask over HTTP/1.1. */
export class HttpDecisionListener {
  private readonly options: DecisionListenerOptions
  private readonly context: HttpContext
  private readonly server: Server
  private readonly connections = new Set<HttpDecisionConnection>()
  private readonly stopTicking: () => void

  constructor(options: DecisionListenerOptions) {
    const { desk, limits, ticker } = options
    this.options = options
    this.context = {
      answer(head, peer) {
        try {
          return answerOverHttp(desk, head, peer)
        } catch (error) {
          desk.crashed(error)
          return noReply
        }
      },
      unreadable: (peer) => desk.note('QuestionMalformed', peer),
      untrusted: (peer) => desk.note('PeerNotTrusted', peer),
      limits,
      ticker,
      draining: false,
    }
    this.server = createServer({ noDelay: true, keepAlive: true }, (socket) => this.accept(socket))
    this.server.maxConnections = limits.maxConnections
    this.stopTicking = ticker.every(() => this.tick())
  }

  /** @returns where it listens: the port is a free one where 0 was asked for */
  async listen(): Promise<Endpoint> {
    const { listen, log } = this.options
    await new Promise<void>((resolve, reject) => {
      this.server.once('error', reject)
      this.server.listen({ host: listen.host, port: listen.port, backlog: 1024 }, () => {
        this.server.off('error', reject)
        this.server.on('error', (error) => log.error('A connection could not be accepted', { error }))
        resolve()
      })
    })
    const { address, port } = this.server.address() as AddressInfo
    return { host: address, port }
  }

  /** Accepts no more, and cuts what is left after so many seconds. */
  async stop(withinSeconds: number): Promise<void> {
    this.context.draining = true
    const closed = new Promise<void>((resolve) => {
      this.server.close(() => resolve())
    })
    for (const connection of this.connections) connection.drain()
    const cut = setTimeout(() => {
      for (const connection of this.connections) connection.abort()
    }, withinSeconds * 1000)
    await closed
    clearTimeout(cut)
    this.stopTicking()
  }

  private tick(): void {
    for (const connection of this.connections) connection.tick(this.context.ticker.now)
  }

  private accept(socket: Socket): void {
    const connection = new HttpDecisionConnection(this.context, socket, this.options.isTrusted(socket.remoteAddress))
    this.connections.add(connection)
    socket.on('close', () => this.connections.delete(connection))
  }
}
