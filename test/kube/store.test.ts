import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { KubeObject } from '../../src/api/object.ts'
import { Store } from '../../src/kube/store.ts'

const object = (
  name: string,
  version: number,
  rest: { uid?: string; labels?: Record<string, string> } = {},
): KubeObject => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { namespace: 'n', name, uid: `uid-${name}`, resourceVersion: String(version), ...rest },
})

const makeStore = () =>
  new Store<KubeObject, 'team'>({
    transform: (object) => (object.metadata.labels?.hidden ? undefined : object),
    indexes: { team: ({ metadata }) => metadata.labels?.team?.split('-') ?? [] },
  })

const names = (objects: Iterable<KubeObject>) => [...objects].map(({ metadata }) => metadata.name).sort()

test('keeps the newest version', () => {
  const store = makeStore()
  store.put(object('a', 9))
  store.put(object('a', 10))
  store.put(object('a', 9))
  expect(store.get({ namespace: 'n', name: 'a' })?.metadata.resourceVersion).toBe('10')
})

test('compares versions beyond what a number can tell apart', () => {
  const store = makeStore()
  const at = (resourceVersion: string) => ({
    ...object('a', 0),
    metadata: { ...object('a', 0).metadata, resourceVersion },
  })
  store.put(at('9007199254740993'))
  store.put(at('9007199254740992'))
  expect(store.get({ namespace: 'n', name: 'a' })?.metadata.resourceVersion).toBe('9007199254740993')
})

test('tells listeners what was and what is, once for each version', () => {
  const store = makeStore()
  const told: unknown[] = []
  store.onChange(({ name, before, after }) =>
    told.push([name, before?.metadata.resourceVersion, after?.metadata.resourceVersion]),
  )
  store.put(object('a', 1))
  store.put(object('a', 1))
  store.put(object('a', 2))
  store.gone({ namespace: 'n', name: 'a', uid: 'uid-a' })
  store.gone({ namespace: 'n', name: 'a', uid: 'uid-a' })
  const name = { namespace: 'n', name: 'a' }
  expect(told).toEqual([
    [name, undefined, '1'],
    [name, '1', '2'],
    [name, '2', undefined],
  ])
})

test('a removal of an earlier object of that name removes nothing', () => {
  const store = makeStore()
  store.put(object('a', 5, { uid: 'second' }))
  store.gone({ namespace: 'n', name: 'a', uid: 'first' })
  expect(store.size).toBe(1)
})

test('another object of that name replaces what is there, whatever its version', () => {
  const store = makeStore()
  store.put(object('a', 5, { uid: 'first' }))
  store.put(object('a', 3, { uid: 'second' }))
  expect(store.get({ namespace: 'n', name: 'a' })?.metadata.uid).toBe('second')
})

test('what the transform does not keep is not there, also when it was', () => {
  const store = makeStore()
  store.put(object('a', 1, { labels: { team: 'x' } }))
  store.put(object('a', 2, { labels: { team: 'x', hidden: 'yes' } }))
  expect(store.size).toBe(0)
  expect(store.by('team', 'x')).toEqual([])
})

test('resolves when it is synced', async () => {
  const store = makeStore()
  expect(store.isSynced).toBe(false)
  store.synced()
  await store.whenSynced()
  expect(store.isSynced).toBe(true)
})

describe('errors', () => {
  test('a listener that fails keeps nothing from the others and is reported to the watch', () => {
    const store = makeStore()
    const heard: string[] = []
    store.onChange(() => {
      throw new Error('first')
    })
    store.onChange(({ name }) => heard.push(name.name))
    expect(() => store.put(object('a', 1))).toThrow('first')
    expect(heard).toEqual(['a'])
    expect(store.size).toBe(1)
  })

  test('an object that cannot be transformed or indexed leaves the store as it was', () => {
    let breaks = false
    const store = new Store({
      transform: (object: KubeObject) => object,
      indexes: {
        name: ({ metadata }) => {
          if (breaks) throw new Error('no index')
          return [metadata.name]
        },
      },
    })
    store.put(object('a', 1))
    breaks = true
    expect(() => store.put(object('a', 2))).toThrow('no index')
    expect(store.by('name', 'a')).toHaveLength(1)
    expect(store.get({ namespace: 'n', name: 'a' })?.metadata.resourceVersion).toBe('1')
  })
})

test('an index finds exactly what a search through everything would', () => {
  const put = fc.record({
    name: fc.constantFrom('a', 'b', 'c'),
    uid: fc.constantFrom('1', '2'),
    version: fc.nat({ max: 20 }),
    team: fc.constantFrom('x', 'y', 'x-y', 'x-x', ''),
    gone: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(put, { maxLength: 40 }), (puts) => {
      const store = makeStore()
      for (const { name, uid, version, team, gone } of puts) {
        if (gone) store.gone({ namespace: 'n', name, uid })
        else store.put(object(name, version, { uid, labels: team === '' ? {} : { team } }))
        for (const key of ['x', 'y', 'z']) {
          const expected = [...store.list()].filter(({ metadata }) => metadata.labels?.team?.split('-').includes(key))
          expect(names(store.by('team', key))).toEqual(names(expected))
        }
      }
    }),
  )
})
