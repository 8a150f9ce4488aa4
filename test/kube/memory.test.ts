import { expect, test } from 'vitest'
import { apiKeys, configMaps, secrets } from '../../src/api/names.ts'
import type { ConfigMap, KubeObject } from '../../src/api/object.ts'
import { MemoryCluster, type MemoryClusterOptions } from '../../src/kube/memory.ts'
import { settled } from '../support/manual-timers.ts'
import { RecordingSink } from '../support/recording-sink.ts'

const makeCluster = (options: Partial<MemoryClusterOptions> = {}) => {
  let uids = 0
  return new MemoryCluster({
    now: () => new Date('2026-01-02T03:04:05.678Z'),
    newUid: () => `uid-${++uids}`,
    ...options,
  })
}

const apiKey = (name: string, spec: object, rest: object = {}): KubeObject => ({
  apiVersion: apiKeys.apiVersion,
  kind: apiKeys.kind,
  metadata: { namespace: 'n', name },
  spec,
  ...rest,
})
const configMap = (name: string, data: Record<string, string>, metadata: object = {}): ConfigMap => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { namespace: 'n', name, ...metadata },
  data,
})
const at = (name: string) => ({ namespace: 'n', name })

test('time and uids come from outside', async () => {
  const { metadata } = await makeCluster().put(apiKey('a', {}))
  expect(metadata).toMatchObject({ uid: 'uid-1', creationTimestamp: '2026-01-02T03:04:05Z', generation: 1 })
})

test('what is restored is as it was, and later versions are higher', async () => {
  const first = makeCluster()
  await first.put(apiKey('a', { displayName: 'x', enabled: false }))
  await first.put(apiKey('a', { displayName: 'x', enabled: true }))
  const told = await first.applyStatus(apiKey('a', {}, { status: { keyId: 'k' } }))

  const second = makeCluster({ newUid: () => 'another' })
  const restored = await second.restore(told, 'user')
  expect(restored).toEqual({
    ...told,
    metadata: { ...told.metadata, resourceVersion: restored.metadata.resourceVersion },
  })
  expect(BigInt(restored.metadata.resourceVersion!)).toBeGreaterThan(BigInt(told.metadata.resourceVersion!))
  await expect(second.restore(told, 'user')).rejects.toThrow('already exists')

  expect(await second.put(apiKey('a', { displayName: 'x', enabled: true }))).toEqual(restored)
  const changed = await second.put(apiKey('a', { displayName: 'x' }))
  expect(changed).toMatchObject({ spec: { displayName: 'x' }, status: { keyId: 'k' }, metadata: { generation: 3 } })
  expect(changed.spec).not.toHaveProperty('enabled')
  expect(await second.applyStatus(apiKey('a', {}, { status: {} }))).not.toHaveProperty('status')
})

test('what was restored for Postern is taken back by what it applies', async () => {
  const cluster = makeCluster()
  await cluster.restore(configMap('a', { x: '1', y: '1' }), 'postern')
  await cluster.apply(configMap('a', { x: '2' }))
  expect(await cluster.get(configMaps, at('a'))).toMatchObject({ data: { x: '2' } })
  expect(((await cluster.get(configMaps, at('a'))) as ConfigMap).data).not.toHaveProperty('y')
})

test('an owner may be restored after what it owns', async () => {
  const cluster = makeCluster()
  const reference = (uid: string) => ({ apiVersion: apiKeys.apiVersion, kind: apiKeys.kind, name: 'a', uid })
  const owned = (name: string, uid: string) => configMap(name, {}, { ownerReferences: [reference(uid)] })
  await cluster.restore(owned('b', 'owner'), 'postern')
  await cluster.restore(owned('c', 'nobody'), 'postern')
  await cluster.restore(apiKey('a', {}, { metadata: { ...at('a'), uid: 'owner' } }), 'user')
  cluster.collectGarbage()
  expect(await cluster.get(configMaps, at('b'))).toBeDefined()
  expect(await cluster.get(configMaps, at('c'))).toBeUndefined()
})

test('watches hear of what is restored and collected', async () => {
  const cluster = makeCluster()
  const sink = new RecordingSink()
  cluster.watch(secrets, {}, sink)
  await settled()
  const metadata = { ...at('a'), ownerReferences: [{ apiVersion: 'v1', kind: 'X', name: 'x', uid: 'gone' }] }
  await cluster.restore({ apiVersion: 'v1', kind: 'Secret', metadata }, 'postern')
  cluster.collectGarbage()
  await settled()
  expect(sink.calls).toEqual(['synced', 'put a', 'gone a'])
})

test('watches can be made to hear late, as they do of a real server', async () => {
  const later: (() => void)[] = []
  const cluster = makeCluster({ schedule: (deliver) => later.push(deliver) })
  const sink = new RecordingSink()
  cluster.watch(configMaps, {}, sink)
  await cluster.put(configMap('a', {}))
  await cluster.delete(configMaps, at('a'))
  await settled()
  expect(sink.calls).toEqual([])
  for (const deliver of later) deliver()
  expect(sink.calls).toEqual(['synced', 'put a', 'gone a'])
})

test('what an object was before it is changed stays as it was for whoever holds it', async () => {
  const cluster = makeCluster()
  const given = configMap('a', { x: '1' })
  const before = await cluster.put(given)
  await cluster.put(configMap('a', { x: '2' }))
  expect(before).toMatchObject({ data: { x: '1' } })
  expect(Object.isFrozen(given)).toBe(false)
})

test('a sink that throws is reported', async () => {
  const problems: unknown[] = []
  const cluster = makeCluster({ onProblem: (error) => problems.push(error) })
  const sink = new RecordingSink()
  sink.synced = () => {
    throw new Error('broken')
  }
  cluster.watch(configMaps, {}, sink)
  await settled()
  expect(problems).toEqual([new Error('broken')])
})

test('events that repeat are counted, and old ones go', async () => {
  const cluster = makeCluster({ eventLimit: 2 })
  const regarding = await cluster.put(apiKey('a', {}))
  const emit = (note: string) => cluster.emit({ regarding, type: 'Normal', reason: 'R', action: 'A', note })
  for (const note of ['one', 'two', 'one', 'three']) emit(note)
  expect(cluster.events().map(({ note, count }) => [note, count])).toEqual([
    ['one', 2],
    ['three', 1],
  ])
})

test('nothing is watched after close', async () => {
  const cluster = makeCluster()
  const sink = new RecordingSink()
  cluster.watch(configMaps, {}, sink)
  await cluster.close()
  await cluster.put(configMap('a', {}))
  await settled()
  expect(sink.calls).toEqual([])
})
