import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { accessPolicies, apiKeys, configMaps, secrets } from '../src/api/names.ts'
import type { ConfigMap, KubeObject, Secret } from '../src/api/object.ts'
import { parseSettings, type Settings } from '../src/api/settings.ts'
import { decide } from '../src/core/authorize/decide.ts'
import { type Opened, openSet } from '../src/core/authorize/set.ts'
import { kindRules } from '../src/core/kinds.ts'
import { MemoryCluster } from '../src/kube/memory.ts'
import { startOperator } from '../src/operator/operator.ts'
import { createLog } from '../src/runtime/log.ts'
import { createMetrics } from '../src/runtime/metrics.ts'
import { eventually } from './support/wait.ts'

test('smoke', async () => {
  const cluster = new MemoryCluster({ now: () => new Date(), newUid: randomUUID, schemas: kindRules() })
  const parsed = parseSettings({})
  const settings = (parsed.ok ? parsed.value : undefined) as Settings
  const log = createLog({ level: 'debug' })
  const operator = await startOperator({
    cluster,
    namespace: 'postern-system',
    settings,
    log,
    metrics: createMetrics({ process: false }),
    pauseMilliseconds: () => 0,
  })
  await cluster.put({
    apiVersion: accessPolicies.apiVersion,
    kind: 'AccessPolicy',
    metadata: { name: 'orders', namespace: 'shop' },
    spec: { workloadSelector: { matchLabels: { app: 'orders' } }, ports: [{ port: 8080 }] },
  })
  await cluster.put({
    apiVersion: apiKeys.apiVersion,
    kind: 'ApiKey',
    metadata: { name: 'a', namespace: 'shop' },
    spec: { access: [{ policy: { name: 'orders' } }] },
  })
  await eventually('ready', async () => {
    const k = (await cluster.get(apiKeys, { namespace: 'shop', name: 'a' })) as KubeObject & {
      status?: { conditions?: { type: string; status: string }[] }
    }
    return k?.status?.conditions?.find((c) => c.type === 'Ready')?.status === 'True'
  })
  const s = (await cluster.get(secrets, { namespace: 'shop', name: 'a' })) as Secret
  const cm = (await cluster.get(configMaps, { namespace: 'shop', name: 'postern-orders' })) as ConfigMap
  console.log(
    JSON.stringify(s, null, 1),
    cm.data,
    JSON.stringify(await cluster.get(apiKeys, { namespace: 'shop', name: 'a' }), null, 1),
    JSON.stringify(await cluster.get(accessPolicies, { namespace: 'shop', name: 'orders' }), null, 1),
    cluster.events(),
  )
  const files = new Map(Object.entries(cm.data!).map(([n, t]) => [n, Buffer.from(t)]))
  const g = openSet(files, { namespace: 'shop', policy: 'orders', publicKeys: operator.publicKeys })
  let r = g.next()
  while (!r.done) r = g.next()
  const o = r.value as Opened
  expect(o.outcome).toBe('opened')
  const key = Buffer.from(s.data!.key!, 'base64').toString()
  const set = o.outcome === 'opened' ? o.set : undefined
  console.log(
    decide(
      set,
      { method: 'GET', target: '/x', fields: ['Host', 'a', 'X-API-Key', key], peer: '127.0.0.1' },
      Date.now() / 1000,
    ),
  )
  await operator.stop()
  await cluster.close()
})
