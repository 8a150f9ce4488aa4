import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { accessPolicies, apiKeys, configMaps } from '../../src/api/names.ts'
import { configMapName } from '../../src/api/verification.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { eventually } from '../support/wait.ts'
import { type History, recordHistory } from './history.ts'
import { type Installed, install } from './installed.ts'
import { conditionOf } from './objects.ts'
import { newScene } from './scene.ts'

vi.setConfig({ testTimeout: 120_000 })

let postern: Installed
let history: History

beforeAll(async () => {
  postern = await install()
})
afterAll(() => postern?.stop())
beforeEach(async () => {
  history = await recordHistory(postern.plane.kubeconfig)
})
afterEach(async () => {
  await history.stop()
})

type Scene = Awaited<ReturnType<typeof newScene>>

const names = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${prefix}${index}`)

/** So many at once, each until it succeeds: what is applied while a server is down is applied again. */
async function applyAll(each: readonly string[], apply: (name: string) => Promise<unknown>): Promise<void> {
  const waiting = [...each]
  const work = async (): Promise<void> => {
    for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
      const current = name
      await eventually(
        `${name} to be applied`,
        () =>
          apply(current).then(
            () => true,
            () => false,
          ),
        60,
      )
    }
  }
  await Promise.all(Array.from({ length: 16 }, work))
}

const reasonsIn = async ({ namespace }: Scene): Promise<ReadonlyMap<string, string | undefined>> => {
  const keys = await postern.objects.list(apiKeys, namespace)
  return new Map(
    keys.map((key) => {
      const { metadata, status } = key
      const current = status?.observedGeneration === metadata.generation
      return [metadata.name, current ? conditionOf(key, 'Ready')?.reason : undefined]
    }),
  )
}

const allReady = (scene: Scene, each: readonly string[], seconds = 60): Promise<true> =>
  eventually(
    `${each.length} keys to be Ready`,
    async () => {
      const reasons = await reasonsIn(scene).catch(() => new Map<string, string>())
      return each.every((name) => reasons.get(name) === 'Ready')
    },
    seconds,
  )

async function expectAllIn(scene: Scene, each: readonly string[]): Promise<void> {
  const set = await eventually('the whole set', async () => {
    const published = await postern.publishedSet(scene.namespace, 'orders')
    return published?.manifest.keys === each.length && published
  })
  expect(set.manifest.keys).toBe(each.length)
  expect(await postern.verdict(scene.namespace, 'orders', await scene.value(each[0]!))).toBe('Allowed')
  expect(await postern.verdict(scene.namespace, 'orders', await scene.value(each.at(-1)!))).toBe('Allowed')
  expect(history.overwritten()).toEqual([])
  expect(history.rolledBack()).toEqual([])
}

test('an operator that crashes again and again loses no value, and no order of sets', async () => {
  const scene = await newScene(postern)
  await scene.policy()
  const keys = names('k', 200)
  const applied = applyAll(keys, (name) => scene.key(name))
  for (const some of [10, 80, 150]) {
    await eventually(`${some} Secrets`, () => history.secrets >= some, 60)
    await postern.operator.stop('SIGKILL')
    await postern.operator.start()
  }
  await applied
  await allReady(scene, keys)
  await expectAllIn(scene, keys)
})

test('an operator that ends in good order finishes what it is at', async () => {
  const scene = await newScene(postern)
  await scene.policy()
  const keys = names('k', 60)
  const applied = applyAll(keys, (name) => scene.key(name))
  await eventually('some Secrets', () => history.secrets >= 20)
  await postern.operator.stop('SIGTERM')
  expect(postern.operator.log()).toContain('The operator ends')
  await applied
  await postern.operator.start()
  await allReady(scene, keys)
  await expectAllIn(scene, keys)
})

test('two operators at once come to the same', async () => {
  const scene = await newScene(postern)
  const second = await postern.anotherOperator('second', postern.kubeconfig)
  await scene.policy()
  const keys = names('k', 100)
  await applyAll(keys, (name) => scene.key(name))
  await allReady(scene, keys)
  await expectAllIn(scene, keys)
  await second.stop('SIGTERM')
})

test('a stale operator, which knows no news and still writes, brings nothing back', async () => {
  const scene = await newScene(postern)
  await scene.policy()
  for (const name of ['a', 'b']) await scene.key(name)
  await allReady(scene, ['a', 'b'])
  const revoked = await scene.value('b')

  const proxy = await startFaultProxy(postern.kubeconfig)
  let stale = false
  proxy.fault(({ isWatch, url }) =>
    isWatch && !url.includes('accesspolicies') ? (line) => (stale ? [] : [line]) : undefined,
  )
  const second = await postern.anotherOperator('stale', await proxy.kubeconfig())
  stale = true
  await postern.objects.delete(apiKeys, scene.at('b'))
  await scene.judged(revoked, 'KeyUnknown')
  const before = proxy.requests.length
  await scene.policy({ suspended: true })
  await eventually('the stale one to write', () =>
    proxy.requests.slice(before).some(({ method, url }) => method === 'PATCH' && url.includes(configMapName('orders'))),
  )
  await scene.judged(await scene.value('a'), 'PolicySuspended')
  await scene.policy({ suspended: false })
  await scene.judged(await scene.value('a'), 'Allowed')
  expect(await postern.verdict(scene.namespace, 'orders', revoked)).toBe('KeyUnknown')
  expect(history.rolledBack()).toEqual([])
  expect(history.overwritten()).toEqual([])
  await second.stop()
  await proxy.close()
})

test('restarts of the API server and of etcd in the midst of it only take time', async () => {
  const scene = await newScene(postern)
  await scene.policy()
  const keys = names('k', 120)
  const applied = applyAll(keys, (name) => scene.key(name))
  await eventually('some Secrets', () => history.secrets >= 20)
  await postern.plane.restartApiServer()
  await eventually('more Secrets', () => history.secrets >= 50, 60)
  await postern.plane.restartEtcd()
  await applied
  await allReady(scene, keys)
  await expectAllIn(scene, keys)
  expect(await postern.operator.ask('/healthz')).toMatchObject({ status: 200 })
  // The watches are alive: what happens now is seen.
  await postern.objects.delete(apiKeys, scene.at('k0'))
  await eventually('the key to be gone', async () => {
    return (await postern.publishedSet(scene.namespace, 'orders'))!.manifest.keys === keys.length - 1
  })
})

test('2,000 keys at once, some of them wrong, all get what they deserve', async () => {
  const scene = await newScene(postern)
  await scene.policy()
  const keys = names('k', 2000)
  const writesBefore = postern.requests().length
  const wrong = {
    role: { access: [{ policy: { name: 'orders' }, roles: ['Nobody'] }] },
    policy: { access: [{ policy: { name: 'nobody' } }] },
    secret: { ...scene.asking(), source: { existing: { secretRef: { name: 'nobody', key: 'key' } } } },
  }
  await expect(scene.key('refused', { ...scene.asking(), allowedAddresses: ['10.0.0.1/8'] })).rejects.toThrow(
    'spec.allowedAddresses[0]',
  )
  await scene.policy({ roles: [{ name: 'A', interfaces: ['nobody'] }] }, 'wrong')
  await applyAll([...keys.slice(0, 1000), ...Object.keys(wrong), ...keys.slice(1000)], (name) =>
    scene.key(name, wrong[name as keyof typeof wrong] ?? scene.asking()),
  )
  await allReady(scene, keys, 100)
  await expectAllIn(scene, keys)
  const reasons = await reasonsIn(scene)
  expect(Object.keys(wrong).map((name) => reasons.get(name))).toEqual([
    'RoleUnknown',
    'PolicyNotFound',
    'SecretNotFound',
  ])
  expect((await scene.policyReady('wrong', 'SpecInvalid')).message).toContain('.spec.roles[0].interfaces[0]')
  const counted = await postern.objects.until(accessPolicies, scene.at('orders'), 'counts', ({ status }) => {
    return (status?.keys as { active: number } | undefined)?.active === 2000
  })
  expect(counted.status).toMatchObject({ keys: { active: 2000, refused: 2 } })
  const writes = postern
    .requests()
    .slice(writesBefore)
    .filter(({ verb, stage, objectRef }) => {
      return verb === 'patch' && stage === 'ResponseComplete' && /^k\d+$/.test(objectRef.name ?? '')
    })
  expect(writes.length / keys.length).toBeLessThanOrEqual(3)
  const sets = postern.requests().filter(({ verb, stage, objectRef }) => {
    const isSet = objectRef.resource === configMaps.plural && objectRef.namespace === scene.namespace
    return verb === 'patch' && stage === 'ResponseComplete' && isSet
  })
  // One write in two seconds, not one for each key.
  expect(sets.length).toBeLessThan(100)
})
