import type { Log } from '../../runtime/log.ts'
import type { DecisionOptions } from '../config.ts'
import type { Limits } from '../http1/limits.ts'
import type { Endpoint } from '../http1/proxy-listener.ts'
import type { Ticker } from '../http1/ticker.ts'
import type { SidecarMetrics } from '../policy-metrics.ts'
import type { PolicyGate } from '../proxy.ts'
import { RefusalLog } from '../refusal-log.ts'
import { DecisionDesk } from './desk.ts'
import { GrpcDecisionListener } from './grpc-listener.ts'
import { HttpDecisionListener } from './http-listener.ts'
import { isTrustedPeer } from './trusted-peers.ts'

export interface DecisionsOptions {
  /** By `namespace/name`. */
  readonly gates: ReadonlyMap<string, PolicyGate>
  readonly metrics: SidecarMetrics
  readonly limits: Limits
  readonly ticker: Ticker
  /** Milliseconds of a monotonic clock. */
  readonly clock: () => number
  readonly log: Log
}

/** Everything that gateways ask at; nothing unless it is asked for. */
export class Decisions {
  private readonly options: DecisionsOptions
  private readonly desk: DecisionDesk
  private readonly listeners: (HttpDecisionListener | GrpcDecisionListener)[] = []

  constructor(options: DecisionsOptions) {
    const { gates, metrics, clock, log } = options
    this.options = options
    this.desk = new DecisionDesk({
      gates,
      unanswerable: (reason) => metrics.unanswerable(reason),
      refusalLog: new RefusalLog(log, clock),
      log,
    })
  }

  /** @returns where it listens: ports are free ones where 0 was asked for */
  async listen({ http, grpc, trustedPeers }: DecisionOptions = { trustedPeers: [] }): Promise<{
    readonly http: Endpoint | undefined
    readonly grpc: Endpoint | undefined
  }> {
    const { limits, ticker, clock, log } = this.options
    const common = {
      desk: this.desk,
      isTrusted: (address: string | undefined) => isTrustedPeer(trustedPeers, address),
      limits,
      ticker,
      clock,
      log,
    }
    const begin = async (listener: HttpDecisionListener | GrpcDecisionListener, protocol: string) => {
      const listening = await listener.listen()
      this.listeners.push(listener)
      log.info('Answering gateways', { listen: listening, protocol })
      return listening
    }
    return {
      http: http && (await begin(new HttpDecisionListener({ ...common, listen: http }), 'HTTP')),
      grpc: grpc && (await begin(new GrpcDecisionListener({ ...common, listen: grpc }), 'gRPC')),
    }
  }

  async stop(withinSeconds: number): Promise<void> {
    await Promise.all(this.listeners.map((listener) => listener.stop(withinSeconds)))
  }
}
