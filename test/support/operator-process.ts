/** The operator as a process of its own, as it runs in a cluster. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { daemon } from '../controlplane/daemon.ts'
import { eventually } from './wait.ts'

export interface OperatorProcess {
  /** Resolves when the operator has begun to work. */
  start(): Promise<void>
  /** SIGKILL crashes, SIGTERM ends in good order; SIGKILL where absent. */
  stop(signal?: 'SIGTERM' | 'SIGKILL'): Promise<void>
  /** The operator's own endpoints: `/healthz`, `/readyz`, `/metrics`. */
  ask(path: string): Promise<{ readonly status: number; readonly body: string }>
  /** What sidecars verify its sets with. */
  publicKeys(): readonly string[]
  /** Everything that it has said, over all its starts. */
  log(): string
}

interface LogLine {
  readonly message: string
  readonly port?: number
  readonly publicKeys?: readonly string[]
}

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

/** @param directory where its log goes, as NAME.log */
export function operatorProcess(name: string, directory: string, kubeconfig: string): OperatorProcess {
  const args = ['--disable-warning=ExperimentalWarning', main, 'operator', '--kubeconfig', kubeconfig]
  const flags = ['--namespace', 'postern-system', '--admin', '127.0.0.1:0', '--log-level', 'debug']
  const child = daemon(name, directory, process.execPath, [...args, ...flags])
  const log = (): string => readFileSync(join(directory, `${name}.log`), 'utf8')
  let before = 0
  let port: number | undefined
  let publicKeys: readonly string[] = []

  return {
    async start() {
      before = port === undefined ? 0 : log().length
      child.start()
      await eventually(
        `operator ${name} to begin`,
        () => {
          if (!child.running()) throw new Error(`operator ${name} ended: ${child.logTail()}`)
          for (const line of log().slice(before).split('\n')) {
            const said = line.startsWith('{') ? (JSON.parse(line) as LogLine) : undefined
            if (said?.message === 'Health and metrics are served') port = said.port
            if (said?.message === 'The operator has begun') publicKeys = said.publicKeys!
            if (said?.message === 'The operator has begun') return true
          }
          return false
        },
        60,
      )
    },
    stop: (signal = 'SIGKILL') => child.stop(signal),
    async ask(path) {
      const answer = await fetch(`http://127.0.0.1:${port}${path}`)
      return { status: answer.status, body: await answer.text() }
    },
    publicKeys: () => publicKeys,
    log,
  }
}
