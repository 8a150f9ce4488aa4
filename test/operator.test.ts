import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { accessPolicies, apiKeys, configMaps, namespaces, secrets } from '../src/api/names.ts'
import type { ConfigMap, KubeObject, Secret } from '../src/api/object.ts'
import { digestOf, digestToText } from '../src/core/key.ts'
import {
  accessPolicy,
  adopting,
  apiKey,
  asking,
  disabled,
  expiring,
  granting,
  guarding,
  inNamespace,
  knownBy,
  manifestOf,
  withSpec,
} from './support/builders.ts'
import { Operated } from './support/operated.ts'
import { eventually } from './support/wait.ts'

let world: Operated
beforeEach(() => {
  world = new Operated()
})
afterEach(() => world.close())

const put = (...drafts: Parameters<typeof manifestOf>[0][]): Promise<unknown> =>
  drafts.reduce<Promise<unknown>>(
    (before, draft) => before.then(() => world.cluster.put(manifestOf(draft))),
    Promise.resolve(),
  )
const secretOf = (name: string, data: Record<string, string>): KubeObject =>
  ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name, namespace: 'shop' },
    data: Object.fromEntries(
      Object.entries(data).map(([entry, text]) => [entry, Buffer.from(text).toString('base64')]),
    ),
  }) as KubeObject
const namespaceOf = (name: string, labels: Record<string, string>): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name, labels },
})
const shop = (name: string) => ({ namespace: 'shop', name })
const key = async (name: string, namespace?: string): Promise<string> =>
  eventually(`a key in Secret ${name}`, () => world.keyIn(name, namespace))
const withKey = (text: string) => ({ fields: ['X-API-Key', text] })

/** A look at everything that was asked for before has been had when a key that is put now is ready. */
let probes = 0
async function allSeen(): Promise<void> {
  const name = `probe-${probes++}`
  await put(apiKey(name, asking('orders')))
  await world.keyIs('True Ready', name)
}

describe('a key', () => {
  test('opens what it asks for from apply to delete', async () => {
    await world.begin()
    await put(accessPolicy('orders'), apiKey('a', asking('orders')))
    await world.keyIs('True Ready', 'a')
    const text = await key('a')
    await world.judges('orders', withKey(text), 'Allowed')
    await put(apiKey('a', asking('orders'), disabled()))
    await world.judges('orders', withKey(text), 'KeyDisabled')
    await world.keyIs('False Disabled', 'a')
    await put(apiKey('a', asking('orders')))
    await world.judges('orders', withKey(text), 'Allowed')
    await world.keyIs('True Ready', 'a')
    await world.cluster.delete(apiKeys, shop('a'))
    await world.judges('orders', withKey(text), 'KeyUnknown')
    expect(await world.get(secrets, 'a')).toBeUndefined()
    await world.policyIs('True Ready', 'orders')
  })

  test('waits for its policy, and heals when it comes', async () => {
    await world.begin()
    await put(apiKey('a', asking('orders')))
    await world.keyIs('False PolicyNotFound', 'a')
    const text = await key('a')
    await put(accessPolicy('orders'))
    await world.keyIs('True Ready', 'a')
    await world.judges('orders', withKey(text), 'Allowed')
    await world.cluster.delete(accessPolicies, shop('orders'))
    await world.keyIs('False PolicyNotFound', 'a')
    expect(await world.get(configMaps, 'postern-orders')).toBeUndefined()
    expect(await world.keyIn('a')).toBe(text)
  })

  test('that asks for every policy opens those that come later', async () => {
    await world.begin()
    await put(accessPolicy('orders'), apiKey('a', asking('*')))
    await world.keyIs('True Ready', 'a')
    await put(accessPolicy('stock'))
    await world.judges('stock', withKey(await key('a')), 'Allowed')
    await world.keyIs('True Ready', 'a')
  })

  test('changes with what its policy grants, and with the labels of its namespace', async () => {
    await world.begin()
    const billing = { namespace: 'billing', name: 'b' }
    await put(
      accessPolicy(
        'orders',
        granting({ namespaces: { from: 'Selector', selector: { matchLabels: { team: 'billing' } } } }),
      ),
    )
    await put(apiKey('b', inNamespace('billing'), asking('shop/orders')))
    await world.keyIs('False NamespaceNotGranted', billing)
    const text = await key('b', 'billing')
    await world.cluster.put(namespaceOf('billing', { team: 'billing' }))
    await world.keyIs('True Ready', billing)
    await world.judges('orders', withKey(text), 'Allowed')
    await world.cluster.put(namespaceOf('billing', { team: 'other' }))
    await world.judges('orders', withKey(text), 'KeyUnknown')
    await world.keyIs('False NamespaceNotGranted', billing)
    await put(accessPolicy('orders', granting({ namespaces: { from: 'All' } })))
    await world.keyIs('True Ready', billing)
    await world.cluster.delete(namespaces, { name: 'billing' })
    await allSeen()
    await world.keyIs('True Ready', billing)
  })

  test('says that it has expired when it has', async () => {
    await world.begin()
    const soon = new Date(Math.ceil(Date.now() / 1000) * 1000 + 1000).toISOString()
    await put(accessPolicy('orders'), apiKey('a', asking('orders'), expiring(soon)))
    await world.keyIs('False Expired', 'a')
    await world.judges('orders', withKey(await key('a')), 'KeyExpired')
  })

  test('that is deleted and made again has another value, and the old one is refused', async () => {
    await world.begin()
    await put(accessPolicy('orders'), apiKey('a', asking('orders')))
    await world.keyIs('True Ready', 'a')
    const old = await key('a')
    await world.cluster.delete(apiKeys, shop('a'))
    await put(apiKey('a', asking('orders')))
    await world.keyIs('True Ready', 'a')
    expect(await key('a')).not.toBe(old)
    await world.judges('orders', withKey(old), 'KeyUnknown')
  })
})

