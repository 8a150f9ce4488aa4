import { setFlagsFromString } from 'node:v8'
import { connect } from '../kube/client.ts'
import { json, listen } from '../runtime/listen.ts'
import { createLog, type LogLevel } from '../runtime/log.ts'
import { createMetrics } from '../runtime/metrics.ts'
import { loadSettings } from './config.ts'
import { startOperator } from './operator.ts'

export interface OperatorArguments {
  readonly kubeconfig?: string
  readonly namespace: string
  readonly settings?: string
  /** Where health and metrics are served. */
  readonly admin: { readonly host: string; readonly port: number }
  readonly logLevel: LogLevel
}

/** Runs the operator until `ended` resolves. Rejects where it cannot begin. */
export async function runOperator(given: OperatorArguments, ended: Promise<string>): Promise<void> {
  // Most of what is read from the API server is looked at once: a young generation that does not grow keeps a third less.
  setFlagsFromString('--semi-space-growth-factor=1')
  const settings = await loadSettings(given.settings)
  const log = createLog({ level: given.logLevel })
  const metrics = createMetrics()
  let operator: Awaited<ReturnType<typeof startOperator>> | undefined
  const admin = await listen({
    ...given.admin,
    log,
    endpoints: {
      '/healthz': () => {
        const problem = operator?.problem()
        return json(problem === undefined ? 200 : 503, { healthy: problem === undefined, problem })
      },
      '/readyz': () => json(operator ? 200 : 503, { ready: operator !== undefined }),
      '/metrics': async () => ({ status: 200, contentType: metrics.contentType, body: await metrics.text() }),
    },
  })
  log.info('Health and metrics are served', { host: admin.host, port: admin.port })
  const cluster = connect({
    ...(given.kubeconfig !== undefined && { kubeconfig: given.kubeconfig }),
    userAgent: 'postern-operator',
    onProblem: (error) => log.warn('A watch was interrupted', { error }),
  })
  const begun = startOperator({ cluster, namespace: given.namespace, settings, log, metrics })
  // While the API server cannot be reached, the beginning lasts: a signal ends that too.
  operator = await Promise.race([begun, ended.then(() => undefined)])
  const reason = await ended
  log.info('The operator ends', { reason })
  await operator?.stop()
  await cluster.close()
  await admin.stop(1)
}
