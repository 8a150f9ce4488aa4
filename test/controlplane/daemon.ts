import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const leash = fileURLToPath(new URL('leash.sh', import.meta.url))

/** A program that runs beside the test and never outlives it. */
export interface Daemon {
  readonly name: string
  start(): void
  /** Resolves when the process is gone: at once for SIGKILL, within 20 seconds for SIGTERM. */
  stop(signal?: 'SIGTERM' | 'SIGKILL'): Promise<void>
  running(): boolean
  /** The last lines that it wrote, for an error message. */
  logTail(): string
}

/** Output goes to `<name>.log` in the directory, which is also where the program runs. */
export function daemon(name: string, directory: string, command: string, args: readonly string[]): Daemon {
  const logFile = join(directory, `${name}.log`)
  let child: ChildProcess | undefined
  const running = () => child !== undefined && child.exitCode === null && child.signalCode === null

  return {
    name,
    start() {
      if (running()) throw new Error(`${name} runs already`)
      const log = openSync(logFile, 'a')
      child = spawn('/bin/sh', [leash, command, ...args], {
        cwd: directory,
        stdio: ['pipe', log, log],
        // A Ctrl-C in the terminal is for the test runner, which then takes everything down in its own order.
        detached: true,
      })
      closeSync(log)
      child.on('error', () => {})
      child.stdin?.on('error', () => {})
      letGo(child)
    },
    async stop(signal = 'SIGKILL') {
      if (child === undefined || !running()) return
      child.ref()
      const gone = once(child, 'exit')
      if (signal === 'SIGTERM') {
        child.kill('SIGTERM')
        const impatience = setTimeout(() => child?.stdin?.end(), 20_000)
        await gone
        clearTimeout(impatience)
      } else {
        child.stdin?.end()
        await gone
      }
    },
    running,
    logTail: () =>
      existsSync(logFile) ? readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-15).join('\n') : '',
  }
}

/** Removes the directory when this process ends, however it ends, or when the returned function is called. */
export function removeAtEnd(directory: string): () => Promise<void> {
  const child = spawn('/bin/sh', [leash, '-r', directory], { stdio: ['pipe', 'ignore', 'ignore'], detached: true })
  letGo(child)
  return async () => {
    child.ref()
    const gone = once(child, 'exit')
    child.stdin?.end()
    await gone
  }
}

/** A test that forgets to stop a daemon must not keep the test process alive. */
function letGo(child: ChildProcess): void {
  child.unref()
  const { stdin } = child
  if (stdin !== null && 'unref' in stdin && typeof stdin.unref === 'function') stdin.unref()
}
