import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { eventually } from '../support/wait.ts'
import { daemon } from './daemon.ts'

let directory = ''
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'postern-daemon-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const pidIn = (file: string): number => {
  const path = join(directory, file)
  return existsSync(path) ? Number(readFileSync(path, 'utf8')) : 0
}
const lives = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

test('ends what it started when the process that started it is killed, and removes the directory', async () => {
  const program = `
    import { daemon, removeAtEnd } from ${JSON.stringify(new URL('daemon.ts', import.meta.url).href)}
    const directory = ${JSON.stringify(directory)}
    removeAtEnd(directory)
    daemon('sleeper', directory, '/bin/sh', ['-c', 'echo $$ > pid; exec sleep 100']).start()
    setInterval(() => {}, 1000)
  `
  const parent = spawn(process.execPath, ['--input-type=module', '--eval', program], { stdio: 'ignore' })
  await eventually('a start', () => pidIn('pid') > 0)
  const pid = pidIn('pid')
  expect(lives(pid)).toBe(true)

  parent.kill('SIGKILL')
  await once(parent, 'exit')
  await eventually('everything gone', () => !lives(pid) && !existsSync(directory))
})

test('passes SIGTERM on, and waits for the end', async () => {
  const program = 'trap "echo bye; exit 0" TERM; echo $$ > pid; while :; do sleep 0.02; done'
  const polite = daemon('polite', directory, '/bin/sh', ['-c', program])
  polite.start()
  await eventually('a start', () => pidIn('pid') > 0)
  await polite.stop('SIGTERM')
  expect(polite.running()).toBe(false)
  expect(lives(pidIn('pid'))).toBe(false)
  expect(polite.logTail()).toBe('bye')
})

test('is not running when the program ended by itself', async () => {
  const brief = daemon('brief', directory, '/bin/sh', ['-c', 'echo over; exit 3'])
  brief.start()
  await eventually('the end', () => !brief.running())
  expect(brief.logTail()).toBe('over')
  await brief.stop()
})
