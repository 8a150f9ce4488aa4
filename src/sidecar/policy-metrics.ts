import type { Counter, Histogram, Metrics } from '../runtime/metrics.ts'
import type { Failure, Signals } from './http1/gate.ts'
import type { ProxyListener } from './http1/proxy-listener.ts'

/** The series of one policy. Children of labels are made here, so that counting a request is an addition. */
export interface PolicyMetrics extends Signals {
  readonly decisionSeconds: Histogram
  allowed(anonymous: boolean): void
  refused(reason: string): void
  /** Let pass in mode Audit, although it would be refused. */
  audited(reason: string): void
  failed(failure: Failure): void
  setRefused(reason: string): void
}

/** What is to be read of a loaded set at each scrape; undefined as long as there is none. */
export interface SetReading {
  readonly sequence: number
  readonly keys: number
  readonly ageSeconds: number
}

/** All series of the data path. */
export class SidecarMetrics {
  private readonly metrics: Metrics
  private readonly families

  constructor(metrics: Metrics) {
    this.metrics = metrics
    const policy = ['policy'] as const
    const port = ['policy', 'port'] as const
    this.families = {
      requests: metrics.counter('postern_requests_total', 'Requests judged.', ['policy', 'decision', 'reason']),
      requestSeconds: metrics.histogram(
        'postern_request_seconds',
        'From the decision to the end of the answer, of allowed requests.',
        policy,
        [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
      ),
      decisionSeconds: metrics.histogram(
        'postern_decision_seconds',
        'What deciding on a request took.',
        policy,
        [1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 1e-3, 1e-2],
      ),
      unanswerable: metrics.counter(
        'postern_decisions_unanswerable_total',
        'Questions of gateways that concern no request before a policy, and were answered with no.',
        ['reason'],
      ),
      cut: metrics.counter(
        'postern_exchanges_cut_total',
        'Answers cut because their key was not valid any more.',
        policy,
      ),
      setSequence: metrics.gauge('postern_set_sequence', 'Sequence of the verification set that is loaded.', policy),
      setAge: metrics.gauge('postern_set_age_seconds', 'Time since the loaded set was published.', policy),
      setKeys: metrics.gauge('postern_set_keys', 'Values of keys in the loaded set.', policy),
      setRefused: metrics.counter('postern_set_refused_total', 'Verification sets refused.', ['policy', 'reason']),
      dropped: metrics.counter('postern_client_connections_dropped_total', 'Connections beyond the limit.', policy),
      clients: metrics.gauge('postern_client_connections', 'Open connections of clients.', port),
      upstreamConnections: metrics.gauge('postern_upstream_connections', 'Open connections to the application.', [
        ...port,
        'state',
      ]),
      upstreamWaiting: metrics.gauge('postern_upstream_waiting', 'Requests that wait for a connection.', port),
      upstreamConnects: metrics.counter(
        'postern_upstream_connects_total',
        'Connections made to the application.',
        policy,
      ),
      upstreamRetries: metrics.counter(
        'postern_upstream_retries_total',
        'Requests sent again because an idle connection was closed.',
        policy,
      ),
      upstreamFailures: metrics.counter('postern_upstream_failures_total', 'Allowed requests that came to nothing.', [
        'policy',
        'reason',
      ]),
    }
  }

  ofPolicy(policy: string): PolicyMetrics {
    const { families } = this
    const count = (decision: string) => {
      const counters = new Map<string, Counter>()
      return (reason: string) => {
        let counter = counters.get(reason)
        if (counter === undefined) {
          counter = families.requests.with(policy, decision, reason)
          counters.set(reason, counter)
        }
        counter.add()
      }
    }
    const requestSeconds = families.requestSeconds.with(policy)
    const granted = families.requests.with(policy, 'allow', 'Granted')
    const open = families.requests.with(policy, 'allow', 'Public')
    const cut = families.cut.with(policy)
    const connects = families.upstreamConnects.with(policy)
    const retries = families.upstreamRetries.with(policy)
    return {
      decisionSeconds: families.decisionSeconds.with(policy),
      allowed: (anonymous) => (anonymous ? open : granted).add(),
      refused: count('refuse'),
      audited: count('audit'),
      failed: (failure) => families.upstreamFailures.with(policy, failure).add(),
      setRefused: (reason) => families.setRefused.with(policy, reason).add(),
      exchangeEnded: (seconds) => requestSeconds.observe(seconds),
      upstreamConnected: () => connects.add(),
      retried: () => retries.add(),
      cut: () => cut.add(),
      connectionDropped: () => families.dropped.with(policy).add(),
    }
  }

  /** A question of a gateway, or of somebody who is none, that cannot be put before a policy. */
  unanswerable(reason: string): void {
    this.families.unanswerable.with(reason).add()
  }

  readSet(policy: string, read: () => SetReading | undefined): void {
    this.families.setSequence.with(policy).read(() => read()?.sequence)
    this.families.setAge.with(policy).read(() => read()?.ageSeconds)
    this.families.setKeys.with(policy).read(() => read()?.keys)
  }

  readListener(policy: string, port: number, listener: ProxyListener): void {
    const { clients, upstreamConnections, upstreamWaiting } = this.families
    const { pool } = listener
    clients.with(policy, String(port)).read(() => listener.connectionCount)
    upstreamConnections.with(policy, String(port), 'idle').read(() => pool.idleCount)
    upstreamConnections.with(policy, String(port), 'busy').read(() => pool.size - pool.idleCount)
    upstreamWaiting.with(policy, String(port)).read(() => pool.waitingCount)
  }

  text(): Promise<string> {
    return this.metrics.text()
  }
}
