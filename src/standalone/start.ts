import { randomUUID } from 'node:crypto'
import { stat } from 'node:fs/promises'
import type { AccessPolicy, AccessPolicySpec } from '../api/access-policy.ts'
import { accessPolicies } from '../api/names.ts'
import { nameKey } from '../api/object.ts'
import { kindRules } from '../core/kinds.ts'
import { MemoryCluster } from '../kube/memory.ts'
import { loadSettings } from '../operator/config.ts'
import { startOperator } from '../operator/operator.ts'
import { createLog, type LogLevel } from '../runtime/log.ts'
import { createMetrics } from '../runtime/metrics.ts'
import { UsageError } from '../runtime/usage-error.ts'
import { type DecisionTexts, type GuardOptions, optionProblems, readDecisions, readGuards } from '../sidecar/config.ts'
import { defaultLimits } from '../sidecar/http1/limits.ts'
import { startSidecar } from '../sidecar/start.ts'
import { ManifestDirectory } from './directory.ts'
import { claim, makeDirectory } from './disk.ts'
import { StateFiles } from './files.ts'

export interface StandaloneArguments extends DecisionTexts {
  readonly manifests: string
  readonly state: string
  /** `NAMESPACE/POLICY@HOST:PORT=HOST:PORT` */
  readonly guard: readonly string[]
  readonly settings?: string
  readonly admin: { readonly host: string; readonly port: number }
  readonly logLevel: LogLevel
  /** Hears of each problem of a manifest as `file:line:column: object: field: message`. */
  readonly tell: (problem: string) => void
}

/** The namespace of the operator's own Secret, as in a cluster. */
const ownNamespace = 'postern-system'
/** Nothing here suffers from being written often, as etcd would. */
const pauseMilliseconds = (): number => 0

/** The whole of Postern on one machine, with a directory for an API server, until `ended` resolves. */
export async function runStandalone(given: StandaloneArguments, ended: Promise<string>): Promise<void> {
  const guards = readGuards(given.guard)
  const policies = new Set(guards.map(({ policy }) => policy))
  // The sets and the keys that sign them come later and are ours: nothing can be wrong with those.
  const verification = [...policies].map((policy) => ({ policy, directory: '', policyUid: undefined }))
  const problems = optionProblems({ guards, verification, publicKeys: ['later'] })
  const decisions = readDecisions(given, problems)
  if (!(await isDirectory(given.manifests))) problems.push(`--manifests ${given.manifests}: must be a directory`)
  if (problems.length > 0) throw new UsageError(problems.join('\n'))
  const settings = await loadSettings(given.settings)
  const log = createLog({ level: given.logLevel })
  const metrics = createMetrics()
  const release = await claim(given.state).catch((error: unknown) => {
    throw new Error(`--state ${given.state}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    })
  })
  const undo: (() => Promise<void>)[] = [release]
  try {
    const cluster = new MemoryCluster({
      now: () => new Date(),
      newUid: randomUUID,
      schemas: kindRules(),
      onProblem: (error) => log.error('A change could not be taken in', { error }),
    })
    const files = new StateFiles({ cluster, state: given.state, log })
    await files.restore()
    files.start()
    undo.push(() => files.stop())
    const directory = new ManifestDirectory({
      cluster,
      directory: given.manifests,
      except: given.state,
      keyPrefix: settings.keyPrefix,
      log,
      tell: given.tell,
    })
    undo.push(() => directory.stop())
    await directory.start()
    const operator = await startOperator({
      cluster,
      namespace: ownNamespace,
      settings,
      log,
      metrics,
      pauseMilliseconds,
    })
    undo.push(() => operator.stop())
    for (const problem of await portProblems(cluster, guards)) given.tell(problem)
    // A gateway may ask about every policy that there is when this begins.
    if (decisions) for await (const { metadata } of cluster.list(accessPolicies)) policies.add(nameKey(metadata))
    // So that there is something to watch before there is anything to read.
    for (const policy of policies) await makeDirectory(StateFiles.verificationDirectory(given.state, policy))
    const sidecar = await startSidecar({
      guards,
      verification: [...policies].map((policy) => ({
        policy,
        directory: StateFiles.verificationDirectory(given.state, policy),
        policyUid: undefined,
      })),
      publicKeys: operator.publicKeys,
      admin: given.admin,
      decisions,
      limits: defaultLimits,
      log,
      metrics,
    })
    undo.push(() => sidecar.stop())
    log.info('Standalone is up', { guards: sidecar.guards, admin: sidecar.admin })
    log.info('Ending', { signal: await ended })
  } finally {
    for (const end of undo.reverse()) await end()
  }
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory()
  } catch {
    return false
  }
}

/** Guards for which their policy has no entry: neither one with the port of the application, nor a single one. */
async function portProblems(cluster: MemoryCluster, guards: readonly GuardOptions[]): Promise<string[]> {
  const problems: string[] = []
  for (const { policy, upstream } of guards) {
    const [namespace = '', name = ''] = policy.split('/')
    const stored = (await cluster.get(accessPolicies, { namespace, name })) as AccessPolicy | undefined
    const ports = (stored?.spec as AccessPolicySpec | undefined)?.ports ?? []
    if (ports.length > 1 && !ports.some(({ port }) => port === upstream.port))
      problems.push(`--guard ${policy}: AccessPolicy ${policy}: .spec.ports: has no entry with port ${upstream.port}`)
  }
  return problems
}
