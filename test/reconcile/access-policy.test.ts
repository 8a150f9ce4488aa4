import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { AccessPolicy, AccessPolicyStatus } from '../../src/api/access-policy.ts'
import type { ApiKey } from '../../src/api/api-key.ts'
import type { ConfigMap } from '../../src/api/object.ts'
import { type Manifest, manifestFile } from '../../src/api/verification.ts'
import { digestOf } from '../../src/core/key.ts'
import { compilePolicy } from '../../src/core/policy.ts'
import {
  type AskingKey,
  claimsSamePort,
  type ObservedAccessPolicy,
  type PolicyPlan,
  reconcileAccessPolicy,
} from '../../src/core/reconcile/access-policy.ts'
import { parseApiKey } from '../../src/core/reconcile/api-key.ts'
import { openFiles, verdict } from '../support/asked.ts'
import {
  accessPolicy,
  afterNoon,
  apiKey,
  asking,
  disabled,
  expiring,
  inNamespace,
  noon,
  notBefore,
  secondsOf,
  withMeta,
  withSpec,
} from '../support/builders.ts'
import { filesOf, keyIdOf, keyOf, nextSigner, signer } from '../support/verification.ts'

const shards = (count: number) => withSpec({ verification: { shards: count } })
const policy = accessPolicy('orders')

/** A key that asks, with the value of this number; without one, it has none yet. */
function askingKey(object: ApiKey, number?: number, namespaceLabels = {}): AskingKey {
  const parsed = parseApiKey(object)
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems))
  const key = keyOf(number ?? 0)
  const digest = digestOf(key).toString('base64url')
  return {
    apiKey: object,
    spec: parsed.value,
    value:
      number === undefined ? undefined : { keyId: keyIdOf(key), values: [{ revision: 1, digest, createdTime: '' }] },
    namespaceLabels,
  }
}
const many = (count: number, first = 0): AskingKey[] =>
  Array.from({ length: count }, (_, at) => askingKey(apiKey(`client-${first + at}`, asking('orders')), first + at))

interface Given extends Partial<ObservedAccessPolicy> {
  readonly now?: Date
  readonly pauseMilliseconds?: number
}

function reconcile(object: AccessPolicy, given: Given = {}): PolicyPlan {
  const { now = noon, pauseMilliseconds = 0, ...observed } = given
  const compiled = compilePolicy(object, 'pstn')
  return reconcileAccessPolicy(
    {
      policy: object,
      compiled,
      lastGood: compiled.ok ? compiled.value : undefined,
      conflict: undefined,
      keys: [],
      configMaps: [],
      latest: undefined,
      writtenTime: undefined,
      ...observed,
    },
    { signingKey: signer, nextPublicKey: nextSigner.publicKey, pauseMilliseconds: () => pauseMilliseconds, now },
  )
}

/** The ConfigMaps after a plan, as a cluster would hand them back. */
function carryOut(before: readonly ConfigMap[], plan: PolicyPlan): ConfigMap[] {
  const maps = new Map(before.map((map) => [map.metadata.name, map]))
  for (const { name } of plan.remove) maps.delete(name.name)
  for (const map of [...plan.create, ...plan.apply] as ConfigMap[]) {
    const version = Number(maps.get(map.metadata.name)?.metadata.resourceVersion ?? 0) + 1
    const metadata = { ...map.metadata, uid: `uid-of-${map.metadata.name}`, resourceVersion: String(version) }
    maps.set(map.metadata.name, { ...map, metadata })
  }
  return [...maps.values()]
}
const write = (object: AccessPolicy, given: Given = {}): ConfigMap[] =>
  carryOut(given.configMaps ?? [], reconcile(object, given))
const manifestOf = (maps: readonly ConfigMap[]): Manifest =>
  JSON.parse(maps.find(({ data }) => data?.[manifestFile])!.data![manifestFile]!) as Manifest
const open = (maps: readonly ConfigMap[]) => {
  const opened = openFiles(filesOf(maps))
  if (opened.outcome !== 'opened') throw new Error(JSON.stringify(opened))
  return opened.set
}
const condition = (plan: PolicyPlan, type: string) =>
  (plan.status as AccessPolicyStatus | undefined)?.conditions?.find((one) => one.type === type)
