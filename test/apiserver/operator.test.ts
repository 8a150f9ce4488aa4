import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { accessPolicies, annotations, apiKeys, configMaps, labels, namespaces, secrets } from '../../src/api/names.ts'
import { configMapName, manifestFile } from '../../src/api/verification.ts'
import { parseKey } from '../../src/core/key.ts'
import { eventually } from '../support/wait.ts'
import { type Installed, install } from './installed.ts'
import { conditionOf, type Stored } from './objects.ts'
import { base64, digestOf, newScene } from './scene.ts'

// The garbage collector learns of new kinds twice a minute.
vi.setConfig({ testTimeout: 90_000 })

let postern: Installed

beforeAll(async () => {
  postern = await install()
})
afterAll(() => postern?.stop())

const scene = (namespaceLabels?: Readonly<Record<string, string>>) => newScene(postern, namespaceLabels)

const foreignKey = (seed: string): string => digestOf(seed)

describe.concurrent('a key', () => {
  test('becomes a Secret, and a line in the set of its policy', async () => {
    const { namespace, at, policy, key, ready, value, judged } = await scene()
    await policy()
    const spec = { access: [{ policy: { name: 'orders' } }], secret: { labels: { team: 'a' } }, displayName: 'A' }
    const { metadata } = await key('exporter', spec)
    expect(await ready('exporter')).toMatchObject({ status: 'True', observedGeneration: 1 })

    const secret = (await postern.objects.get(secrets, at('exporter')))!
    expect(secret.metadata.labels).toMatchObject({ [labels.managed]: 'true', team: 'a' })
    expect(secret.metadata.ownerReferences).toEqual([
      {
        apiVersion: 'postern.dev/v1alpha1',
        kind: 'ApiKey',
        name: 'exporter',
        uid: metadata.uid,
        controller: true,
        blockOwnerDeletion: true,
      },
    ])
    const raw = await value('exporter')
    const parts = parseKey(raw, 'pstn')!
    expect(secret.data).toEqual({
      key: base64(raw),
      keyId: base64(parts.keyId),
      secret: base64(parts.secret + parts.check),
    })
    const { status } = (await postern.objects.get(apiKeys, at('exporter')))!
    expect(status).toMatchObject({
      observedGeneration: 1,
      keyId: parts.keyId,
      keyIdSuffix: parts.keyId.slice(-4),
      createdTime: metadata.creationTimestamp,
      values: [{ revision: 1 }],
      access: [{ policy: `${namespace}/orders`, accepted: true, reason: 'Granted' }],
    })
    expect(status!.conditions!.map(({ type, status: is, reason }) => [type, is, reason])).toEqual([
      ['Ready', 'True', 'Ready'],
      ['SecretReady', 'True', 'Generated'],
      ['Published', 'True', 'Published'],
    ])
    await judged(raw, 'Allowed')
    const wrong = `${raw.slice(0, -1)}${raw.endsWith('0') ? '1' : '0'}`
    expect(await postern.verdict(namespace, 'orders', wrong)).toBe('KeyMalformed')
    const map = (await postern.objects.get(configMaps, at(configMapName('orders'))))!
    expect(map.metadata.ownerReferences).toMatchObject([{ kind: 'AccessPolicy', name: 'orders' }])
    expect(JSON.stringify(map)).not.toContain(raw.split('_')[2])

    const notes = await eventually('the event', async () => {
      const events = (await postern.plane.get(`/apis/events.k8s.io/v1/namespaces/${namespace}/events`)) as {
        items: { regarding: { kind: string }; reason: string; note: string; reportingController: string }[]
      }
      const ours = events.items.filter(({ regarding }) => regarding.kind === 'ApiKey')
      return ours.length > 0 && ours
    })
    expect(notes.map(({ reason }) => reason)).toEqual(['KeyCreated'])
    expect(notes.every(({ reportingController }) => reportingController === 'postern')).toBe(true)
  })

  test('leaves a Secret alone that somebody else made', async () => {
    const { at, policy, key, ready, secret } = await scene()
    const before = await secret('taken', { key: 'mine' })
    await policy()
    await key('taken')
    expect((await ready('taken', 'SecretNotOwned')).message).toContain('Secret taken')
    expect(conditionOf((await postern.objects.get(apiKeys, at('taken')))!, 'Stalled')).toMatchObject({ status: 'True' })
    expect(await postern.objects.get(secrets, at('taken'))).toEqual(before)
    // It is not a matter of order: when the other goes, the key gets its Secret.
    await postern.objects.delete(secrets, at('taken'))
    await ready('taken')
  })

  test('gets a new value when its Secret is deleted, and keeps its id', async () => {
    const { at, policy, key, ready, value, judged } = await scene()
    await policy()
    await key('a')
    await ready('a')
    const old = await value('a')
    await judged(old, 'Allowed')
    await postern.objects.delete(secrets, at('a'))
    await eventually('a new value', async () => ![old, ''].includes(await value('a')))
    const fresh = await value('a')
    await judged(fresh, 'Allowed')
    await judged(old, 'KeyUnknown')
    expect(parseKey(fresh, 'pstn')!.keyId).toBe(parseKey(old, 'pstn')!.keyId)
    await postern.objects.until(apiKeys, at('a'), 'revision 2', ({ status }) =>
      JSON.stringify(status?.values).includes('"revision":2'),
    )
  })

  test('is refused while its Secret is another than what was written', async () => {
    const { at, policy, key, ready, value, judged } = await scene()
    await policy()
    await key('a')
    await ready('a')
    const [own, data] = [await value('a'), (await postern.objects.get(secrets, at('a')))!.data]
    await postern.objects.patch(secrets, at('a'), { data: { key: base64(foreignKey('a')), keyId: null, secret: null } })
    expect((await ready('a', 'SecretTampered')).message).toContain('Secret a')
    await judged(own, 'KeyUnknown')
    await judged(foreignKey('a'), 'KeyUnknown')
    await postern.objects.patch(secrets, at('a'), { data })
    await ready('a')
    await judged(own, 'Allowed')

    const seal = (await postern.objects.get(secrets, at('a')))!.metadata.annotations![annotations.values]!
    await postern.objects.patch(secrets, at('a'), {
      metadata: { annotations: { [annotations.values]: seal.replace('"revision":1', '"revision":2') } },
    })
    await ready('a', 'SecretTampered')
    await judged(own, 'KeyUnknown')
    await postern.objects.delete(secrets, at('a'))
    await ready('a')
    await judged(await value('a'), 'Allowed')
  })

  test('gets its Secret in the shape that its template asks for, whenever that changes', async () => {
    const { at, policy, key, ready, value, judged } = await scene()
    await policy()
    await key('a')
    await ready('a')
    const raw = await value('a')
    const labelled = { secret: { labels: { x: '1' }, template: { 'app.env': 'KEY=$(key)' } } }
    await key('a', { access: [{ policy: { name: 'orders' } }], ...labelled })
    const shaped = await postern.objects.until(secrets, at('a'), 'the template', ({ data }) => 'app.env' in data!)
    expect([shaped.data, shaped.metadata.labels!.x]).toEqual([{ 'app.env': base64(`KEY=${raw}`) }, '1'])
    await key('a')
    await postern.objects.until(
      secrets,
      at('a'),
      'its plain shape',
      ({ data, metadata }) => Boolean(data!.key) && data!['app.env'] === undefined && metadata.labels!.x === undefined,
    )
    expect(await value('a')).toBe(raw)
    await judged(raw, 'Allowed')
  })

  test('adopts what another program delivers, when it comes, and not what is weak', async () => {
    const { at, policy, key, secret, ready, judged } = await scene()
    const adopting = {
      access: [{ policy: { name: 'orders' } }],
      source: { existing: { secretRef: { name: 'vault', key: 'it' } } },
    }
    await policy()
    await key('a', adopting)
    expect((await ready('a', 'SecretNotFound')).message).toContain('spec.source.existing.secretRef.name')
    await secret('vault', { other: 'x' })
    await eventually('the message', async () =>
      (await ready('a', 'SecretNotFound')).message.includes('spec.source.existing.secretRef.key'),
    )
    await secret('vault', { it: 'short' })
    const weak = await ready('a', 'KeyWeak')
    expect(weak.message).toContain('Secret vault, data it: the key is shorter than 32 characters')
    expect(weak.message).not.toContain('short,')
    await secret('vault', { it: `${foreignKey('vault')}\n` })
    expect((await ready('a', 'KeyMalformed')).message).toContain('line break')
    await secret('vault', { it: foreignKey('vault') })
    await ready('a')
    await judged(foreignKey('vault'), 'Allowed')
    await secret('vault', { it: foreignKey('renewed') })
    await judged(foreignKey('renewed'), 'Allowed')
    await judged(foreignKey('vault'), 'KeyUnknown')
    await postern.objects.delete(secrets, at('vault'))
    await ready('a', 'SecretNotFound')
    await judged(foreignKey('renewed'), 'KeyUnknown')
  })

  test('has its value alone: the younger of two waits until the older is gone', async () => {
    const { namespace, at, policy, key, ready, judged } = await scene()
    const digest = { ...(await scene()).asking(), source: { digest: `sha256:${digestOf(foreignKey('shared'))}` } }
    await policy()
    const older = await key('z-older', digest)
    await ready('z-older')
    // Ages are told in seconds.
    await eventually('the next second', () => Date.now() >= Date.parse(older.metadata.creationTimestamp!) + 1000)
    await key('a-younger', digest)
    expect((await ready('a-younger', 'DuplicateKey')).message).toContain(`ApiKey ${namespace}/z-older`)
    await judged(foreignKey('shared'), 'Allowed')
    const name = (await postern.publishedSet(namespace, 'orders'))!.find(
      Buffer.from(digestOf(foreignKey('shared')), 'hex'),
    )!.name
    expect(name).toBe('z-older')
    await postern.objects.delete(apiKeys, at('z-older'))
    await ready('a-younger')
    await judged(foreignKey('shared'), 'Allowed')
  })

  test('heals when what it refers to appears', async () => {
    const { at, policy, key, ready, value, judged } = await scene()
    await key('a', { access: [{ policy: { name: 'orders' }, roles: ['Reader'] }] })
    expect((await ready('a', 'PolicyNotFound')).message).toContain('orders')
    await policy()
    expect((await ready('a', 'RoleUnknown')).message).toContain('Reader')
    await policy({
      interfaces: [{ name: 'read', match: [{ methods: ['GET'] }] }],
      roles: [{ name: 'Reader', interfaces: ['read'] }],
    })
    await ready('a')
    await judged(await value('a'), 'Allowed')
    await postern.objects.delete(accessPolicies, at('orders'))
    await ready('a', 'PolicyNotFound')
    await eventually('the set to be removed', async () => {
      return (await postern.objects.get(configMaps, at(configMapName('orders')))) === undefined
    })
  })

  test('is known by its state: disabled, expired, not yet valid', async () => {
    const { at, policy, key, ready, value, judged, asking } = await scene()
    await policy()
    await key('a')
    await ready('a')
    const raw = await value('a')
    await key('a', { ...asking(), enabled: false })
    await judged(raw, 'KeyDisabled')
    await ready('a', 'Disabled')
    await key('a', { ...asking(), expiresTime: new Date(Date.now() - 3_600_000).toISOString() })
    await judged(raw, 'KeyExpired')
    await ready('a', 'Expired')
    await key('a', { ...asking(), notBeforeTime: '2999-01-01T00:00:00Z' })
    await judged(raw, 'KeyNotYetValid')
    await ready('a', 'NotYetValid')
    await key('a', { ...asking(), allowedAddresses: ['10.0.0.0/8'] })
    await judged(raw, 'AddressNotAllowed')
    await key('a', { ...asking(), lifetimeSeconds: 86400 })
    await judged(raw, 'Allowed')
    await ready('a')
    await postern.objects.delete(apiKeys, at('a'))
    await judged(raw, 'KeyUnknown')
    await eventually('the Secret to go', async () => (await postern.objects.get(secrets, at('a'))) === undefined)
  })

  test('becomes Expired when the moment comes, without anybody doing anything', async () => {
    const { policy, key, ready, asking } = await scene()
    await policy()
    await key('a', { ...asking(), lifetimeSeconds: 4 })
    await ready('a', 'Expired')
  })

  test('tells of the same again by counting one event', async () => {
    const { namespace, policy, key, ready } = await scene()
    await policy()
    const tooMuch = { access: [{ policy: { name: 'orders' }, roles: ['Nobody'] }] }
    for (let round = 0; round < 2; round++) {
      await key('a', tooMuch)
      await ready('a', 'RoleUnknown')
      await key('a')
      await ready('a')
    }
    await eventually('the count', async () => {
      const events = await postern.plane.get(`/apis/events.k8s.io/v1/namespaces/${namespace}/events`)
      return JSON.stringify(events).includes('"series":{"count":2')
    })
  })
})

