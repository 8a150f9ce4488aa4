import { randomUUID } from 'node:crypto'
import { accessPolicies, apiKeys, configMaps, secrets } from '../../src/api/names.ts'
import type { Condition, ConfigMap, KubeObject, ObjectName, Resource, Secret } from '../../src/api/object.ts'
import { kindRules } from '../../src/core/kinds.ts'
import { MemoryCluster } from '../../src/kube/memory.ts'
import { type Operator, startOperator } from '../../src/operator/operator.ts'
import { createLog } from '../../src/runtime/log.ts'
import { createMetrics } from '../../src/runtime/metrics.ts'
import { type Asked, openFiles, verdict } from './asked.ts'
import { secondsOf } from './builders.ts'
import { filesOf } from './verification.ts'
import { eventually } from './wait.ts'

/** A cluster in memory with operators at work on it. */
export class Operated {
  readonly cluster: MemoryCluster
  /** Everything that was logged. */
  readonly lines: string[] = []
  private readonly operators: Operator[] = []
  private publicKeys: readonly string[] = []
  private clock = Date.now()

  constructor() {
    // Times of creation are whole seconds; each object here is a second younger than the one before.
    const now = (): Date => {
      this.clock += 1000
      return new Date(this.clock)
    }
    this.cluster = new MemoryCluster({ now, newUid: randomUUID, schemas: kindRules() })
  }

  async begin(settings = { keyPrefix: 'pstn' }): Promise<Operator> {
    const operator = await startOperator({
      cluster: this.cluster,
      namespace: 'postern-system',
      settings,
      log: createLog({ level: 'debug', sink: { write: (line) => void this.lines.push(line) } }),
      metrics: createMetrics({ process: false }),
      pauseMilliseconds: () => 0,
    })
    this.operators.push(operator)
    this.publicKeys = operator.publicKeys
    return operator
  }

  async end(): Promise<void> {
    for (const operator of this.operators.splice(0)) await operator.stop()
  }

  async close(): Promise<void> {
    await this.end()
    await this.cluster.close()
  }

  get(resource: Resource, name: string, namespace = 'shop'): Promise<KubeObject | undefined> {
    return this.cluster.get(resource, { namespace, name })
  }

  async versionOf(resource: Resource, name: string, namespace = 'shop'): Promise<string | undefined> {
    return (await this.get(resource, name, namespace))?.metadata.resourceVersion
  }

  /** The reason of a condition, with its status in front. */
  async reason(resource: Resource, name: ObjectName | string, type = 'Ready'): Promise<string | undefined> {
    const of = typeof name === 'string' ? { namespace: 'shop', name } : name
    const object = (await this.cluster.get(resource, of)) as
      | (KubeObject & {
          readonly status?: { readonly observedGeneration?: number; readonly conditions?: readonly Condition[] }
        })
      | undefined
    if (object?.status?.observedGeneration !== object?.metadata.generation) return undefined
    const found = object?.status?.conditions?.find((condition) => condition.type === type)
    return found && `${found.status} ${found.reason}`
  }

  async keyIs(reason: string, name: ObjectName | string): Promise<void> {
    await this.becomes(`ApiKey ${JSON.stringify(name)} ${reason}`, reason, () => this.reason(apiKeys, name))
  }

  async policyIs(reason: string, name: string): Promise<void> {
    await this.becomes(`AccessPolicy ${name} ${reason}`, reason, () => this.reason(accessPolicies, name))
  }

  /** Waits until the published set of a policy judges a request so. */
  async judges(policy: string, asked: Asked, expected: string): Promise<void> {
    await this.becomes(`${policy}: ${expected}`, expected, async () => {
      const set = await this.setOf(policy)
      return verdict(set, { at: secondsOf(new Date()), ...asked })
    })
  }

  async setOf(policy: string) {
    const maps: ConfigMap[] = []
    for await (const map of this.cluster.list(configMaps, {
      namespace: 'shop',
      labels: { 'postern.dev/policy': policy },
    }))
      maps.push(map as ConfigMap)
    const opened = openFiles(filesOf(maps), { policy, publicKeys: this.publicKeys })
    return opened.outcome === 'opened' ? opened.set : undefined
  }

  /** The key in a Secret; undefined as long as there is none. */
  async keyIn(name: string, namespace = 'shop'): Promise<string | undefined> {
    const secret = (await this.get(secrets, name, namespace)) as Secret | undefined
    return secret?.data?.key === undefined ? undefined : Buffer.from(secret.data.key, 'base64').toString()
  }

  private async becomes(what: string, expected: string, look: () => Promise<string | undefined>): Promise<void> {
    let last: string | undefined
    const seen = async (): Promise<boolean> => {
      last = await look()
      return last === expected
    }
    await eventually(what, seen).catch((error: unknown) => {
      throw new Error(`${error instanceof Error ? error.message : String(error)}; it is ${last}`)
    })
  }
}