function readiness(plan: PolicyPlan): string {
  if (plan.status === undefined) return 'writes'
  const { status, reason } = condition(plan, 'Ready')!
  const abnormal = ['Reconciling', 'Stalled'].filter((type) => condition(plan, type)?.status === 'True')
  return [status === 'True' ? `Ready: ${reason}` : reason, ...abnormal].join(', ')
}
const writes = ({ create, apply, remove }: PolicyPlan): number => create.length + apply.length + remove.length

describe('readiness', () => {
  const written = write(policy)
  const broken = accessPolicy('orders', withSpec({ roles: [{ name: 'R', interfaces: ['nope'] }] }))
  const lastGood = (() => {
    const compiled = compilePolicy(policy, 'pstn')
    return compiled.ok ? compiled.value : undefined
  })()
  const foreign = { ...written[0]!, metadata: { ...written[0]!.metadata, ownerReferences: [] } }
  const former = {
    ...written[0]!,
    metadata: {
      ...written[0]!.metadata,
      ownerReferences: [{ ...written[0]!.metadata.ownerReferences![0]!, uid: 'uid-before' }],
    },
  }
  test.each<[what: string, plan: PolicyPlan, readiness: string]>([
    ['nothing is published yet', reconcile(policy), 'writes'],
    ['all is published', reconcile(policy, { configMaps: written }), 'Ready: Ready'],
    ['invalid from the first', reconcile(broken, { lastGood: undefined }), 'SpecInvalid, Stalled'],
    ['invalid after it was valid', reconcile(broken, { lastGood, configMaps: written }), 'SpecInvalid, Stalled'],
    ['in conflict from the first', reconcile(policy, { conflict: 'shop/older' }), 'Conflicted, Stalled'],
    [
      'in conflict after it was published',
      reconcile(policy, { conflict: 'shop/older', configMaps: written }),
      'Conflicted, Stalled',
    ],
    ['its ConfigMap is not ours', reconcile(policy, { configMaps: [foreign] }), 'ConfigMapNotOwned, Stalled'],
    [
      'its ConfigMap is of a former policy',
      reconcile(policy, { configMaps: [former] }),
      'ConfigMapNotOwned, Reconciling',
    ],
    [
      'written a moment ago',
      reconcile(policy, { keys: many(1), configMaps: written, writtenTime: noon, pauseMilliseconds: 2000 }),
      'Pending, Reconciling',
    ],
  ])('%s', (_, plan, expected) => expect(readiness(plan)).toBe(expected))

  test('what is not ours is never touched', () => {
    for (const configMaps of [[foreign], [former]])
      expect(writes(reconcile(policy, { configMaps, keys: many(3) }))).toBe(0)
  })

  test('a ConfigMap of another name under our labels is nobody of ours', () => {
    const decoy = { ...foreign, metadata: { ...foreign.metadata, name: 'decoy' } }
    expect(readiness(reconcile(policy, { configMaps: [...written, decoy] }))).toBe('Ready: Ready')
    const plan = reconcile(policy, { configMaps: [...written, decoy], keys: many(1) })
    expect([plan.apply.map(({ metadata }) => metadata.name), plan.remove]).toEqual([['postern-orders'], []])
  })

  test('keys stay revocable while a policy is invalid, and while it is in conflict', () => {
    const before = write(policy, { keys: many(3) })
    for (const [object, conflict] of [
      [broken, undefined],
      [policy, 'shop/older'],
    ] as const) {
      const after = write(object, { lastGood, conflict, configMaps: before, keys: many(2), latest: manifestOf(before) })
      expect(open(before).find(digestOf(keyOf(2)))).toBeDefined()
      expect(open(after).find(digestOf(keyOf(2)))).toBeUndefined()
      expect(open(after).find(digestOf(keyOf(1)))).toBeDefined()
    }
  })

  test('a message names object and field', () => {
    expect(condition(reconcile(broken, { lastGood: undefined }), 'Accepted')?.message).toBe(
      '.spec.roles[0].interfaces[0]: there is no interface nope',
    )
    expect(condition(reconcile(policy, { conflict: 'shop/older' }), 'Accepted')?.message).toContain(
      'AccessPolicy shop/older',
    )
    expect(condition(reconcile(policy, { configMaps: [foreign] }), 'Published')?.message).toContain(
      'ConfigMap postern-orders',
    )
  })
})

