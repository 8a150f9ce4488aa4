import fc from 'fast-check'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { configMaps, secrets } from '../../src/api/names.ts'
import type { ConfigMap, KubeObject, ObjectName, Resource, Secret } from '../../src/api/object.ts'
import { type Cluster, ClusterError, type ClusterErrorCode, type WatchScope } from '../../src/kube/cluster.ts'
import { RecordingSink } from '../support/recording-sink.ts'
import { eventually } from '../support/wait.ts'
import { gadgets } from './gadget.ts'

/** A cluster under contract, and what somebody else than Postern does to it. */
export interface World {
  readonly cluster: Cluster
  /** A namespace that nothing else uses. */
  readonly newNamespace: () => Promise<string>
  /** As `kubectl apply --server-side` by somebody else. */
  readonly put: (object: KubeObject) => Promise<KubeObject>
  /** As `kubectl replace` by somebody else. */
  readonly replace: (object: KubeObject) => Promise<KubeObject>
  readonly delete: (resource: Resource, name: ObjectName) => Promise<void>
  /** Notes of the events about an object. */
  readonly notes: (about: KubeObject) => Promise<readonly string[]>
  /** Whether somebody removes what has lost its owners. */
  readonly collectsGarbage: boolean
}

/** What every Cluster must do. */
export const clusterContract = (name: string, makeWorld: () => Promise<World>): void => {
  describe(name, () => {
    let world: World
    let cluster: Cluster
    let namespace: string

    beforeAll(async () => {
      world = await makeWorld()
      cluster = world.cluster
      return () => cluster.close()
    })

    beforeEach(async () => {
      namespace = await world.newNamespace()
    })

    const configMap = (name: string, data: Record<string, string> = {}, metadata: object = {}): ConfigMap => ({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { namespace, name, ...metadata },
      data,
    })
    const secret = (name: string, rest: object): Secret => ({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { namespace, name },
      ...rest,
    })
    const gadget = (name: string, spec: object, rest: object = {}): KubeObject => ({
      apiVersion: gadgets.apiVersion,
      kind: gadgets.kind,
      metadata: { namespace, name },
      spec,
      ...rest,
    })
    const read = async (resource: Resource, name: string) => (await cluster.get(resource, { namespace, name }))!
    const names = async (resource: Resource, scope: object) => {
      const found: string[] = []
      for await (const object of cluster.list(resource, scope)) found.push(object.metadata.name)
      return found
    }
    const refusal = (code: ClusterErrorCode) =>
      expect.toSatisfy((error) => error instanceof ClusterError && error.code === code, code)
    const at = (object: KubeObject, metadata: object): KubeObject => ({
      ...object,
      metadata: { ...object.metadata, ...metadata },
    })

    describe('reading', () => {
      test('there is nothing where nothing was made', async () => {
        expect(await cluster.get(secrets, { namespace, name: 'none' })).toBeUndefined()
      })

      test('objects come as they are stored, frozen and without managed fields', async () => {
        await cluster.create(configMap('a', { x: '1' }))
        const object = await read(configMaps, 'a')
        expect(object).toMatchObject({ apiVersion: 'v1', kind: 'ConfigMap', data: { x: '1' } })
        expect(object.metadata).toMatchObject({ namespace, name: 'a', uid: expect.any(String) })
        expect(object.metadata).not.toHaveProperty('managedFields')
        expect(object.metadata.creationTimestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
        expect(BigInt(object.metadata.resourceVersion!)).toBeGreaterThan(0n)
        expect(() => Object.assign((object as ConfigMap).data!, { x: '2' })).toThrow(TypeError)
      })

      test('a list is bounded by namespace and labels', async () => {
        await cluster.create(configMap('a', {}, { labels: { team: 'x', tier: '1' } }))
        await cluster.create(configMap('b', {}, { labels: { team: 'x', tier: '2' } }))
        await cluster.create(configMap('c', {}, { labels: { team: 'y' } }))
        expect(await names(configMaps, { namespace, labels: { team: 'x' } })).toEqual(['a', 'b'])
        expect(await names(configMaps, { namespace, labels: { team: 'x', tier: '2' } })).toEqual(['b'])
        expect(await names(configMaps, { labels: { team: 'nobody' } })).toEqual([])
        expect(await names(configMaps, { labels: { team: 'x' } })).toEqual(expect.arrayContaining(['a', 'b']))
      })
    })

    describe('creating', () => {
      test('a name can be taken once', async () => {
        await cluster.create(configMap('a', { x: '1' }))
        await expect(cluster.create(configMap('a', { x: '2' }))).rejects.toEqual(refusal('AlreadyExists'))
        expect(await read(configMaps, 'a')).toMatchObject({ data: { x: '1' } })
      })

      test('of many who create at once one succeeds', async () => {
        const tries = Array.from({ length: 8 }, (_, i) => cluster.create(configMap('a', { x: String(i) })))
        const results = await Promise.allSettled(tries)
        expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
        for (const result of results) {
          if (result.status === 'rejected') expect(result.reason).toEqual(refusal('AlreadyExists'))
        }
      })

      test('what was created counts as applied: it goes when an apply leaves it out', async () => {
        await cluster.create(configMap('a', { x: '1', y: '1' }))
        await cluster.apply(configMap('a', { x: '2' }))
        expect(((await read(configMaps, 'a')) as ConfigMap).data).toEqual({ x: '2' })
      })

      test('an object that is deleted can be made again and is another one', async () => {
        const first = await cluster.create(configMap('a'))
        await cluster.remove(configMaps, { namespace, name: 'a' })
        const second = await cluster.create(configMap('a'))
        expect(second.metadata.uid).not.toBe(first.metadata.uid)
      })

      test.each([
        ['a name that is none', () => configMap('Not_A_Name')],
        ['no namespace', () => at(configMap('a'), { namespace: undefined })],
        ['a kind that nobody knows', () => ({ ...configMap('a'), kind: 'Nothing' })],
      ])('%s is invalid', async (_, object) => {
        await expect(cluster.create(object())).rejects.toEqual(refusal('Invalid'))
        await expect(cluster.apply(object())).rejects.toEqual(refusal('Invalid'))
      })
    })

    describe('applying', () => {
      test('makes what is not there', async () => {
        const applied = await cluster.apply(configMap('a', { x: '1' }))
        expect(applied).toEqual(await read(configMaps, 'a'))
      })

      test('changes nothing, and makes no new version, when nothing differs', async () => {
        const first = await cluster.apply(configMap('a', { x: '1' }, { labels: { l: 'v' } }))
        const second = await cluster.apply(configMap('a', { x: '1' }, { labels: { l: 'v' } }))
        expect(second).toEqual(first)
      })

      test('versions rise', async () => {
        const versions: bigint[] = []
        for (const x of ['1', '2', '3']) {
          versions.push(BigInt((await cluster.apply(configMap('a', { x }))).metadata.resourceVersion!))
        }
        expect(versions).toEqual(versions.toSorted((a, b) => Number(a - b)))
        expect(new Set(versions).size).toBe(3)
      })

      test('keeps the fields of others', async () => {
        await world.put(configMap('a', { theirs: '1' }, { labels: { theirs: '1' }, annotations: { theirs: '1' } }))
        await cluster.apply(configMap('a', { ours: '1' }, { labels: { ours: '1' } }))
        const object = (await read(configMaps, 'a')) as ConfigMap
        expect(object.data).toEqual({ theirs: '1', ours: '1' })
        expect(object.metadata.labels).toEqual({ theirs: '1', ours: '1' })
        expect(object.metadata.annotations).toEqual({ theirs: '1' })
      })

      test('removes what it set before and leaves out now, and the map that this empties', async () => {
        await cluster.apply(configMap('a', { x: '1', y: '1' }, { labels: { x: '1' } }))
        await cluster.apply(configMap('a', { y: '1' }))
        const object = (await read(configMaps, 'a')) as ConfigMap
        expect(object.data).toEqual({ y: '1' })
        expect(object.metadata).not.toHaveProperty('labels')
      })

      test('keeps what it leaves out when somebody else says it too', async () => {
        await cluster.apply(configMap('a', { x: '1', y: '1' }))
        await world.put(configMap('a', { x: '1' }))
        await cluster.apply(configMap('a', { y: '1' }))
        expect(((await read(configMaps, 'a')) as ConfigMap).data).toEqual({ x: '1', y: '1' })
      })

      test('keeps what somebody else has taken over', async () => {
        await cluster.apply(configMap('a', { x: '1', y: '1' }))
        await world.put(configMap('a', { x: '2' }))
        await cluster.apply(configMap('a', { y: '1' }))
        expect(((await read(configMaps, 'a')) as ConfigMap).data).toEqual({ x: '2', y: '1' })
      })

      test('takes back what somebody else has changed or removed', async () => {
        await cluster.apply(configMap('a', { x: '1', y: '1' }))
        await world.replace(configMap('a', { x: '2', z: '1' }))
        expect(((await read(configMaps, 'a')) as ConfigMap).data).toEqual({ x: '2', z: '1' })
        await cluster.apply(configMap('a', { x: '1', y: '1' }))
        expect(((await read(configMaps, 'a')) as ConfigMap).data).toEqual({ x: '1', y: '1', z: '1' })
      })

      test('somebody else who leaves out a field that we own too leaves it there', async () => {
        await world.put(configMap('a', { x: '1' }))
        await cluster.apply(configMap('a', { x: '1' }))
        await world.put(configMap('a', { y: '1' }))
        expect(((await read(configMaps, 'a')) as ConfigMap).data).toEqual({ x: '1', y: '1' })
      })

      test('merges owner references by uid', async () => {
        const owner = (await cluster.create(configMap('owner'))).metadata
        const other = (await cluster.create(configMap('other'))).metadata
        const reference = (to: { name: string; uid?: string }) => ({
          apiVersion: 'v1',
          kind: 'ConfigMap',
          name: to.name,
          uid: to.uid,
        })
        await world.put(configMap('a', {}, { ownerReferences: [reference(other)] }))
        await cluster.apply(configMap('a', {}, { ownerReferences: [reference(owner)] }))
        const both = (await read(configMaps, 'a')).metadata.ownerReferences!.map(({ name }) => name)
        expect(both.sort()).toEqual(['other', 'owner'])
        await cluster.apply(configMap('a', {}))
        expect((await read(configMaps, 'a')).metadata.ownerReferences).toEqual([reference(other)])
      })

      test('merges sets by value and replaces atomic lists', async () => {
        await world.put(gadget('a', { tags: ['theirs', 'both'], steps: ['1', '2'] }))
        await cluster.apply(gadget('a', { tags: ['ours', 'both'], steps: ['3'] }))
        const merged = (await read(gadgets, 'a')).spec as { tags: string[]; steps: string[] }
        expect(merged.tags.toSorted()).toEqual(['both', 'ours', 'theirs'])
        expect(merged.steps).toEqual(['3'])
        await cluster.apply(gadget('a', { steps: ['3'] }))
        expect(((await read(gadgets, 'a')).spec as { tags: string[] }).tags.toSorted()).toEqual(['both', 'theirs'])
      })

      test.each([
        ['another version', { resourceVersion: '1' }],
        ['another uid', { uid: '00000000-0000-4000-8000-000000000000' }],
      ])('%s is a conflict', async (_, metadata) => {
        const { uid } = (await cluster.apply(configMap('a', { x: '1' }))).metadata
        const object = at(configMap('a', { x: '2' }), { uid, ...metadata })
        await expect(cluster.apply(object)).rejects.toEqual(refusal('Conflict'))
        expect(await read(configMaps, 'a')).toMatchObject({ data: { x: '1' } })
      })

      test('the right version and uid are none, and an old version is one again', async () => {
        const { uid, resourceVersion } = (await cluster.apply(configMap('a', { x: '1' }))).metadata
        await cluster.apply(at(configMap('a', { x: '2' }), { uid, resourceVersion }))
        await expect(cluster.apply(at(configMap('a', { x: '3' }), { uid, resourceVersion }))).rejects.toEqual(
          refusal('Conflict'),
        )
      })

      test('what is gone is not made again when a uid or version was asked for', async () => {
        const { uid, resourceVersion } = (await cluster.apply(configMap('a'))).metadata
        await cluster.remove(configMaps, { namespace, name: 'a' })
        await expect(cluster.apply(at(configMap('a'), { uid }))).rejects.toEqual(refusal('Conflict'))
        await expect(cluster.apply(at(configMap('a'), { uid, resourceVersion }))).rejects.toEqual(refusal('Conflict'))
        await expect(cluster.apply(at(configMap('a'), { resourceVersion }))).rejects.toEqual(refusal('Invalid'))
        expect(await cluster.get(configMaps, { namespace, name: 'a' })).toBeUndefined()
      })
    })

    describe('custom kinds', () => {
      test('defaults are filled in', async () => {
        const object = await cluster.apply(gadget('a', { color: 'red' }))
        expect(object.spec).toEqual({ size: 1, color: 'red' })
      })

      test('a field that the schema does not know cannot be applied, and is dropped otherwise', async () => {
        await expect(cluster.apply(gadget('a', { wheels: 4 }))).rejects.toEqual(refusal('Invalid'))
        await cluster.apply(gadget('a', {}))
        await expect(cluster.applyStatus(gadget('a', {}, { status: { wheels: 4 } }))).rejects.toEqual(
          refusal('Invalid'),
        )
        await world.replace(gadget('a', { color: 'red', wheels: 4 }))
        expect((await read(gadgets, 'a')).spec).toEqual({ size: 1, color: 'red' })
      })

      test('what breaks the schema is invalid, and the message names object and field', async () => {
        const error = await cluster.apply(gadget('broken', { size: 11 })).catch((error: unknown) => error)
        expect(error).toEqual(refusal('Invalid'))
        expect((error as Error).message).toMatch(/Gadget .*broken.*spec\.size/s)
      })

      test('generation rises with the spec, not with metadata or status', async () => {
        expect((await cluster.apply(gadget('a', { color: 'red' }))).metadata.generation).toBe(1)
        expect((await world.put(gadget('a', { size: 2 }))).metadata.generation).toBe(2)
        const labelled = at(gadget('a', { size: 2 }), { labels: { l: 'v' } })
        expect((await world.put(labelled)).metadata.generation).toBe(2)
        const told = await cluster.applyStatus(gadget('a', {}, { status: { seen: 2 } }))
        expect(told.metadata.generation).toBe(2)
        expect(told.metadata.resourceVersion).not.toBe(labelled.metadata.resourceVersion)
      })

      test('an apply leaves the status alone, and a status everything else', async () => {
        await cluster.apply(gadget('a', { color: 'red' }, { status: { seen: 1 } }))
        expect(await read(gadgets, 'a')).not.toHaveProperty('status')
        const changes = { labels: { l: 'v' }, annotations: { a: 'v' } }
        await cluster.applyStatus(at(gadget('a', { color: 'blue' }, { status: { seen: 2 } }), changes))
        const object = await read(gadgets, 'a')
        expect(object).toMatchObject({ spec: { color: 'red' }, status: { seen: 2 } })
        expect(object.metadata).not.toHaveProperty('labels')
        expect(object.metadata).not.toHaveProperty('annotations')
        await cluster.apply(gadget('a', { color: 'green' }))
        expect(await read(gadgets, 'a')).toMatchObject({ spec: { color: 'green' }, status: { seen: 2 } })
      })

      test('the user replaces a spec without touching the status', async () => {
        await world.put(gadget('a', { color: 'red' }))
        await cluster.applyStatus(gadget('a', {}, { status: { seen: 1 } }))
        await world.replace(gadget('a', { size: 3 }))
        expect(await read(gadgets, 'a')).toMatchObject({ spec: { size: 3 }, status: { seen: 1 } })
        expect((await read(gadgets, 'a')).spec).toEqual({ size: 3 })
      })

      test('a status that is left out goes, by condition', async () => {
        await world.put(gadget('a', {}))
        const conditions = [
          { type: 'Ready', status: 'True', message: 'yes' },
          { type: 'Stalled', status: 'True' },
        ]
        await cluster.applyStatus(gadget('a', {}, { status: { seen: 1, conditions } }))
        await cluster.applyStatus(gadget('a', {}, { status: { conditions: [{ type: 'Ready', status: 'False' }] } }))
        expect((await read(gadgets, 'a')).status).toEqual({ conditions: [{ type: 'Ready', status: 'False' }] })
      })

      test('a status that is empty takes away what was there', async () => {
        await world.put(gadget('a', {}))
        await cluster.applyStatus(
          gadget('a', {}, { status: { seen: 1, conditions: [{ type: 'Ready', status: 'True' }] } }),
        )
        await cluster.applyStatus(gadget('a', {}, { status: { seen: 1, conditions: [] } }))
        expect((await read(gadgets, 'a')).status).toEqual({ seen: 1 })
        await cluster.applyStatus(gadget('a', {}, { status: {} }))
        expect((await read(gadgets, 'a')).status).toBeUndefined()
      })

      test('a spec that would become empty is invalid, unless it is left out', async () => {
        await cluster.apply(gadget('a', { color: 'red', size: 2 }))
        await expect(cluster.apply(gadget('a', {}))).rejects.toEqual(refusal('Invalid'))
        await cluster.apply({ ...gadget('a', {}), spec: undefined })
        expect(await read(gadgets, 'a')).not.toHaveProperty('spec')
      })

      test('a list that is applied empty goes', async () => {
        await cluster.apply(gadget('a', { tags: ['x'], steps: ['1'] }))
        await cluster.apply(gadget('a', { tags: [], steps: [] }))
        expect((await read(gadgets, 'a')).spec).toEqual({ size: 1, steps: [] })
      })

      test('what others own within something that we no longer say stays', async () => {
        await cluster.apply(gadget('a', {}))
        await world.put(gadget('a', { color: 'red' }))
        await cluster.apply({ ...gadget('a', {}), spec: undefined })
        expect((await read(gadgets, 'a')).spec).toMatchObject({ color: 'red' })
      })

      test('an equal status makes no new version', async () => {
        await world.put(gadget('a', {}))
        const status = { seen: 1, conditions: [{ type: 'Ready', status: 'True' }] }
        const first = await cluster.applyStatus(gadget('a', {}, { status }))
        expect(await cluster.applyStatus(gadget('a', {}, { status }))).toEqual(first)
      })

      test('the version is a precondition for a status too, and an object is needed', async () => {
        const { uid, resourceVersion } = (await world.put(gadget('a', {}))).metadata
        const status = { seen: 1 }
        await cluster.applyStatus(at(gadget('a', {}, { status }), { uid, resourceVersion }))
        for (const metadata of [{ uid, resourceVersion }, { resourceVersion }]) {
          await expect(cluster.applyStatus(at(gadget('a', {}, { status }), metadata))).rejects.toEqual(
            refusal('Conflict'),
          )
        }
        await expect(cluster.applyStatus(at(gadget('a', {}, { status }), { uid }))).rejects.toEqual(refusal('Invalid'))
        await world.delete(gadgets, { namespace, name: 'a' })
        await expect(cluster.applyStatus(gadget('a', {}, { status }))).rejects.toEqual(refusal('NotFound'))
      })

      test('what is being deleted stays until its finalizers are gone', async () => {
        await cluster.apply(at(gadget('a', {}), { finalizers: ['tests.postern.dev/hold'] }))
        await world.delete(gadgets, { namespace, name: 'a' })
        expect((await read(gadgets, 'a')).metadata.deletionTimestamp).toMatch(/Z$/)
        await cluster.apply(gadget('a', {}))
        expect(await cluster.get(gadgets, { namespace, name: 'a' })).toBeUndefined()
      })
    })

    describe('Secrets and ConfigMaps', () => {
      test('text given as stringData is stored as data', async () => {
        await cluster.create(secret('a', { stringData: { x: 'ä' } }))
        const stored = (await read(secrets, 'a')) as Secret
        expect(stored).toMatchObject({ type: 'Opaque', data: { x: Buffer.from('ä').toString('base64') } })
        expect(stored).not.toHaveProperty('stringData')
      })

      test('any text is kept as it is', async () => {
        const hard = [
          '\u0085',
          '\u2028 \u2029',
          '\ufeff',
          '\u007f\u0080\u009f',
          '\ufffe\uffff',
          'a\n\n \tb\r\n',
          '😀',
          '\'"\\#: - {}',
          ' ',
        ]
        const texts = [...hard, ...fc.sample(fc.string({ unit: 'binary', maxLength: 50 }), 200)]
        const data = Object.fromEntries(texts.map((text, i) => [`t${i}`, text]))
        await cluster.create(configMap('a', data))
        expect(((await read(configMaps, 'a')) as ConfigMap).data).toEqual(data)
      })

      test('the type of a Secret is for ever', async () => {
        await cluster.create(secret('a', { type: 'Opaque' }))
        await expect(cluster.apply(secret('a', { type: 'example.com/other' }))).rejects.toEqual(refusal('Invalid'))
      })

      test.each([
        ['a name that is none', { data: { 'a/b': 'eA==' } }],
        ['text that is not base64', { data: { x: 'geheim!' } }],
      ])('%s in data is invalid, and no message shows a value', async (_, rest) => {
        const error = await cluster.create(secret('a', rest)).catch((error: unknown) => error)
        expect(error).toEqual(refusal('Invalid'))
        expect((error as Error).message).not.toMatch(/geheim|eA==/)
        expect((error as Error).message).toContain(`Secret ${namespace}/a`)
      })

      test('a ConfigMap holds a mebibyte and no more', async () => {
        await cluster.apply(configMap('a', { x: 'x'.repeat(1024 * 1024) }))
        await expect(cluster.apply(configMap('a', { x: 'x'.repeat(1024 * 1024 + 1) }))).rejects.toEqual(
          refusal('Invalid'),
        )
        await expect(cluster.apply(configMap('a', { x: 'x'.repeat(4 * 1024 * 1024) }))).rejects.toEqual(
          refusal('TooLarge'),
        )
      })
    })

    describe('removing', () => {
      test('takes the object away, once', async () => {
        await cluster.create(configMap('a'))
        await cluster.remove(configMaps, { namespace, name: 'a' })
        expect(await cluster.get(configMaps, { namespace, name: 'a' })).toBeUndefined()
        await expect(cluster.remove(configMaps, { namespace, name: 'a' })).rejects.toEqual(refusal('NotFound'))
      })

      test('heeds preconditions', async () => {
        const { uid, resourceVersion } = (await cluster.create(configMap('a'))).metadata
        const name = { namespace, name: 'a' }
        await cluster.apply(configMap('a', { x: '1' }))
        const other = '00000000-0000-4000-8000-000000000000'
        await expect(cluster.remove(configMaps, name, { uid: other })).rejects.toEqual(refusal('Conflict'))
        await expect(
          cluster.remove(configMaps, name, { uid: uid!, resourceVersion: resourceVersion! }),
        ).rejects.toEqual(refusal('Conflict'))
        await cluster.remove(configMaps, name, { uid: uid! })
        expect(await cluster.get(configMaps, name)).toBeUndefined()
      })

      test('removes what the object owned', async ({ skip }) => {
        skip(!world.collectsGarbage, 'nobody collects garbage here')
        const owner = (await world.put(configMap('owner'))).metadata
        const other = (await world.put(configMap('other'))).metadata
        const reference = ({ name, uid }: { name: string; uid?: string }) => ({ ...ownerKind, name, uid: uid! })
        const ownerKind = { apiVersion: 'v1', kind: 'ConfigMap' }
        await cluster.apply(configMap('mine', {}, { ownerReferences: [reference(owner)] }))
        await cluster.apply(configMap('shared', {}, { ownerReferences: [reference(owner), reference(other)] }))
        await cluster.apply(configMap('free'))
        await world.delete(configMaps, { namespace, name: 'owner' })
        await eventually('what was owned to go', async () => !(await names(configMaps, { namespace })).includes('mine'))
        await eventually('the reference to go', async () => {
          const { ownerReferences } = (await read(configMaps, 'shared')).metadata
          return ownerReferences?.length === 1 && ownerReferences[0]!.name === 'other'
        })
        expect(await names(configMaps, { namespace })).toEqual(expect.arrayContaining(['free', 'shared']))
        await cluster.apply(configMap('late', {}, { ownerReferences: [reference(owner)] }))
        await eventually(
          'what came too late to go',
          async () => !(await names(configMaps, { namespace })).includes('late'),
        )
      })
    })

    describe('watching', () => {
      const watching = async (resource: Resource, scope: WatchScope) => {
        const sink = new RecordingSink()
        const watch = cluster.watch(resource, scope, sink)
        expect(sink.calls).toEqual([])
        await eventually('the watch to be synced', () => sink.isSynced)
        return { sink, watch }
      }

      test('tells what is there, then what happens', async () => {
        await cluster.create(configMap('a', { x: '1' }, { labels: { watched: namespace } }))
        const { sink, watch } = await watching(configMaps, { namespace, labels: { watched: namespace } })
        expect(sink.calls).toEqual(['put a', 'synced'])
        const created = await cluster.create(configMap('b', {}, { labels: { watched: namespace } }))
        await cluster.create(configMap('unrelated'))
        await cluster.apply(configMap('b', { x: '1' }, { labels: { watched: namespace } }))
        await cluster.remove(configMaps, { namespace, name: 'a' })
        await eventually('the removal', () => !sink.objects.has(`${namespace}/a`))
        expect(sink.calls).toEqual(['put a', 'synced', 'put b', 'put b', 'gone a'])
        expect(sink.puts[1]).toEqual(created)
        await watch.stop()
      })

      test('what is there is told in the form in which it is read', async () => {
        await cluster.apply(gadget('a', { color: 'red' }))
        const { sink, watch } = await watching(gadgets, { namespace })
        expect(sink.puts).toEqual([await read(gadgets, 'a')])
        expect(Object.isFrozen(sink.puts[0]!.metadata)).toBe(true)
        await watch.stop()
      })

      test('an object that leaves the scope is gone, and put again when it comes back', async () => {
        const { sink, watch } = await watching(configMaps, { namespace, labels: { in: 'yes' } })
        await world.put(configMap('a', {}, { labels: { in: 'yes' } }))
        await world.put(configMap('a', {}, { labels: { in: 'no' } }))
        await world.put(configMap('a', {}, { labels: { in: 'no', more: 'x' } }))
        await world.put(configMap('a', {}, { labels: { in: 'yes' } }))
        await eventually('it to come back', () => sink.calls.length === 4)
        expect(sink.calls).toEqual(['synced', 'put a', 'gone a', 'put a'])
        await watch.stop()
      })

      test('an object that is made again is gone, then put', async () => {
        const { sink, watch } = await watching(configMaps, { namespace, labels: { again: 'yes' } })
        const labels = { again: 'yes' }
        await cluster.create(configMap('a', {}, { labels }))
        await cluster.remove(configMaps, { namespace, name: 'a' })
        const { uid } = (await cluster.create(configMap('a', {}, { labels }))).metadata
        await eventually('the second', () => sink.objects.get(`${namespace}/a`)?.metadata.uid === uid)
        expect(sink.calls).toEqual(['synced', 'put a', 'gone a', 'put a'])
        await watch.stop()
      })

      test('an apply without a change is not told', async () => {
        const { sink, watch } = await watching(configMaps, { namespace, labels: { same: 'yes' } })
        await cluster.apply(configMap('a', { x: '1' }, { labels: { same: 'yes' } }))
        await cluster.apply(configMap('a', { x: '1' }, { labels: { same: 'yes' } }))
        await cluster.apply(configMap('b', {}, { labels: { same: 'yes' } }))
        await eventually('the last', () => sink.objects.has(`${namespace}/b`))
        expect(sink.calls).toEqual(['synced', 'put a', 'put b'])
        await watch.stop()
      })

      test('metadata alone can be watched', async () => {
        await cluster.create(secret('a', { stringData: { x: '1' } }))
        const { sink, watch } = await watching(secrets, { namespace, metadataOnly: true })
        await cluster.apply(secret('a', { stringData: { x: '2' } }))
        await eventually('the change', () => sink.puts.length === 2)
        for (const object of sink.puts) {
          expect(Object.keys(object).sort()).toEqual(['apiVersion', 'kind', 'metadata'])
          expect(object).toMatchObject({ apiVersion: 'v1', kind: 'Secret', metadata: { namespace, name: 'a' } })
          expect(object.metadata).not.toHaveProperty('managedFields')
        }
        expect(sink.puts[1]!.metadata).toEqual((await read(secrets, 'a')).metadata)
        await watch.stop()
      })

      test('nothing comes after the end', async () => {
        const { sink, watch } = await watching(configMaps, { namespace, labels: { end: 'yes' } })
        const other = await watching(configMaps, { namespace, labels: { end: 'yes' } })
        const stopped = watch.stop()
        await cluster.create(configMap('a', {}, { labels: { end: 'yes' } }))
        await stopped
        await eventually('the other watch to hear of it', () => other.sink.calls.includes('put a'))
        expect(sink.calls).toEqual(['synced'])
        await other.watch.stop()
      })

      test('a sink that throws misses nothing of the rest', async () => {
        const sink = new (class extends RecordingSink {
          override put(object: KubeObject): void {
            super.put(object)
            throw new Error('the sink is broken')
          }
        })()
        await cluster.create(configMap('a', {}, { labels: { broken: 'yes' } }))
        const watch = cluster.watch(configMaps, { namespace, labels: { broken: 'yes' } }, sink)
        await cluster.create(configMap('b', {}, { labels: { broken: 'yes' } }))
        await eventually('the second', () => sink.objects.has(`${namespace}/b`) && sink.isSynced)
        await watch.stop()
      })

      test('gives a sign of life', async () => {
        const before = performance.now()
        const { watch } = await watching(configMaps, { namespace })
        expect(watch.lastProgress()).toBeGreaterThanOrEqual(before)
        expect(watch.lastProgress()).toBeLessThanOrEqual(performance.now())
        await watch.stop()
      })
    })

    describe('events', () => {
      test('are recorded', async () => {
        const about = await world.put(gadget('a', {}))
        cluster.emit({ regarding: about, type: 'Warning', reason: 'Broken', action: 'Reconcile', note: 'it is broken' })
        await eventually('the event', async () => (await world.notes(about)).includes('it is broken'))
      })
    })
  })
}