describe('the Secret of a key', () => {
  test('that was deleted comes back with another value under the same key id', async () => {
    await world.begin()
    await put(accessPolicy('orders'), apiKey('a', asking('orders')))
    await world.keyIs('True Ready', 'a')
    const old = await key('a')
    await world.cluster.delete(secrets, shop('a'))
    const made = await eventually('another key', async () => {
      const found = await world.keyIn('a')
      return found !== old && found
    })
    expect(made.split('_')[1]).toBe(old.split('_')[1])
    await world.judges('orders', withKey(made), 'Allowed')
    await world.judges('orders', withKey(old), 'KeyUnknown')
  })

  test('that was edited is refused until it is restored', async () => {
    await world.begin()
    await put(accessPolicy('orders'), apiKey('a', asking('orders')))
    await world.keyIs('True Ready', 'a')
    const text = await key('a')
    const { data } = (await world.get(secrets, 'a')) as Secret
    const stranger = text.replaceAll(/[A-Za-z0-9]{20}$/g, 'x'.repeat(20))
    const edit = (entries: Record<string, string>) =>
      world.cluster.put({ ...secretOf('a', {}), data: entries } as KubeObject)
    const forged = Object.fromEntries(
      Object.keys(data!).map((name) => [name, Buffer.from(stranger).toString('base64')]),
    )
    await edit(forged)
    await world.keyIs('False SecretTampered', 'a')
    await world.judges('orders', withKey(text), 'KeyUnknown')
    await world.judges('orders', withKey(stranger), 'KeyMalformed')
    await edit(data!)
    await world.keyIs('True Ready', 'a')
    await world.judges('orders', withKey(text), 'Allowed')
  })

  test('that lost its labels gets them back', async () => {
    await world.begin()
    await put(accessPolicy('orders'), apiKey('a', asking('orders')))
    await world.keyIs('True Ready', 'a')
    const text = await key('a')
    const stored = (await world.get(secrets, 'a'))!
    await world.cluster.replace({ ...stored, metadata: { ...stored.metadata, labels: {} } })
    await eventually(
      'the label',
      async () => (await world.get(secrets, 'a'))?.metadata.labels?.['postern.dev/managed'] === 'true',
    )
    expect(await key('a')).toBe(text)
    await world.keyIs('True Ready', 'a')
  })

  test('of somebody else is never touched', async () => {
    await world.begin()
    const foreign = await world.cluster.put(secretOf('a', { password: 'theirs' }))
    await put(accessPolicy('orders'), apiKey('a', asking('orders')))
    await world.keyIs('False SecretNotOwned', 'a')
    await allSeen()
    expect(await world.get(secrets, 'a')).toEqual(foreign)
    await world.cluster.delete(secrets, shop('a'))
    await world.keyIs('True Ready', 'a')
  })
})

