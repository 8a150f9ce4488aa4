import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { eventually } from '../support/wait.ts'

// `build.sh` with a compiler that takes as long as the test wants: it notes each call and waits while `hold` exists.
const compiler = `#!/bin/sh
echo "$*" >> "$BUILD_ROOT/calls"
while [ -e "$BUILD_ROOT/hold" ]; do sleep 0.02; done
[ -e "$BUILD_ROOT/fail" ] && exit 1
while [ "$1" != -o ]; do shift; done
case $2 in */) for each in kube-apiserver kube-controller-manager kubectl; do echo made > "$2$each"; done ;; *) echo made > "$2" ;; esac
`

let root = ''
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'postern-build-'))
  mkdirSync(join(root, 'etcd'))
  for (const file of ['build.sh', 'go.mod', 'go.sum', 'etcd/main.go']) {
    copyFileSync(fileURLToPath(new URL(file, import.meta.url)), join(root, file))
  }
  mkdirSync(join(root, 'bin'))
  writeFileSync(join(root, 'bin/go'), compiler)
  chmodSync(join(root, 'bin/go'), 0o755)
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

const started = (): ChildProcess =>
  spawn(join(root, 'build.sh'), [join(root, 'out')], {
    env: { PATH: `${join(root, 'bin')}:${process.env.PATH}`, BUILD_ROOT: root },
    stdio: 'ignore',
    detached: true,
  })
const build = async (): Promise<unknown> => (await once(started(), 'exit'))[0]
const hold = () => writeFileSync(join(root, 'hold'), '')
const release = () => rmSync(join(root, 'hold'))
const made = (name: string) => readFileSync(join(root, 'out', name), 'utf8')
const calls = (): number => {
  try {
    return readFileSync(join(root, 'calls'), 'utf8').trimEnd().split('\n').length
  } catch {
    return 0
  }
}

test('builds all four programs, once', async () => {
  expect(await build()).toBe(0)
  expect(['etcd', 'kube-apiserver', 'kube-controller-manager', 'kubectl'].map(made)).toEqual(Array(4).fill('made\n'))
  expect(await build()).toBe(0)
  expect(calls()).toBe(2)
})

test('builds once when two ask at the same time', async () => {
  hold()
  const both = Promise.all([build(), build()])
  await eventually('the first call', () => calls() === 1)
  release()
  expect(await both).toEqual([0, 0])
  expect(calls()).toBe(2)
})

test('builds again what was interrupted', async () => {
  hold()
  const interrupted = started()
  await eventually('the first call', () => calls() === 1)
  process.kill(-(interrupted.pid ?? 0), 'SIGKILL')
  await once(interrupted, 'exit')
  release()
  expect(await build()).toBe(0)
  expect(made('kubectl')).toBe('made\n')
})

test('fails when the compiler does, and builds the next time', async () => {
  writeFileSync(join(root, 'fail'), '')
  expect(await build()).not.toBe(0)
  rmSync(join(root, 'fail'))
  expect(await build()).toBe(0)
  expect(made('etcd')).toBe('made\n')
})

test('builds again when go.mod changes', async () => {
  await build()
  writeFileSync(join(root, 'go.mod'), `${readFileSync(join(root, 'go.mod'), 'utf8')}\n`)
  await build()
  expect(calls()).toBe(4)
})
