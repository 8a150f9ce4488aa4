import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { request } from 'node:https'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Certificate } from './certificates.ts'
import { type Daemon, daemon } from './daemon.ts'

export interface ApiServer extends Daemon {
  /** `https://127.0.0.1:<port>`, the same after every start. */
  readonly server: string
  /** Resolves when it answers from etcd; fails when it, or one of these, has ended. */
  untilReady(needed: readonly Daemon[]): Promise<void>
}

export interface ApiServerFiles {
  readonly authority: Certificate
  readonly serving: Certificate
  readonly tokenKey: { readonly keyFile: string; readonly publicKeyFile: string }
  readonly adminToken: string
}

const readyWithinSeconds = 90

const fixedFlags = [
  '--etcd-servers=unix://localhost:1',
  '--bind-address=127.0.0.1',
  '--advertise-address=127.0.0.1',
  '--endpoint-reconciler-type=none',
  '--service-cluster-ip-range=10.96.0.0/24',
  '--service-account-issuer=https://kubernetes.default.svc',
  '--token-auth-file=tokens.csv',
  '--authentication-config=authentication.json',
  '--authorization-mode=Node,RBAC',
  '--profiling=false',
  // Otherwise an orderly end waits a minute for open watches.
  '--shutdown-watch-termination-grace-period=2s',
]

const authentication = {
  apiVersion: 'apiserver.config.k8s.io/v1',
  kind: 'AuthenticationConfiguration',
  anonymous: { enabled: true, conditions: ['/livez', '/readyz', '/healthz'].map((path) => ({ path })) },
}

/** Starts a kube-apiserver on a free port and waits until it is ready; etcd listens in the same directory. */
export async function startApiServer(
  directory: string,
  command: string,
  { authority, serving, tokenKey, adminToken }: ApiServerFiles,
  furtherFlags: readonly string[],
  started: (daemon: Daemon) => void,
): Promise<ApiServer> {
  await writeFile(join(directory, 'authentication.json'), JSON.stringify(authentication))
  await writeFile(join(directory, 'tokens.csv'), `${adminToken},admin,admin,"system:masters"\n`, { mode: 0o600 })
  const ca = readFileSync(authority.certFile)

  for (let attempt = 1; ; attempt++) {
    const port = await freePort()
    const process = daemon('kube-apiserver', directory, command, [
      ...fixedFlags,
      `--secure-port=${port}`,
      `--tls-cert-file=${serving.certFile}`,
      `--tls-private-key-file=${serving.keyFile}`,
      `--client-ca-file=${authority.certFile}`,
      `--service-account-key-file=${tokenKey.publicKeyFile}`,
      `--service-account-signing-key-file=${tokenKey.keyFile}`,
      ...furtherFlags,
    ])
    const server = `https://127.0.0.1:${port}`
    const untilReady = (needed: readonly Daemon[]) =>
      waitFor(() => answers(server, ca, adminToken), [process, ...needed])
    started(process)
    process.start()
    try {
      await untilReady([])
      return { ...process, server, untilReady }
    } catch (error) {
      if (attempt === 3 || !process.logTail().includes('address already in use')) throw error
    }
  }
}

/** Below the range that outgoing connections take theirs from, so that a port stays free over a restart. */
async function freePort(): Promise<number> {
  for (let attempt = 1; attempt <= 100; attempt++) {
    const port = 20_000 + (randomBytes(2).readUInt16BE() % 10_000)
    const probe = createServer()
    const free = await new Promise<boolean>((resolve) => {
      probe.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true))
    })
    if (!free) continue
    await new Promise((resolve) => probe.close(resolve))
    return port
  }
  throw new Error('no free port between 20000 and 29999')
}

async function waitFor(ready: () => Promise<string | true>, needed: readonly Daemon[]): Promise<void> {
  const deadline = performance.now() + readyWithinSeconds * 1000
  for (;;) {
    const answer = await ready()
    if (answer === true) return
    const dead = needed.find((each) => !each.running())
    if (dead !== undefined) throw new Error(`${dead.name} ended:\n${dead.logTail()}`)
    if (performance.now() > deadline) {
      const logs = needed.map((each) => `${each.name}:\n${each.logTail()}`).join('\n')
      throw new Error(`the API server is not ready after ${readyWithinSeconds} s: ${answer}\n${logs}`)
    }
    await delay(50)
  }
}

/** True, or what is wrong. /readyz alone still says ok for a while when etcd is gone, so one object is read as well. */
async function answers(server: string, ca: Buffer, token: string): Promise<string | true> {
  for (const path of ['/readyz', '/api/v1/namespaces/default']) {
    const status = await get(`${server}${path}`, ca, token)
    if (status !== 200) return `${path}: ${status}`
  }
  return true
}

/** The status code, or what went wrong. */
const get = (url: string, ca: Buffer, token: string): Promise<number | string> =>
  new Promise((resolve) => {
    const failed = (error: Error) => resolve(error.message)
    const headers = { authorization: `Bearer ${token}` }
    const outgoing = request(url, { ca, headers, agent: false, timeout: 5_000 }, (response: IncomingMessage) => {
      response.resume()
      response.on('end', () => resolve(response.statusCode ?? 0)).on('error', failed)
    })
    outgoing
      .on('timeout', () => outgoing.destroy(new Error('no answer within 5 s')))
      .on('error', failed)
      .end()
  })