describe.concurrent('a policy', () => {
  test('leaves a ConfigMap alone that somebody else made', async () => {
    const { at, policy, policyReady } = await scene()
    const metadata = { ...at(configMapName('orders')), labels: { [labels.managed]: 'true', [labels.policy]: 'orders' } }
    const before = await postern.objects.apply(configMaps, { metadata, data: { a: 'b' } })
    await policy()
    expect((await policyReady('orders', 'ConfigMapNotOwned')).message).toContain('ConfigMap postern-orders')
    expect(await postern.objects.get(configMaps, metadata)).toEqual(before)
    await postern.objects.delete(configMaps, metadata)
    await policyReady()
  })

  test('has its set written again at once when somebody edits it', async () => {
    const { at, policy, key, ready, value, judged } = await scene()
    await policy()
    await key('a')
    await ready('a')
    const raw = await value('a')
    const name = at(configMapName('orders'))
    const before = (await postern.objects.get(configMaps, name))!
    const edits = [
      { data: { 'keys-0': '' } },
      { data: { [manifestFile]: null } },
      { metadata: { labels: { [labels.managed]: null } } },
    ]
    for (const edit of edits) {
      const { metadata } = await postern.objects.patch(configMaps, name, edit)
      await postern.objects.until(
        configMaps,
        name,
        'the repair',
        ({ metadata: now }) => now.resourceVersion !== metadata.resourceVersion,
      )
      await judged(raw, 'Allowed')
      const after = (await postern.objects.get(configMaps, name))!
      expect(after.data!['keys-0']).toBe(before.data!['keys-0'])
      expect(after.metadata.labels).toEqual(before.metadata.labels)
    }
    await postern.objects.delete(configMaps, name)
    await judged(raw, 'Allowed')
  })

  test('grants by labels of the namespace, and changes its mind with them', async () => {
    const { namespace, policy } = await scene()
    const caller = await scene({ team: 'sales' })
    await policy({ grants: [{ namespaces: { from: 'Selector', selector: { matchLabels: { team: 'billing' } } } }] })
    await caller.key('a', { access: [{ policy: { name: 'orders', namespace } }] })
    expect((await caller.ready('a', 'NamespaceNotGranted')).message).toContain(caller.namespace)
    const raw = await caller.value('a')
    const relabel = (team: string) =>
      postern.objects.patch(namespaces, { name: caller.namespace }, { metadata: { labels: { team } } })
    await relabel('billing')
    await caller.ready('a')
    expect(await postern.verdict(namespace, 'orders', raw)).toBe('Allowed')
    await relabel('sales')
    await caller.ready('a', 'NamespaceNotGranted')
    await eventually(
      'the key to be gone',
      async () => (await postern.verdict(namespace, 'orders', raw)) === 'KeyUnknown',
    )
  })

  test('refuses every key while it is suspended', async () => {
    const { policy, key, ready, value, judged } = await scene()
    await policy()
    await key('a')
    await ready('a')
    const raw = await value('a')
    await judged(raw, 'Allowed')
    await policy({ suspended: true })
    await judged(raw, 'PolicySuspended')
    await policy()
    await judged(raw, 'Allowed')
  })

  test('that is wrong keeps its last good set, in which keys are still revoked, and harms no other', async () => {
    const { at, policy, key, ready, value, judged, policyReady, asking } = await scene()
    await policy()
    await key('a')
    await key('b')
    await Promise.all([ready('a'), ready('b')])
    const [a, b] = [await value('a'), await value('b')]
    await judged(a, 'Allowed')
    await policy({ roles: [{ name: 'Reader', interfaces: ['reed'] }] })
    expect((await policyReady('orders', 'SpecInvalid')).message).toBe(
      '.spec.roles[0].interfaces[0]: there is no interface reed',
    )
    expect((await ready('a', 'PolicyNotAccepted')).message).toContain('.spec.roles[0].interfaces[0]')
    await judged(a, 'Allowed')
    await postern.objects.delete(apiKeys, at('b'))
    await judged(b, 'KeyUnknown')
    await judged(a, 'Allowed')
    await policy({ ports: [{ port: 9090 }] }, 'other')
    await key('c', asking('other'))
    await ready('c')
    await judged(await value('c'), 'Allowed', 'other')
    await policy()
    await ready('a')
    await judged(b, 'KeyUnknown')
  })

  test('stands behind an older one that guards the same port', async () => {
    const { namespace, at, policy, policyReady } = await scene()
    const spec = { workloadSelector: { matchLabels: { app: 'x' } } }
    const { metadata } = await policy(spec, 'older')
    await policyReady('older')
    await eventually('the next second', () => Date.now() >= Date.parse(metadata.creationTimestamp!) + 1000)
    await policy(spec, 'a-younger')
    expect((await policyReady('a-younger', 'Conflicted')).message).toContain(`${namespace}/older`)
    expect(await postern.objects.get(configMaps, at(configMapName('a-younger')))).toBeUndefined()
    await postern.objects.delete(accessPolicies, at('older'))
    await policyReady('a-younger')
  })

  test('spreads its keys over as many ConfigMaps as it asks for, and takes them together again', async () => {
    const { namespace, at, policy, key, ready, value, judged, policyReady } = await scene()
    await policy({ verification: { shards: 4 } })
    const names = Array.from({ length: 12 }, (_, index) => `k${index}`)
    await Promise.all(names.map((name) => key(name)))
    await Promise.all(names.map((name) => ready(name)))
    const mapsOf = async (): Promise<string[]> =>
      (await postern.objects.list(configMaps, namespace))
        .map(({ metadata }) => metadata.name)
        .filter((name) => name.startsWith('postern-'))
    expect(await mapsOf()).toEqual(['postern-orders', ...[1, 2, 3].map((shard) => `postern-orders.keys-${shard}`)])
    const values = await Promise.all(names.map(value))
    for (const raw of values) await judged(raw, 'Allowed')
    await policy({ verification: { shards: 1 } })
    await eventually('one ConfigMap', async () => (await mapsOf()).join() === 'postern-orders')
    await policyReady()
    for (const raw of values) await judged(raw, 'Allowed')
    expect((await postern.objects.get(accessPolicies, at('orders')))!.status).toMatchObject({
      keys: { active: 12, refused: 0 },
    })
  })

  test('counts and shows the keys that it refuses', async () => {
    const { namespace, at, policy, key, ready } = await scene()
    await policy()
    await key('good')
    await key('bad', { access: [{ policy: { name: 'orders' }, roles: ['Nobody'] }] })
    await Promise.all([ready('good'), ready('bad', 'RoleUnknown')])
    const counted = (object: Stored) => JSON.stringify(object.status?.keys) === '{"active":1,"refused":1}'
    const { status } = await postern.objects.until(accessPolicies, at('orders'), 'counts', counted)
    expect(status!.rejectedKeys).toMatchObject([{ key: `${namespace}/bad`, reason: 'RoleUnknown' }])
  })
})

