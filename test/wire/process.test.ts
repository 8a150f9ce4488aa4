import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { writeVolume } from '../support/kubelet.ts'
import { RawUpstream } from '../support/proxied.ts'
import { filesOf, keyOf, policyOf, published, signer } from '../support/verification.ts'
import { eventually } from '../support/wait.ts'
import { RawClient } from './raw-client.ts'
import { type SidecarProcess, startSidecarProcess } from './sidecar-process.ts'

let directory: string
let upstream: RawUpstream
let sidecar: SidecarProcess | undefined

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'postern-process-'))
  await writeVolume(directory, filesOf(published(policyOf({}), [{ key: keyOf(1) }])))
  upstream = new RawUpstream()
})
afterEach(async () => {
  await sidecar?.stop()
  upstream.stop()
  await rm(directory, { recursive: true })
})

test('lets an answer in progress end when it is asked to end, and ends', async () => {
  const policy = 'shop/orders'
  sidecar = await startSidecarProcess([{ policy, directory }], await upstream.listen(), signer.publicKey, [])
  await eventually('the set', async () => (await sidecar!.metrics()).includes(`postern_set_keys{policy="${policy}"} 1`))
  const client = await RawClient.open(sidecar.portOf(policy), false)
  client.send(`GET / HTTP/1.1\r\nHost: a\r\nX-API-Key: ${keyOf(1)}\r\n\r\n`)
  const app = await upstream.connection()
  await app.receives('\r\n\r\n')
  const stopped = sidecar.stop()
  await eventually('draining', () => sidecar!.lines.some((line) => line.includes('Draining')))
  app.send('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
  await client.finish(20)
  expect(client.finalAnswers().map(({ head, body }) => [head.includes('Connection: close'), body])).toEqual([
    [true, 'ok'],
  ])
  await stopped
  expect(sidecar.exitCode()).toBe(0)
  // Everything that a process says is a line of JSON, for whoever gathers logs.
  expect(sidecar.lines.map((line) => JSON.parse(line).message)).toContain('Loaded a verification set')
  sidecar = undefined
})

test('says everything that is wrong with its arguments, and does not start', async () => {
  const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
  const args = ['--disable-warning=ExperimentalWarning', main, 'sidecar', '--guard', 'nonsense']
  await expect(promisify(execFile)(process.execPath, args)).rejects.toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/--guard nonsense: must have the form.*--public-key: at least one is needed/s),
  })
})