describe('what makes a policy invalid beyond its schema', () => {
  test.each<[spec: Record<string, unknown>, path: string]>([
    [{ roles: [{ name: 'R', interfaces: ['a'] }] }, '.spec.roles[0].interfaces[0]'],
    [{ grants: [{ namespaces: { from: 'All' }, roles: ['R'] }] }, '.spec.grants[0].roles[0]'],
    [{ grants: [{ namespaces: { from: 'All' }, interfaces: ['*'] }] }, '.spec.grants[0].interfaces[0]'],
    [{ interfaces: [{ name: 'a', match: [{ paths: ['/ok', '/%41'] }] }] }, '.spec.interfaces[0].match[0].paths[1]'],
    [{ public: [{ paths: ['/a/../b'] }] }, '.spec.public[0].paths[0]'],
    [{ denied: [{ paths: ['/a%2Fb'] }] }, '.spec.denied[0].paths[0]'],
    [
      { clientAddress: { source: 'XForwardedFor', trustedProxies: ['10.0.0.0/8', '10.0.0.1/8'] } },
      '.spec.clientAddress.trustedProxies[1]',
    ],
    [
      { upstream: { identityHeaders: [{ name: 'x-api-key', value: 'KeyId' }] } },
      '.spec.upstream.identityHeaders[0].name',
    ],
    [
      {
        upstream: {
          identityHeaders: [
            { name: 'X-Who', value: 'KeyId' },
            { name: 'x-who', value: 'Roles' },
          ],
        },
      },
      '.spec.upstream.identityHeaders[1].name',
    ],
    [
      { upstream: { identityHeaders: [{ name: 'X-Forwarded-For', value: 'KeyId' }] } },
      '.spec.upstream.identityHeaders[0].name',
    ],
    [{ credentials: [{ type: 'Header', name: 'Forwarded' }] }, '.spec.credentials[0].name'],
  ])('%j', (spec, path) => {
    const compiled = compilePolicy(accessPolicy('a', withSpec(spec)), 'pstn')
    expect(compiled.ok ? [] : compiled.problems.map((problem) => problem.path)).toEqual([path])
  })
  test.each(['a.b', 'A', 'a-', 'a'.repeat(51), ''])('the name %j', (name) => {
    const compiled = compilePolicy(accessPolicy('a', withMeta({ name })), 'pstn')
    expect(compiled.ok ? [] : compiled.problems.map(({ path }) => path)).toEqual(['.metadata.name'])
  })
})

