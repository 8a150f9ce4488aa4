import { createServer, type Server, type Socket } from 'node:net'
import type { Log } from '../../runtime/log.ts'
import type { Limits } from '../http1/limits.ts'
import type { Endpoint } from '../http1/proxy-listener.ts'
import type { Ticker } from '../http1/ticker.ts'
import { closeServer, openServer } from '../server.ts'
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
  listen(): Promise<Endpoint> {
    const { listen, log } = this.options
    return openServer(this.server, listen, log)
  }

  /** Accepts no more, and cuts what is left after so many seconds. */
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
