import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bundle } from '../../build.ts'
import { apiKeys, apiVersion, configMaps, secrets } from '../../src/api/names.ts'
import type { ConfigMap, KubeObject } from '../../src/api/object.ts'
import { type Manifest, manifestFile } from '../../src/api/verification.ts'
import { connect } from '../../src/kube/client.ts'
import { Store } from '../../src/kube/store.ts'
import { startControlPlane } from '../controlplane/start.ts'

const count = 2000
const atOnce = 16

/**
 * Many keys applied at once to a real API server: how long until all are published and Ready, how often each was written,
 * and what the operator needs. The yardstick is how long the API server alone takes for the same number of ConfigMaps.
 */
export async function keysBench(): Promise<object[]> {
  const plane = await startControlPlane()
  let operator: ChildProcess | undefined
  const directory = mkdtempSync(join(tmpdir(), 'postern-bench-'))
  await bundle('src/main.ts', directory)
  const cluster = connect({ kubeconfig: plane.kubeconfig, userAgent: 'bench' })
  try {
    await plane.kubectl(['apply', '-f', 'crds/apikeys.yaml', '-f', 'crds/accesspolicies.yaml'])
    await plane.kubectl([
      'wait',
      '--for=condition=Established',
      'crd/apikeys.postern.dev',
      'crd/accesspolicies.postern.dev',
    ])
    await plane.kubectl(['create', 'namespace', 'postern-system'])
    const namespace = await plane.createNamespace()
    const yardstick = await timed(() =>
      eachNumber((n) =>
        cluster.apply({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { namespace, name: `yardstick-${n}` } }),
      ),
    )

    operator = spawn(
      process.execPath,
      [
        join(directory, 'postern.js'),
        'operator',
        '--kubeconfig',
        plane.kubeconfig,
        '--admin',
        '127.0.0.1:0',
        '--log-level',
        'warn',
      ],
      { stdio: 'inherit' },
    )
    const keys = new Store<KubeObject>({ transform: (object) => object, indexes: {} })
    const writes = new Map<string, number>()
    keys.onChange(({ name }) => writes.set(name.name, (writes.get(name.name) ?? 0) + 1))
    let publications = 0
    let published = 0
    const watches = [
      cluster.watch(apiKeys, { namespace }, keys),
      cluster.watch(
        configMaps,
        { namespace, labels: { 'postern.dev/policy': 'bench' } },
        {
          put: (object) => {
            publications += 1
            published = (JSON.parse((object as ConfigMap).data![manifestFile]!) as Manifest).keys
          },
          gone: () => {},
          synced: () => {},
        },
      ),
    ]
    await cluster.apply(policy(namespace))
    await until(() => publications > 0)
    publications = 0
    const begun = performance.now()
    await eachNumber((n) => cluster.apply(apiKey(namespace, n)))
    const appliedSeconds = (performance.now() - begun) / 1000
    await until(() => published === count)
    const publishedSeconds = (performance.now() - begun) / 1000
    await until(() => [...keys.list()].filter(isReady).length === count)
    const readySeconds = (performance.now() - begun) / 1000
    let secretsMade = 0
    for await (const _ of cluster.list(secrets, { namespace, labels: { 'postern.dev/managed': 'true' } }))
      secretsMade += 1
    // The first write of a key is its owner's.
    const statusWrites = [...writes.values()].reduce((sum, times) => sum + times - 1, 0)
    const result = {
      keys: count,
      'applied (s)': round(appliedSeconds),
      'all published (s)': round(publishedSeconds),
      'all Ready (s)': round(readySeconds),
      'Ready ÷ as many ConfigMaps': round(readySeconds / yardstick),
      'writes a key': round((secretsMade + statusWrites) / count),
      'sets written': publications,
      'operator RSS (MiB)': residentMebibytes(operator.pid!),
    }
    await Promise.all(watches.map((watch) => watch.stop()))
    return [result]
  } finally {
    operator?.kill('SIGTERM')
    await cluster.close()
    await plane.stop()
    rmSync(directory, { recursive: true, force: true })
  }
}

const policy = (namespace: string): KubeObject => ({
  apiVersion,
  kind: 'AccessPolicy',
  metadata: { namespace, name: 'bench' },
  spec: { workloadSelector: { matchLabels: { app: 'bench' } }, ports: [{ port: 8080 }] },
})

const apiKey = (namespace: string, number: number): KubeObject => ({
  apiVersion,
  kind: 'ApiKey',
  metadata: { namespace, name: `key-${number}` },
  spec: { access: [{ policy: { name: 'bench' } }] },
})

const isReady = ({ status }: KubeObject): boolean =>
  (status as { conditions?: { type: string; status: string }[] } | undefined)?.conditions?.some(
    ({ type, status }) => type === 'Ready' && status === 'True',
  ) === true

async function eachNumber(work: (number: number) => Promise<unknown>): Promise<void> {
  let next = 0
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      while (next < count) await work(next++)
    }),
  )
}

async function timed(work: () => Promise<void>): Promise<number> {
  const begun = performance.now()
  await work()
  return (performance.now() - begun) / 1000
}

async function until(holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 300_000
  while (!holds()) {
    if (performance.now() > deadline) throw new Error('waited five minutes in vain')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

const residentMebibytes = (pid: number): number =>
  Math.round(Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024)
const round = (value: number): number => Math.round(value * 100) / 100
