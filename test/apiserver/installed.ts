import { readFileSync } from 'node:fs'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'vitest'
import { configMaps, labels, secrets } from '../../src/api/names.ts'
import type { ConfigMap } from '../../src/api/object.ts'
import { decide } from '../../src/core/authorize/decide.ts'
import type { RefusalReason } from '../../src/core/authorize/decision.ts'
import type { VerificationSet } from '../../src/core/authorize/set.ts'
import { removeAtEnd } from '../controlplane/daemon.ts'
import { type OwnControlPlane, startControlPlane } from '../controlplane/start.ts'
import { openFiles } from '../support/asked.ts'
import { type OperatorProcess, operatorProcess } from '../support/operator-process.ts'
import { filesOf } from '../support/verification.ts'
import { type Objects, objects } from './objects.ts'

/** Postern on a control plane of its own: the operator is a process, and may do what `deploy/` lets it do. */
export interface Installed {
  readonly plane: OwnControlPlane
  readonly objects: Objects
  readonly operator: OperatorProcess
  /** Where files of this installation may lie; gone at the end. */
  readonly directory: string
  /** Of the operator's ServiceAccount. */
  readonly kubeconfig: string
  /** One more operator, which begins to work. */
  anotherOperator(name: string, kubeconfig: string): Promise<OperatorProcess>
  /** What the operators have asked of the API server so far. */
  requests(): readonly AuditEntry[]
  /** The key in a Secret. */
  keyIn(namespace: string, secret: string, data?: string): Promise<string>
  /** The published set of a policy, verified; undefined where none is there. */
  publishedSet(namespace: string, policy: string): Promise<VerificationSet | undefined>
  /** What a sidecar with that set would say of a request with this key now. */
  verdict(namespace: string, policy: string, key: string): Promise<RefusalReason | 'Allowed'>
  stop(): Promise<void>
}

export interface AuditEntry {
  /** Of a watch, its beginning is recorded too. */
  readonly stage: 'ResponseStarted' | 'ResponseComplete' | 'Panic'
  readonly verb: string
  readonly objectRef: {
    readonly apiGroup?: string
    readonly resource: string
    readonly subresource?: string
    readonly namespace?: string
    readonly name?: string
  }
  readonly responseStatus: { readonly code: number }
}

const account = { namespace: 'postern-system', name: 'postern-operator' }

const auditPolicy = {
  apiVersion: 'audit.k8s.io/v1',
  kind: 'Policy',
  omitStages: ['RequestReceived'],
  rules: [
    { level: 'Metadata', users: [`system:serviceaccount:${account.namespace}:${account.name}`] },
    { level: 'None' },
  ],
}

export async function install(): Promise<Installed> {
  const directory = await mkdtemp(join(tmpdir(), 'postern-installed-'))
  const removeDirectory = removeAtEnd(directory)
  const auditLog = join(directory, 'audit.log')
  await writeFile(join(directory, 'audit.json'), JSON.stringify(auditPolicy))
  const plane = await startControlPlane({
    apiServerFlags: [
      `--audit-log-path=${auditLog}`,
      `--audit-policy-file=${join(directory, 'audit.json')}`,
      '--enable-admission-plugins=OwnerReferencesPermissionEnforcement',
    ],
  })
  const kubectl = async (...args: string[]): Promise<void> => {
    const { code, stderr } = await plane.kubectl(args)
    expect(code, stderr).toBe(0)
  }
  await kubectl('apply', '--server-side', '--kustomize', 'deploy')
  await kubectl('wait', '--for=condition=Established', '--timeout=30s', 'crd', '--all')
  const kubeconfig = await plane.kubeconfigFor({ serviceAccount: account })
  const operator = operatorProcess('operator', directory, kubeconfig)
  const all = [operator]
  await operator.start()
  const reach = objects(plane)

  const publishedSet: Installed['publishedSet'] = async (namespace, policy) => {
    const maps = (await reach.list(configMaps, namespace)).filter(
      ({ metadata }) => metadata.labels?.[labels.policy] === policy,
    )
    const files = filesOf(maps as ConfigMap[])
    const opened = openFiles(files, { namespace, policy, publicKeys: operator.publicKeys() })
    return opened.outcome === 'opened' ? opened.set : undefined
  }
  return {
    plane,
    objects: reach,
    operator,
    directory,
    kubeconfig,
    async anotherOperator(name, through) {
      const another = operatorProcess(name, directory, through)
      all.push(another)
      await another.start()
      return another
    },
    requests: () =>
      readFileSync(auditLog, 'utf8')
        .split('\n')
        .filter((line) => line.endsWith('}'))
        .map((line) => JSON.parse(line) as AuditEntry),
    async keyIn(namespace, secret, data = 'key') {
      const found = await reach.get(secrets, { namespace, name: secret })
      return Buffer.from(found?.data?.[data] ?? '', 'base64').toString()
    },
    publishedSet,
    async verdict(namespace, policy, key) {
      const facts = { method: 'GET', target: '/', fields: ['Host', 'a', 'X-API-Key', key], peer: '127.0.0.1' }
      const decision = decide(await publishedSet(namespace, policy), facts, Date.now() / 1000)
      return decision.allow ? 'Allowed' : decision.reason
    },
    async stop() {
      await Promise.all(all.map((each) => each.stop()))
      await plane.stop()
      await removeDirectory()
    },
  }
}