describe('keys that are admitted', () => {
  const graded = accessPolicy(
    'orders',
    withSpec({
      interfaces: [
        { name: 'read', match: [{ methods: ['GET'] }] },
        { name: 'write', match: [{ methods: ['POST'] }] },
      ],
      roles: [
        { name: 'Reader', interfaces: ['read'] },
        { name: 'Admin', interfaces: ['read', 'write'] },
      ],
      grants: [
        { namespaces: { from: 'Same' } },
        { namespaces: { from: 'Selector', selector: { matchLabels: { team: 'billing' } } }, roles: ['Reader'] },
      ],
    }),
  )
  const billing = (...changes: Parameters<typeof apiKey> extends [string, ...infer C] ? C : never) =>
    askingKey(apiKey('b', inNamespace('billing'), ...changes), 1, { team: 'billing' })
  test.each<[what: string, key: AskingKey, get: string, post: string]>([
    ['its own namespace: everything', askingKey(apiKey('a', asking('orders')), 1), 'Allowed', 'Allowed'],
    ['a role', askingKey(apiKey('a', asking('orders', { roles: ['Reader'] })), 1), 'Allowed', 'InterfaceNotAllowed'],
    [
      'an interface',
      askingKey(apiKey('a', asking('orders', { interfaces: ['write'] })), 1),
      'InterfaceNotAllowed',
      'Allowed',
    ],
    [
      'both add up',
      askingKey(apiKey('a', asking('orders', { roles: ['Reader'], interfaces: ['write'] })), 1),
      'Allowed',
      'Allowed',
    ],
    [
      'entries add up',
      askingKey(
        apiKey('a', asking('orders', { interfaces: ['read'] }), asking('orders', { interfaces: ['write'] })),
        1,
      ),
      'Allowed',
      'Allowed',
    ],
    ['any policy', askingKey(apiKey('a', asking('*')), 1), 'Allowed', 'Allowed'],
    ['another namespace: up to the ceiling', billing(asking('shop/orders')), 'Allowed', 'InterfaceNotAllowed'],
    [
      'a role above the ceiling: nothing of that entry',
      billing(asking('shop/orders', { roles: ['Admin'] })),
      'KeyUnknown',
      'KeyUnknown',
    ],
    [
      'a refused entry beside a granted one',
      billing(asking('shop/orders', { roles: ['Admin'] }), asking('shop/orders', { roles: ['Reader'] })),
      'Allowed',
      'InterfaceNotAllowed',
    ],
    [
      'another namespace without the label',
      askingKey(apiKey('c', inNamespace('other'), asking('shop/orders')), 1),
      'KeyUnknown',
      'KeyUnknown',
    ],
    ['another policy', askingKey(apiKey('a', asking('other')), 1), 'KeyUnknown', 'KeyUnknown'],
    [
      'a policy of the same name elsewhere',
      askingKey(apiKey('a', asking('elsewhere/orders')), 1),
      'KeyUnknown',
      'KeyUnknown',
    ],
    ['a key without a value', askingKey(apiKey('a', asking('orders'))), 'KeyUnknown', 'KeyUnknown'],
    ['a disabled key', askingKey(apiKey('a', asking('orders'), disabled()), 1), 'KeyDisabled', 'KeyDisabled'],
    [
      'an expired key',
      askingKey(apiKey('a', asking('orders'), expiring('2026-06-01T12:00:00Z')), 1),
      'KeyExpired',
      'KeyExpired',
    ],
    [
      'a key that ended before time began',
      askingKey(apiKey('a', asking('orders'), expiring('1969-01-01T00:00:00Z')), 1),
      'KeyUnknown',
      'KeyUnknown',
    ],
    [
      'a key of the future',
      askingKey(apiKey('a', asking('orders'), notBefore('2026-06-01T12:00:00.1Z')), 1),
      'KeyNotYetValid',
      'KeyNotYetValid',
    ],
  ])('%s', (_, key, get, post) => {
    const set = open(write(graded, { keys: [key] }))
    const fields = ['X-API-Key', keyOf(1)]
    expect([verdict(set, { fields, at: secondsOf(noon) }), verdict(set, { fields, method: 'POST' })]).toEqual([
      get,
      post,
    ])
  })

  test('the status counts them, and says of some why they are refused', () => {
    const refused = Array.from({ length: 25 }, (_, at) =>
      askingKey(apiKey(`r-${at}`, inNamespace('other'), asking('shop/orders')), 100 + at),
    )
    const keys = [...many(3), ...refused]
    const plan = reconcile(policy, { keys, configMaps: write(policy, { keys }) })
    const { keys: counts, rejectedKeys = [], sequence } = plan.status as AccessPolicyStatus
    expect([counts, rejectedKeys.length, sequence]).toEqual([{ active: 3, refused: 25 }, 20, 1])
    expect(rejectedKeys[0]).toMatchObject({
      key: 'other/r-0',
      reason: 'NamespaceNotGranted',
      message: expect.stringContaining('namespace other'),
    })
  })
})