test('the operator uses every permission that it has, and asks for no other', async () => {
  const requests = postern.requests()
  expect(requests.filter(({ responseStatus }) => responseStatus.code === 403)).toEqual([])
  const used = new Set(
    requests.flatMap(({ verb, objectRef, responseStatus }) => {
      const { apiGroup = '', resource, subresource } = objectRef
      const what = `${apiGroup}/${resource}${subresource === undefined ? '' : `/${subresource}`}`
      // An apply that makes an object needs leave to create it; a watch that may not stream what there is lists it first.
      const verbs = [
        verb,
        ...(verb === 'patch' && responseStatus.code === 201 ? ['create'] : []),
        ...(verb === 'watch' ? ['list'] : []),
      ]
      return verbs.map((each) => `${each} ${what}`)
    }),
  )
  const role = (await postern.plane.get('/apis/rbac.authorization.k8s.io/v1/clusterroles/postern-operator')) as {
    rules: { apiGroups: string[]; resources: string[]; verbs: string[] }[]
  }
  const granted = role.rules.flatMap(({ apiGroups, resources, verbs }) =>
    apiGroups.flatMap((group) => resources.flatMap((resource) => verbs.map((verb) => `${verb} ${group}/${resource}`))),
  )
  // No request is made for these: admission asks for them where an object is written whose owner reference blocks.
  const asked = ['update postern.dev/apikeys/finalizers', 'update postern.dev/accesspolicies/finalizers']
  expect([...used, ...asked].sort()).toEqual(granted.sort())
})