describe('a key that was made elsewhere', () => {
  const one = 'made-elsewhere-0123456789-abcdefghijk'
  const two = 'made-elsewhere-9876543210-lmnopqrstuv'
  test('is adopted when its Secret comes, and follows it', async () => {
    await world.begin()
    await put(accessPolicy('orders'), apiKey('a', asking('orders'), adopting('theirs', 'token')))
    await world.keyIs('False SecretNotFound', 'a')
    await world.cluster.put(secretOf('theirs', { other: 'x' }))
    await allSeen()
    await world.keyIs('False SecretNotFound', 'a')
    await world.cluster.put(secretOf('theirs', { token: one }))
    await world.keyIs('True Ready', 'a')
    await world.judges('orders', withKey(one), 'Allowed')
    await world.cluster.put(secretOf('theirs', { token: two }))
    await world.judges('orders', withKey(two), 'Allowed')
    await world.judges('orders', withKey(one), 'KeyUnknown')
    await world.cluster.put(secretOf('theirs', { token: 'weak' }))
    await world.keyIs('False KeyWeak', 'a')
    await world.judges('orders', withKey(two), 'KeyUnknown')
    await world.cluster.delete(secrets, shop('theirs'))
    await world.keyIs('False SecretNotFound', 'a')
    expect(await world.get(secrets, 'a')).toBeUndefined()
  })

  test('may be known by its digest alone', async () => {
    await world.begin()
    await put(
      accessPolicy('orders'),
      apiKey('a', asking('orders'), knownBy(digestToText(digestOf(one).toString('base64url')))),
    )
    await world.keyIs('True Ready', 'a')
    await world.judges('orders', withKey(one), 'Allowed')
  })

  test('belongs to the older of two, and then to the younger', async () => {
    await world.begin()
    await world.cluster.put(secretOf('theirs', { token: one }))
    await put(accessPolicy('orders'), apiKey('older', asking('orders'), adopting('theirs', 'token')))
    await world.keyIs('True Ready', 'older')
    await put(apiKey('younger', asking('orders'), adopting('theirs', 'token')))
    await world.keyIs('False DuplicateKey', 'younger')
    await world.keyIs('True Ready', 'older')
    expect((await world.setOf('orders'))!.find(digestOf(one))!.name).toBe('older')
    await world.cluster.delete(apiKeys, shop('older'))
    await world.keyIs('True Ready', 'younger')
    await world.judges('orders', withKey(one), 'Allowed')
    expect((await world.setOf('orders'))!.find(digestOf(one))!.name).toBe('younger')
  })

  test('belongs to the older also where the younger had it first', async () => {
    await world.begin()
    await world.cluster.put(secretOf('one', { token: one }))
    await put(accessPolicy('orders'), apiKey('older', asking('orders'), adopting('late', 'token')))
    await world.keyIs('False SecretNotFound', 'older')
    await put(apiKey('younger', asking('orders'), adopting('one', 'token')))
    await world.keyIs('True Ready', 'younger')
    await world.cluster.put(secretOf('late', { token: one }))
    await world.keyIs('True Ready', 'older')
    await world.keyIs('False DuplicateKey', 'younger')
  })
})

describe('one bad object', () => {
  test('harms nobody else', async () => {
    await world.begin()
    await put(accessPolicy('orders'), apiKey('good', asking('orders')))
    await put(apiKey('bad', asking('orders'), withSpec({ allowedAddresses: ['10.0.0.1/8'] })))
    await put(apiKey('past', asking('orders'), expiring('1969-01-01T00:00:00Z')))
    await put(accessPolicy('broken', withSpec({ roles: [{ name: 'R', interfaces: ['nope'] }] })))
    await put(apiKey('unlucky', asking('broken'), asking('orders')))
    await world.keyIs('True Ready', 'good')
    await world.keyIs('False SpecInvalid', 'bad')
    await world.keyIs('False Expired', 'past')
    await world.policyIs('False SpecInvalid', 'broken')
    await world.keyIs('False PolicyNotAccepted', 'unlucky')
    await world.judges('orders', withKey(await key('good')), 'Allowed')
    await world.judges('orders', withKey(await key('unlucky')), 'Allowed')
    expect(await world.get(configMaps, 'postern-broken')).toBeUndefined()
    await put(accessPolicy('broken'))
    await world.keyIs('True Ready', 'unlucky')
  })

  test('a policy that becomes invalid keeps what it had, and its keys revocable', async () => {
    await world.begin()
    await put(accessPolicy('orders'), apiKey('a', asking('orders')), apiKey('b', asking('orders')))
    await world.keyIs('True Ready', 'a')
    await world.keyIs('True Ready', 'b')
    const [a, b] = [await key('a'), await key('b')]
    await put(accessPolicy('orders', withSpec({ roles: [{ name: 'R', interfaces: ['nope'] }] })))
    await world.policyIs('False SpecInvalid', 'orders')
    await world.judges('orders', withKey(a), 'Allowed')
    await world.cluster.delete(apiKeys, shop('a'))
    await world.judges('orders', withKey(a), 'KeyUnknown')
    await world.judges('orders', withKey(b), 'Allowed')
  })
})

