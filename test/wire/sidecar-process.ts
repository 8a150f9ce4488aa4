/** A sidecar as a process of its own, as it runs in a pod. */

import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { eventually } from '../support/wait.ts'

export interface SidecarProcess {
  /** Where the guard of this policy listens. */
  portOf(policy: string): number
  /** Where gateways may ask by this protocol. */
  decisionPort(protocol: 'HTTP' | 'gRPC'): number
  metrics(): Promise<string>
  alive(): boolean
  /** Null where it still runs, or was killed. */
  exitCode(): number | null
  readonly lines: readonly string[]
  stop(): Promise<void>
}

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

export interface GuardedPolicy {
  /** `namespace/name` */
  readonly policy: string
  readonly directory: string
}

/** @param upstreamPort undefined where gateways are to be answered, and nothing is to be guarded */
export async function startSidecarProcess(
  policies: readonly GuardedPolicy[],
  upstreamPort: number | undefined,
  publicKey: string,
  flags: readonly string[],
): Promise<SidecarProcess> {
  const guards = upstreamPort === undefined ? [] : policies
  const args = policies.flatMap(({ policy, directory }) => [
    ...(upstreamPort === undefined ? [] : ['--guard', `${policy}@127.0.0.1:0=127.0.0.1:${upstreamPort}`]),
    '--verification',
    `${policy}=${directory}`,
  ])
  const common = ['--public-key', publicKey, '--admin', '127.0.0.1:0', ...flags]
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', main, 'sidecar', ...args, ...common],
    { stdio: ['ignore', 'pipe', 'pipe'], env: {} },
  )
  const lines: string[] = []
  const ports = new Map<string, number>()
  const decisionPorts = new Map<string, number>()
  let adminPort: number | undefined
  let ended = false
  child.on('exit', () => {
    ended = true
  })
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      lines.push(line)
      if (!line.startsWith('{')) return
      const said = JSON.parse(line) as { message: string; policy: string; protocol: string; listen: { port: number } }
      if (said.message === 'Guarding') ports.set(said.policy, said.listen.port)
      if (said.message === 'Answering gateways') decisionPorts.set(said.protocol, said.listen.port)
      if (said.message === 'Serving health and metrics') adminPort = said.listen.port
    })
  }
  await eventually(`the sidecar to start: ${lines.join('\n')}`, () => {
    if (ended) throw new Error(`the sidecar ended: ${lines.join('\n')}`)
    return ports.size === guards.length && adminPort !== undefined
  })
  return {
    portOf: (policy) => ports.get(policy)!,
    decisionPort: (protocol) => decisionPorts.get(protocol)!,
    metrics: async () => (await fetch(`http://127.0.0.1:${adminPort}/metrics`)).text(),
    alive: () => !ended,
    exitCode: () => child.exitCode,
    lines,
    stop: async () => {
      if (!ended) child.kill('SIGTERM')
      await eventually('the sidecar to end', () => ended)
    },
  }
}