describe('what is written', () => {
  test('a set that opens, belongs to the policy, and holds no key and no name of a person', () => {
    const named = askingKey(apiKey('a', asking('orders'), withSpec({ displayName: 'Alice Example' })), 1)
    const maps = write(policy, { keys: [named] })
    expect(open(maps).manifest).toMatchObject({
      namespace: 'shop',
      policy: 'orders',
      policyUid: 'uid-of-orders',
      keys: 1,
    })
    expect(maps[0]!.metadata.ownerReferences).toEqual([
      expect.objectContaining({ uid: 'uid-of-orders', controller: true }),
    ])
    const text = JSON.stringify(maps)
    expect(text).not.toContain('Alice')
    expect(text).not.toContain(keyOf(1).split('_')[2])
  })

  test('the ConfigMap with the manifest comes last', () => {
    const plan = reconcile(accessPolicy('orders', shards(4)))
    expect(plan.create.map(({ metadata }) => metadata.name)).toEqual([
      ...[1, 2, 3].map((shard) => `postern-orders.keys-${shard}`),
      'postern-orders',
    ])
  })

  test('the same bytes, in whatever order keys are found', () => {
    const keys = many(30).map((key, at) =>
      at % 3 === 0
        ? askingKey(apiKey(`client-${at}`, asking('orders'), withSpec({ allowedAddresses: [`10.0.0.${at}`] })), at)
        : key,
    )
    const expected = write(accessPolicy('orders', shards(2)), { keys })
    fc.assert(
      fc.property(fc.shuffledSubarray(keys, { minLength: keys.length }), (shuffled) => {
        expect(write(accessPolicy('orders', shards(2)), { keys: shuffled })).toEqual(expected)
      }),
      { numRuns: 20 },
    )
  })

  test('one shard and the manifest, where one key changes', () => {
    const object = accessPolicy('orders', shards(8))
    const before = write(object, { keys: many(40) })
    const removed = digestOf(keyOf(39))[0]! % 8
    const plan = reconcile(object, { keys: many(39), configMaps: before, latest: manifestOf(before) })
    const names = [removed === 0 ? [] : [`postern-orders.keys-${removed}`], 'postern-orders'].flat()
    expect(plan.apply.map(({ metadata }) => metadata.name)).toEqual(names)
    const after = carryOut(before, plan)
    for (const map of after.filter(({ metadata }) => !names.includes(metadata.name))) expect(before).toContainEqual(map)
    expect(open(after).manifest.keys).toBe(39)
  })

  test('each with uid and version of what it replaces', () => {
    const before = write(policy)
    const [map] = reconcile(policy, { keys: many(1), configMaps: before }).apply
    expect(map?.metadata).toMatchObject({ uid: 'uid-of-postern-orders', resourceVersion: '1' })
  })

  test('nothing, where nothing has changed', () => {
    const keys = many(5)
    const before = write(policy, { keys })
    expect(writes(reconcile(policy, { keys, configMaps: before, now: afterNoon(86_400) }))).toBe(0)
  })

  test.each<[what: string, change: (map: ConfigMap) => ConfigMap]>([
    ['keys', (map) => ({ ...map, data: { ...map.data, 'keys-0': '' } })],
    ['policy', (map) => ({ ...map, data: { ...map.data, 'policy.json': '{}' } })],
    [
      'manifest',
      (map) => ({
        ...map,
        data: { ...map.data, [manifestFile]: map.data![manifestFile]!.replace('"sequence":1', '"sequence":9') },
      }),
    ],
    ['signature', (map) => ({ ...map, data: { ...map.data, 'manifest.sig': 'x' } })],
    [
      'a part that is gone',
      (map) => ({
        ...map,
        data: { [manifestFile]: map.data![manifestFile]!, 'manifest.sig': map.data!['manifest.sig']! },
      }),
    ],
    ['all of it', (map) => ({ ...map, data: {} })],
    ['labels', (map) => ({ ...map, metadata: { ...map.metadata, labels: {} } })],
  ])('an edited ConfigMap again: %s', (_, change) => {
    const keys = many(3)
    const before = write(policy, { keys })
    const edited = before.map(change)
    const after = write(policy, { keys, configMaps: edited, latest: manifestOf(before) })
    expect(manifestOf(after)).toMatchObject({ epoch: manifestOf(before).epoch, sequence: 2 })
    expect(open(after).manifest.keys).toBe(3)
    expect(after[0]!.metadata.labels).toEqual(before[0]!.metadata.labels)
  })

  test('further shards when there are to be more, and what is left over goes when fewer', () => {
    const keys = many(20)
    const one = write(policy, { keys })
    const four = write(accessPolicy('orders', shards(4)), { keys, configMaps: one, latest: manifestOf(one) })
    expect([four.length, open(four).manifest.keys]).toEqual([4, 20])
    const plan = reconcile(policy, { keys, configMaps: four, latest: manifestOf(four) })
    expect(plan.remove.map(({ name }) => name)).toEqual(
      [1, 2, 3].map((shard) => ({ namespace: 'shop', name: `postern-orders.keys-${shard}` })),
    )
    expect(open(carryOut(four, plan)).manifest).toMatchObject({ keys: 20, sequence: 3 })
  })
})