describe('policies', () => {
  test('that claim one port: the older has it, and the younger when the older goes', async () => {
    await world.begin()
    await put(
      accessPolicy('older', guarding({ app: 'x' }, 80)),
      accessPolicy('younger', guarding({ app: 'x', tier: 'y' }, 80)),
    )
    await put(apiKey('a', asking('younger')))
    await world.policyIs('True Ready', 'older')
    await world.policyIs('False Conflicted', 'younger')
    await world.keyIs('False PolicyNotAccepted', 'a')
    await world.cluster.delete(accessPolicies, shop('older'))
    await world.policyIs('True Ready', 'younger')
    await world.keyIs('True Ready', 'a')
  })

  test('that are suspended refuse every key at once', async () => {
    await world.begin()
    await put(accessPolicy('orders'), apiKey('a', asking('orders')))
    await world.judges('orders', withKey(await key('a')), 'Allowed')
    await put(accessPolicy('orders', withSpec({ suspended: true })))
    await world.judges('orders', withKey(await key('a')), 'PolicySuspended')
  })

  test('may spread over more ConfigMaps, and fewer again', async () => {
    await world.begin()
    await put(accessPolicy('orders', withSpec({ verification: { shards: 4 } })), apiKey('a', asking('orders')))
    await world.keyIs('True Ready', 'a')
    const names = async (): Promise<string[]> => {
      const found: string[] = []
      for await (const { metadata } of world.cluster.list(configMaps, { namespace: 'shop' })) found.push(metadata.name)
      return found
    }
    expect(await names()).toEqual(['postern-orders', ...[1, 2, 3].map((shard) => `postern-orders.keys-${shard}`)])
    await put(accessPolicy('orders'))
    await eventually('one ConfigMap', async () => (await names()).join() === 'postern-orders')
    await world.judges('orders', withKey(await key('a')), 'Allowed')
  })
})

describe('a verification ConfigMap', () => {
  const edit = async (change: (map: ConfigMap) => object): Promise<void> => {
    const map = (await world.get(configMaps, 'postern-orders')) as ConfigMap
    await world.cluster.replace({ ...map, ...change(map) } as KubeObject)
  }
  test.each<[what: string, change: (map: ConfigMap) => object]>([
    ['was emptied', () => ({ data: {} })],
    ['was edited', (map) => ({ data: { ...map.data, 'keys-0': '' } })],
    ['lost its labels', (map) => ({ metadata: { ...map.metadata, labels: {} } })],
  ])('that %s is written again', async (_, change) => {
    await world.begin()
    await put(accessPolicy('orders'), apiKey('a', asking('orders')))
    await world.keyIs('True Ready', 'a')
    const sequence = (await world.setOf('orders'))!.manifest.sequence
    await edit(change)
    await eventually('a later set', async () => ((await world.setOf('orders'))?.manifest.sequence ?? 0) > sequence)
    await world.judges('orders', withKey(await key('a')), 'Allowed')
  })

  test('that was deleted is written again', async () => {
    await world.begin()
    await put(accessPolicy('orders'), apiKey('a', asking('orders')))
    await world.keyIs('True Ready', 'a')
    await world.cluster.delete(configMaps, shop('postern-orders'))
    await world.judges('orders', withKey(await key('a')), 'Allowed')
  })

  test('of somebody else is never touched', async () => {
    await world.begin()
    const foreign = await world.cluster.put({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'postern-orders', namespace: 'shop' },
      data: { a: 'b' },
    } as KubeObject)
    await put(accessPolicy('orders'))
    await world.policyIs('False ConfigMapNotOwned', 'orders')
    expect(await world.get(configMaps, 'postern-orders')).toEqual(foreign)
  })

  test('that a stranger puts under our labels stops nothing', async () => {
    await world.begin()
    const labels = { 'postern.dev/managed': 'true', 'postern.dev/policy': 'orders' }
    const decoy = await world.cluster.put({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'decoy', namespace: 'shop', labels },
    })
    await put(accessPolicy('orders'), apiKey('a', asking('orders')))
    await world.keyIs('True Ready', 'a')
    await world.policyIs('True Ready', 'orders')
    expect(await world.get(configMaps, 'decoy')).toEqual(decoy)
  })
})

