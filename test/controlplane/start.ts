/**
 * A real Kubernetes control plane of one's own: etcd, kube-apiserver and kube-controller-manager on loopback, ready in
 * about three seconds, gone with the test process.
 *
 *     const plane = await startControlPlane()
 *     const namespace = await plane.createNamespace()
 *     await plane.kubectl(['apply', '--server-side', '-n', namespace, '-f', '-'], { input: manifest })
 *     await plane.restartApiServer({ whileDown: async () => … })
 *     await plane.stop()
 *
 * Most tests want the one that all test files share: `useControlPlane()` in `use.ts`.
 */

import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Address, accessTo, type ControlPlane } from './access.ts'
import { startApiServer } from './api-server.ts'
import { makeAuthority, makeKeyPair, makeServingCertificate } from './certificates.ts'
import { type Daemon, daemon, removeAtEnd } from './daemon.ts'
import { findBinaries, findBinary } from './find.ts'

export interface ControlPlaneOptions {
  /**
   * Also runs kube-controller-manager, for garbage collection by owner, deletion of namespaces (which takes it five
   * seconds), default ServiceAccounts and aggregated ClusterRoles. Default true.
   */
  readonly controllerManager?: boolean
  /** Further flags for kube-apiserver, such as `--etcd-compaction-interval=1s`. */
  readonly apiServerFlags?: readonly string[]
}

export interface OwnControlPlane extends ControlPlane {
  /** What another process passes to `accessTo`. */
  readonly address: Address
  /** Resolves when the server is ready again, at the same address. */
  restartApiServer(options?: RestartOptions): Promise<void>
  /** The same for etcd, whose data stay. The API server keeps running. */
  restartEtcd(options?: RestartOptions): Promise<void>
  stop(): Promise<void>
}

export interface RestartOptions {
  /** SIGTERM ends in good order, within seconds; SIGKILL, the default, crashes. */
  readonly signal?: 'SIGTERM' | 'SIGKILL'
  /** Runs between end and new start. */
  readonly whileDown?: () => Promise<void>
}

/** The controllers that act on what tests create; none that needs nodes. */
const controllers = [
  'clusterrole-aggregation-controller',
  'garbage-collector-controller',
  'namespace-controller',
  'root-ca-certificate-publisher-controller',
  'serviceaccount-controller',
  'serviceaccount-token-controller',
  'validatingadmissionpolicy-status-controller',
]

/** Sockets in the working directory, which the API server shares: no port for another process to take. */
const etcdFlags = [
  '--name=etcd',
  '--data-dir=etcd-data',
  '--unsafe-no-fsync',
  '--log-level=warn',
  '--listen-client-urls=unix://localhost:1',
  '--advertise-client-urls=unix://localhost:1',
  '--listen-peer-urls=unix://localhost:2',
  '--initial-advertise-peer-urls=unix://localhost:2',
  '--initial-cluster=etcd=unix://localhost:2',
]

export async function startControlPlane(options: ControlPlaneOptions = {}): Promise<OwnControlPlane> {
  const binaries = await findBinaries()
  const directory = await mkdtemp(join(tmpdir(), 'postern-controlplane-'))
  const removeDirectory = removeAtEnd(directory)
  const daemons: Daemon[] = []
  const started = (each: Daemon) => daemons.push(each)
  const stop = async (): Promise<void> => {
    await Promise.all(daemons.map((each) => each.stop()))
    await removeDirectory()
  }

  try {
    const authority = await makeAuthority(directory, 'ca')
    const [serving, tokenKey] = await Promise.all([
      makeServingCertificate(directory, 'kube-apiserver', authority, ['IP:127.0.0.1', 'DNS:localhost']),
      makeKeyPair(directory, 'service-account'),
    ])
    const adminToken = randomBytes(16).toString('hex')

    const etcd = daemon('etcd', directory, findBinary(binaries, 'etcd'), etcdFlags)
    started(etcd)
    etcd.start()

    const apiServer = await startApiServer(
      directory,
      findBinary(binaries, 'kube-apiserver'),
      { authority, serving, tokenKey, adminToken },
      options.apiServerFlags ?? [],
      started,
    )
    const { server } = apiServer
    const kubeconfig = join(directory, 'admin.kubeconfig')
    await writeFile(kubeconfig, adminKubeconfig(server, authority.certFile, adminToken), { mode: 0o600 })

    if (options.controllerManager ?? true) {
      const manager = daemon('kube-controller-manager', directory, findBinary(binaries, 'kube-controller-manager'), [
        `--kubeconfig=${kubeconfig}`,
        '--leader-elect=false',
        '--secure-port=0',
        '--kube-api-qps=500',
        '--kube-api-burst=1000',
        `--controllers=${controllers.join(',')}`,
        `--service-account-private-key-file=${tokenKey.keyFile}`,
        `--root-ca-file=${authority.certFile}`,
      ])
      started(manager)
      manager.start()
    }

    const address: Address = {
      directory,
      kubeconfig,
      kubectl: findBinary(binaries, 'kubectl'),
      server,
      caFile: authority.certFile,
      servingCertificate: serving,
      clientAuthority: authority,
    }
    const restart = async (each: Daemon, { signal = 'SIGKILL', whileDown }: RestartOptions): Promise<void> => {
      await each.stop(signal)
      await whileDown?.()
      each.start()
      await apiServer.untilReady([etcd])
    }
    return {
      ...accessTo(address),
      address,
      restartApiServer: (how = {}) => restart(apiServer, how),
      restartEtcd: (how = {}) => restart(etcd, how),
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

/** JSON, which is YAML. */
function adminKubeconfig(server: string, caFile: string, token: string): string {
  const ca = readFileSync(caFile).toString('base64')
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster: { server, 'certificate-authority-data': ca } }],
    users: [{ name: 'admin', user: { token } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'admin' } }],
    'current-context': 'test',
  })
}
