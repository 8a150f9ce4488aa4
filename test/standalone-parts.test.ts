import { randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { apiKeys } from '../src/api/names.ts'
import type { Secret } from '../src/api/object.ts'
import { kindRules } from '../src/core/kinds.ts'
import { MemoryCluster } from '../src/kube/memory.ts'
import { createLog } from '../src/runtime/log.ts'
import { ManifestDirectory } from '../src/standalone/directory.ts'
import { claim } from '../src/standalone/disk.ts'
import { StateFiles } from '../src/standalone/files.ts'
import { eventually } from './support/wait.ts'

let root: string
let cluster: MemoryCluster
let lines: string[]
const log = createLog({ level: 'debug', sink: { write: (line) => void lines.push(line) } })
const stops: (() => Promise<void>)[] = []

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'postern-parts-'))
  cluster = new MemoryCluster({ now: () => new Date(), newUid: randomUUID, schemas: kindRules() })
  lines = []
})
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop()
  await cluster.close()
  rmSync(root, { recursive: true, force: true })
})

const key = (name: string, displayName: string, namespace = 'shop') => ({
  apiVersion: apiKeys.apiVersion,
  kind: apiKeys.kind,
  metadata: { name, namespace },
  spec: { displayName },
})
const uidOf = async (name: string): Promise<string | undefined> =>
  (await cluster.get(apiKeys, { namespace: 'shop', name }))?.metadata.uid

async function follow(settleMilliseconds: number): Promise<ManifestDirectory> {
  const directory = new ManifestDirectory({
    cluster,
    directory: root,
    keyPrefix: 'pstn',
    log,
    tell: () => {},
    settleMilliseconds,
  })
  await directory.start()
  stops.push(() => directory.stop())
  return directory
}

test('a file that is empty for a moment, as while it is written, takes no object away', async () => {
  const file = join(root, 'keys.json')
  writeFileSync(file, JSON.stringify(key('a', 'one')))
  const directory = await follow(60_000)
  const uid = await uidOf('a')
  expect(uid).toBeDefined()

  writeFileSync(file, '')
  await directory.load()
  await directory.load()
  expect(await uidOf('a')).toBe(uid)
  rmSync(file)
  await directory.load()
  writeFileSync(file, JSON.stringify(key('a', 'two')))
  await directory.load()
  expect(await cluster.get(apiKeys, { namespace: 'shop', name: 'a' })).toMatchObject({
    metadata: { uid },
    spec: { displayName: 'two' },
  })
})

test('an object that stays away is deleted', async () => {
  const file = join(root, 'keys.json')
  writeFileSync(file, JSON.stringify(key('a', 'one')))
  await follow(50)
  writeFileSync(file, '')
  await eventually('the deletion', async () => (await uidOf('a')) === undefined)
})

test('what is here from before stays while any file may say it, and goes when none does', async () => {
  await cluster.put(key('a', 'one'))
  const uid = await uidOf('a')
  const file = join(root, 'keys.yaml')
  writeFileSync(file, 'apiVersion: [')
  const directory = await follow(0)
  await directory.load()
  expect(await uidOf('a')).toBe(uid)
  // The same where the object can be read, and is not as it should be.
  writeFileSync(file, JSON.stringify({ ...key('a', 'two'), spec: { displayNmae: 'two' } }))
  await directory.load()
  expect(await uidOf('a')).toBe(uid)
  writeFileSync(file, '')
  await directory.load()
  expect(await uidOf('a')).toBeUndefined()
})

test('what Postern itself writes is no manifest, even where it lies among them', async () => {
  mkdirSync(join(root, 'state', 'status'), { recursive: true })
  writeFileSync(join(root, 'state', 'status', 'a.yaml'), JSON.stringify(key('a', 'one')))
  mkdirSync(join(root, 'state-of-play'))
  writeFileSync(join(root, 'state-of-play', 'b.yaml'), JSON.stringify(key('b', 'one')))
  const options = { cluster, directory: root, except: join(root, 'state'), keyPrefix: 'pstn', log, tell: () => {} }
  const directory = new ManifestDirectory(options)
  await directory.start()
  stops.push(() => directory.stop())
  expect([await uidOf('a'), await uidOf('b')]).toEqual([undefined, expect.any(String)])
})

test('what could not be written is tried again, and never over something newer', async () => {
  const place = (name: string): string => join(root, 'status', 'ApiKey', name)
  mkdirSync(join(root, 'status', 'ApiKey'), { recursive: true })
  for (const blocked of ['shop', 'mill']) writeFileSync(place(blocked), 'a file where a directory should be')
  const files = new StateFiles({ cluster, state: root, log, retryMilliseconds: 20 })
  files.start()
  stops.push(() => files.stop())
  const failures = (name: string): number =>
    lines.filter((line) => line.includes('could not be written') && line.includes(place(name))).length

  await cluster.put(key('a', 'old'))
  await cluster.put(key('z', 'clock', 'mill'))
  await eventually('both to fail', () => failures('shop') > 0 && failures('mill') > 0)
  rmSync(place('shop'))
  await cluster.put(key('a', 'new'))
  const file = join(place('shop'), 'a.yaml')
  await eventually('the new one', () => existsSync(file) && readFileSync(file, 'utf8').includes('new'))
  const sofar = failures('mill')
  await eventually('two more turns', () => failures('mill') >= sofar + 2)
  expect(readFileSync(file, 'utf8')).toContain('displayName: new')
  rmSync(place('mill'))
  await eventually('the last one', () => existsSync(join(place('mill'), 'z.yaml')))
})

test.each(['.', '..', '..data'])('a Secret has no data by the name %s, which would be another file', async (name) => {
  const secret = {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'a', namespace: 'shop' },
    data: { [name]: 'eA==' },
  }
  await expect(cluster.create(secret)).rejects.toMatchObject({ code: 'Invalid' })
  const allowed: Secret = { ...secret, data: { '.netrc': 'eA==', 'a..b': 'eA==' } }
  await expect(cluster.create(allowed)).resolves.toBeDefined()
})

test.each([
  ['no lock', {}],
  ['the lock of one that died', { lock: '1234567890 1\n' }],
  ['an empty lock', { lock: '' }],
  ['one that died taking over', { lock: '1234567890 1\n', 'lock.after-1234567890-1': '1234567891 2\n' }],
])('of several that claim a directory at once, one has it: %s', async (_, before) => {
  for (let round = 0; round < 20; round += 1) {
    for (const [name, text] of Object.entries(before)) writeFileSync(join(root, name), text)
    const claims = await Promise.allSettled(Array.from({ length: 12 }, () => claim(root)))
    const held = claims.filter((one) => one.status === 'fulfilled')
    expect(held).toHaveLength(1)
    await expect(claim(root)).rejects.toThrow(`${root} is in use by process ${process.pid}`)
    expect(readdirSync(root)).toEqual(['lock'])
    await held[0]!.value()
    expect(readdirSync(root)).toEqual([])
  }
})