describe('an operator that begins anew', () => {
  test('mints nothing and rewrites nothing', async () => {
    await world.begin()
    const names = Array.from({ length: 20 }, (_, at) => `client-${at}`)
    await world.cluster.put(secretOf('theirs', { token: 'made-elsewhere-0123456789-abcdefghijk' }))
    await put(
      accessPolicy('orders'),
      accessPolicy('other'),
      apiKey('adopted', asking('orders'), adopting('theirs', 'token')),
    )
    await put(...names.map((name) => apiKey(name, asking('orders'))))
    for (const name of [...names, 'adopted']) await world.keyIs('True Ready', name)
    await world.policyIs('True Ready', 'orders')
    await world.policyIs('True Ready', 'other')
    await allSeen()
    await world.end()
    const state = async (): Promise<unknown[]> =>
      Promise.all([
        ...names.map((name) => world.versionOf(secrets, name)),
        ...[...names, 'adopted'].map((name) => world.versionOf(apiKeys, name)),
        world.versionOf(configMaps, 'postern-other'),
        world.versionOf(accessPolicies, 'other'),
        world.versionOf(secrets, 'postern-keys', 'postern-system'),
      ])
    const before = await state()
    const published = await world.versionOf(configMaps, 'postern-orders')
    const { epoch } = (await world.setOf('orders'))!.manifest
    await world.begin()
    await put(apiKey('idle', asking('nothing')))
    await world.keyIs('False PolicyNotFound', 'idle')
    expect(await world.versionOf(configMaps, 'postern-orders')).toBe(published)
    // What it publishes itself begins a new epoch: it cannot know what sidecars have seen.
    await allSeen()
    expect((await world.setOf('orders'))!.manifest).toMatchObject({ sequence: 1 })
    expect((await world.setOf('orders'))!.manifest.epoch).toBeGreaterThan(epoch)
    expect(await state()).toEqual(before)
  })

  test('catches up with what happened meanwhile', async () => {
    await world.begin()
    await put(accessPolicy('orders'), apiKey('a', asking('orders')), apiKey('b', asking('orders')))
    await world.keyIs('True Ready', 'a')
    await world.keyIs('True Ready', 'b')
    const [a, b] = [await key('a'), await key('b')]
    await world.end()
    await world.cluster.delete(apiKeys, shop('a'))
    await put(apiKey('b', asking('orders'), disabled()), apiKey('c', asking('orders')))
    await world.judges('orders', withKey(a), 'Allowed')
    await world.begin()
    await world.judges('orders', withKey(a), 'KeyUnknown')
    await world.judges('orders', withKey(b), 'KeyDisabled')
    await world.judges('orders', withKey(await key('c')), 'Allowed')
  })

  test('with another key prefix leaves the keys that there are', async () => {
    await world.begin()
    await put(accessPolicy('orders'), apiKey('a', asking('orders')))
    await world.keyIs('True Ready', 'a')
    const text = await key('a')
    await world.end()
    await world.begin({ keyPrefix: 'acme' })
    await put(apiKey('b', asking('orders')))
    await world.keyIs('True Ready', 'b')
    expect((await key('b')).startsWith('acme_')).toBe(true)
    expect(await key('a')).toBe(text)
    await world.keyIs('True Ready', 'a')
    await world.judges('orders', withKey(text), 'Allowed')
  })
})

describe('two operators at once', () => {
  test('make one key of each, sign with the same keys, and come to rest', async () => {
    const [one, two] = await Promise.all([world.begin(), world.begin()])
    expect(one!.publicKeys).toEqual(two!.publicKeys)
    const names = Array.from({ length: 10 }, (_, at) => `client-${at}`)
    await put(accessPolicy('orders'), ...names.map((name) => apiKey(name, asking('orders'))))
    for (const name of names) {
      await world.keyIs('True Ready', name)
      await world.judges('orders', withKey(await key(name)), 'Allowed')
    }
    await world.cluster.delete(apiKeys, shop('client-3'))
    await eventually('nine keys', async () => (await world.setOf('orders'))?.manifest.keys === 9)
    expect(one!.problem() ?? two!.problem()).toBeUndefined()
  })
})

test('no key is in a log, a status, an event or a ConfigMap', async () => {
  await world.begin()
  await put(accessPolicy('orders'), apiKey('a', asking('orders')), apiKey('b', asking('gone')))
  await world.keyIs('True Ready', 'a')
  await world.keyIs('False PolicyNotFound', 'b')
  const told: string[] = [...world.lines, JSON.stringify(world.cluster.events())]
  for (const resource of [apiKeys, accessPolicies, configMaps])
    for await (const object of world.cluster.list(resource)) told.push(JSON.stringify(object))
  expect(told.length).toBeGreaterThan(5)
  for (const name of ['a', 'b']) {
    const secret = (await key(name)).split('_')[2]!
    expect(told.filter((text) => text.includes(secret))).toEqual([])
  }
})