describe('epochs and sequences', () => {
  const stored = write(policy, { now: noon })
  const next = (given: Given): Pick<Manifest, 'epoch' | 'sequence'> => {
    const { epoch, sequence } = manifestOf(write(policy, { keys: many(1), configMaps: stored, ...given }))
    return { epoch: epoch - noon.getTime(), sequence }
  }
  const at = (epoch: number, sequence: number) => ({ epoch: noon.getTime() + epoch, sequence })
  test.each<[what: string, given: Given, epoch: number, sequence: number]>([
    ['the first of all', { configMaps: [] }, 0, 1],
    ['the next of this process', { latest: at(0, 1) }, 0, 2],
    ['where this process has gone further than the cluster shows', { latest: at(0, 7) }, 0, 8],
    ['a new process', { now: afterNoon(5) }, 5000, 1],
    ['a new process whose clock is behind', { now: afterNoon(-3600) }, 1, 1],
    ['somebody else has published since', { latest: at(-10, 3), now: afterNoon(5) }, 5000, 1],
    ['somebody else, ahead of our clock', { latest: at(-10, 3), now: afterNoon(-3600) }, 1, 1],
    ['the stored one is gone', { configMaps: [], latest: at(0, 1) }, 0, 2],
    [
      'the stored one is not signed by us',
      { configMaps: stored.map((map) => ({ ...map, data: { ...map.data, 'manifest.sig': '' } })), now: afterNoon(5) },
      5000,
      1,
    ],
  ])('%s', (_, given, epoch, sequence) => expect(next(given)).toEqual({ epoch, sequence }))

  test('always rise, whoever writes', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ process: fc.nat(2), clock: fc.integer({ min: -100, max: 100 }) }), { maxLength: 12 }),
        (steps) => {
          let maps: ConfigMap[] = []
          const latest = new Map<number, Manifest>()
          let before: Manifest | undefined
          for (const [index, { process, clock }] of steps.entries()) {
            maps = write(policy, {
              keys: many(1, index),
              configMaps: maps,
              latest: latest.get(process),
              now: afterNoon(clock),
            })
            const manifest = manifestOf(maps)
            if (before)
              expect(
                manifest.epoch > before.epoch ||
                  (manifest.epoch === before.epoch && manifest.sequence > before.sequence),
              ).toBe(true)
            before = manifest
            latest.set(process, manifest)
          }
        },
      ),
      { numRuns: 50 },
    )
  })
})

describe('pauses between writes', () => {
  const before = write(policy)
  const given = {
    keys: many(1),
    configMaps: before,
    latest: manifestOf(before),
    writtenTime: noon,
    pauseMilliseconds: 2000,
  }
  test('what comes too soon waits until it is due', () => {
    const plan = reconcile(policy, { ...given, now: afterNoon(1) })
    expect([writes(plan), plan.isPublished, plan.wakeAt]).toEqual([0, false, afterNoon(2)])
  })
  test('then it is written', () => expect(writes(reconcile(policy, { ...given, now: afterNoon(2) }))).toBe(1))
  test('after a quiet time it is written at once', () =>
    expect(writes(reconcile(policy, { ...given, writtenTime: afterNoon(-60) }))).toBe(1))
  test('what is as it should be waits for nothing', () => {
    expect(reconcile(policy, { ...given, keys: [] })).toMatchObject({ isPublished: true, wakeAt: undefined })
  })
})

describe('explanations of refusals', () => {
  const expired = askingKey(apiKey('a', asking('orders'), expiring('2026-06-01T12:00:00Z')), 1)
  const thirtyDays = 30 * 86_400
  const setAt = (seconds: number) => open(write(policy, { keys: [expired], now: afterNoon(seconds) }))
  test('last thirty days, and then the key is unknown', () => {
    expect(setAt(thirtyDays - 1).find(digestOf(keyOf(1)))).toBeDefined()
    expect(setAt(thirtyDays).find(digestOf(keyOf(1)))).toBeUndefined()
  })
  test('end at a moment for which to wake', () => {
    const configMaps = write(policy, { keys: [expired] })
    expect(reconcile(policy, { keys: [expired], configMaps }).wakeAt).toEqual(afterNoon(thirtyDays))
  })
})

describe('two policies of one namespace', () => {
  const spec = (labels: Record<string, string>, ...ports: number[]) => {
    const compiled = accessPolicy(
      'a',
      withSpec({ workloadSelector: { matchLabels: labels }, ports: ports.map((port) => ({ port })) }),
      withMeta({}),
    )
    return compiled.spec as Parameters<typeof claimsSamePort>[0]
  }
  test.each([
    ['the same pods, the same port', spec({ app: 'a' }, 80), spec({ app: 'a' }, 80), true],
    ['the same pods, other ports', spec({ app: 'a' }, 80), spec({ app: 'a' }, 81), false],
    ['one port of several', spec({ app: 'a' }, 80, 81), spec({ app: 'a' }, 81, 82), true],
    ['the pods of one among those of the other', spec({ app: 'a', tier: 'x' }, 80), spec({ app: 'a' }, 80), true],
    ['other pods', spec({ app: 'a' }, 80), spec({ app: 'b' }, 80), false],
    ['pods that may be the same, or not', spec({ app: 'a' }, 80), spec({ tier: 'x' }, 80), false],
  ])('%s: %s', (_, a, b, expected) => {
    expect(claimsSamePort(a, b)).toBe(expected)
    expect(claimsSamePort(b, a)).toBe(expected)
  })
})
