import { describe, expect, test } from 'vitest'
import type { ApiKey, ApiKeyStatus } from '../../src/api/api-key.ts'
import type { Condition, Secret } from '../../src/api/object.ts'
import { digestOf, parseKey } from '../../src/core/key.ts'
import {
  lifetimeOf,
  type ObservedApiKey,
  ownerOf,
  type PolicyFacts,
  type Publication,
  parseApiKey,
  reconcileApiKey,
  type ValueFacts,
} from '../../src/core/reconcile/api-key.ts'
import { inspectSecret, renderSecret } from '../../src/core/reconcile/key-secret.ts'
import type { Plan } from '../../src/core/reconcile/plan.ts'
import {
  accessPolicy,
  afterNoon,
  allowing,
  apiKey,
  asking,
  created,
  disabled,
  expiring,
  granting,
  knownBy,
  lasting,
  noon,
  notBefore,
  withSpec,
  withStatus,
} from '../support/builders.ts'
import { keyOf, policyOf } from '../support/verification.ts'

const seal = Buffer.alloc(32, 7)
const key = keyOf(1)
const value = { revision: 1, digest: digestOf(key).toString('base64url'), createdTime: '2026-01-01T00:00:00Z' }
const generated: ValueFacts = {
  source: 'Generated',
  secret: { state: 'Valid', keyId: key.split('_')[1]!, values: [value], repair: undefined },
}
const absent: ValueFacts = { source: 'Generated', secret: { state: 'Absent' } }

const roles = {
  interfaces: [
    { name: 'read', match: [{ methods: ['GET'] }] },
    { name: 'write', match: [{ methods: ['POST'] }] },
  ],
  roles: [
    { name: 'Reader', interfaces: ['read'] },
    { name: 'Admin', interfaces: ['read', 'write'] },
  ],
}
const orders: PolicyFacts = { namespace: 'shop', name: 'orders', policy: policyOf(roles) }
const readOnly: PolicyFacts = {
  namespace: 'shop',
  name: 'orders',
  policy: policyOf({ ...roles, grants: [{ namespaces: { from: 'Same' }, roles: ['Reader'] }] }),
}
const published = new Map<string, Publication>([['shop/orders', 'Published']])

interface Given {
  readonly value?: ValueFacts
  readonly policies?: readonly (readonly PolicyFacts[])[]
  readonly publications?: ReadonlyMap<string, Publication>
  readonly labels?: Readonly<Record<string, string>>
  readonly now?: Date
}

function reconcile(object: ApiKey, given: Given = {}): Plan {
  const asked = (object.spec as { access?: readonly object[] }).access ?? []
  const observed: ObservedApiKey = {
    apiKey: object,
    value: given.value ?? generated,
    namespaceLabels: given.labels ?? {},
    policies: given.policies ?? asked.map(() => [orders]),
    publications: given.publications ?? published,
  }
  return reconcileApiKey(observed, {
    keyPrefix: 'pstn',
    seal,
    now: given.now ?? noon,
    randomBytes: (count) => new Uint8Array(count).map((_, at) => at),
  })
}

const statusOf = (plan: Plan): ApiKeyStatus => plan.status as ApiKeyStatus
const condition = (plan: Plan, type: string): Condition | undefined =>
  statusOf(plan).conditions?.find((one) => one.type === type)
/** `Ready` in short: `Ready` or the reason why not, and what kstatus makes of it. */
function readiness(plan: Plan): string {
  const { status, reason } = condition(plan, 'Ready')!
  const abnormal = ['Reconciling', 'Stalled'].filter((type) => condition(plan, type)?.status === 'True')
  return [status === 'True' ? `Ready: ${reason}` : reason, ...abnormal].join(', ')
}

const admitted = apiKey('exporter', asking('orders'))

describe('readiness', () => {
  test.each<[what: string, plan: Plan, readiness: string]>([
    ['all is well', reconcile(admitted), 'Ready: Ready'],
    ['the spec is invalid', reconcile(apiKey('a', withSpec({ enabled: 'no' }))), 'SpecInvalid, Stalled'],
    ['an address is invalid', reconcile(apiKey('a', allowing('10.0.0.1/8'))), 'SpecInvalid, Stalled'],
    [
      'a Secret of that name is not ours',
      reconcile(admitted, { value: { source: 'Generated', secret: { state: 'NotOwned', ofFormerKey: false } } }),
      'SecretNotOwned, Stalled',
    ],
    [
      'a Secret of a former key is about to go',
      reconcile(admitted, { value: { source: 'Generated', secret: { state: 'NotOwned', ofFormerKey: true } } }),
      'SecretNotOwned, Reconciling',
    ],
    [
      'the Secret was tampered with',
      reconcile(admitted, { value: { source: 'Generated', secret: { state: 'Tampered' } } }),
      'SecretTampered, Stalled',
    ],
    [
      'the existing Secret is not there yet',
      reconcile(admitted, { value: { source: 'Unusable', reason: 'SecretNotFound', message: 'No.' } }),
      'SecretNotFound, Reconciling',
    ],
    [
      'the existing key is malformed',
      reconcile(admitted, { value: { source: 'Unusable', reason: 'KeyMalformed', message: 'No.' } }),
      'KeyMalformed, Stalled',
    ],
    [
      'the existing key is weak',
      reconcile(admitted, { value: { source: 'Unusable', reason: 'KeyWeak', message: 'No.' } }),
      'KeyWeak, Stalled',
    ],
    [
      'an older key has the same value',
      reconcile(admitted, { value: { source: 'Unusable', reason: 'DuplicateKey', message: 'No.' } }),
      'DuplicateKey, Stalled',
    ],
    [
      'the Secret may not be read',
      reconcile(admitted, { value: { source: 'Unusable', reason: 'SecretUnreadable', message: 'No.' } }),
      'SecretUnreadable, Stalled',
    ],
    ['disabled', reconcile(apiKey('a', asking('orders'), disabled())), 'Disabled'],
    ['expired', reconcile(apiKey('a', asking('orders'), expiring('2026-06-01T12:00:00Z'))), 'Expired'],
    ['not yet expired', reconcile(apiKey('a', asking('orders'), expiring('2026-06-01T12:00:01Z'))), 'Ready: Ready'],
    [
      'expired by its lifetime',
      reconcile(apiKey('a', asking('orders'), created('2026-06-01T11:00:00Z'), lasting(3600))),
      'Expired',
    ],
    [
      'within its lifetime',
      reconcile(apiKey('a', asking('orders'), created('2026-06-01T11:00:00Z'), lasting(3601))),
      'Ready: Ready',
    ],
    [
      'disabled goes before expired',
      reconcile(apiKey('a', asking('orders'), disabled(), expiring('2020-01-01T00:00:00Z'))),
      'Disabled',
    ],
    [
      'there is no such policy',
      reconcile(admitted, { policies: [[{ namespace: 'shop', name: 'orders', policy: undefined }]] }),
      'PolicyNotFound, Reconciling',
    ],
    [
      'there is no policy at all',
      reconcile(apiKey('a', asking('*')), { policies: [[]] }),
      'PolicyNotFound, Reconciling',
    ],
    [
      'the policy is not in force',
      reconcile(admitted, { policies: [[{ namespace: 'shop', name: 'orders', policy: 'broken' }]] }),
      'PolicyNotAccepted, Reconciling',
    ],
    [
      'the policy grants nothing to this namespace',
      reconcile(
        apiKey('a', asking('shop/orders'), (draft) => ({
          ...draft,
          metadata: { ...draft.metadata, namespace: 'billing' },
        })),
      ),
      'NamespaceNotGranted, Stalled',
    ],
    ['no such role', reconcile(apiKey('a', asking('orders', { roles: ['Owner'] }))), 'RoleUnknown, Stalled'],
    [
      'no such interface',
      reconcile(apiKey('a', asking('orders', { interfaces: ['chat'] }))),
      'InterfaceUnknown, Stalled',
    ],
    [
      'a role above the ceiling',
      reconcile(apiKey('a', asking('orders', { roles: ['Admin'] })), { policies: [[readOnly]] }),
      'RoleNotGranted, Stalled',
    ],
    [
      'an interface above the ceiling',
      reconcile(apiKey('a', asking('orders', { interfaces: ['write'] })), { policies: [[readOnly]] }),
      'InterfaceNotGranted, Stalled',
    ],
    [
      'one entry of two is refused',
      reconcile(apiKey('a', asking('orders'), asking('orders', { roles: ['Owner'] }))),
      'RoleUnknown, Stalled',
    ],
    ['it asks for nothing', reconcile(apiKey('a'), { publications: new Map() }), 'NoAccess, Stalled'],
    [
      'not published yet',
      reconcile(admitted, { publications: new Map([['shop/orders', 'Pending']]) }),
      'Pending, Reconciling',
    ],
    [
      'published here, not yet there',
      reconcile(admitted, {
        publications: new Map([
          ['shop/a', 'Published'],
          ['shop/b', 'Pending'],
        ]),
      }),
      'Pending, Reconciling',
    ],
    [
      'no room',
      reconcile(admitted, {
        publications: new Map([
          ['shop/orders', 'CapacityExceeded'],
          ['shop/b', 'Pending'],
        ]),
      }),
      'CapacityExceeded, Stalled',
    ],
    ['not yet valid', reconcile(apiKey('a', asking('orders'), notBefore('2026-06-01T12:00:01Z'))), 'NotYetValid'],
    ['valid from now on', reconcile(apiKey('a', asking('orders'), notBefore('2026-06-01T12:00:00Z'))), 'Ready: Ready'],
    [
      'only the digest is known',
      reconcile(apiKey('a', asking('orders'), knownBy(`sha256:${'0'.repeat(64)}`)), {
        value: { source: 'Digest', keyId: 'AAAAAAAAAAAAAAAA', values: [value] },
      }),
      'Ready: Ready',
    ],
  ])('%s', (_, plan, expected) => {
    expect(readiness(plan)).toBe(expected)
    expect([plan.create, plan.apply, plan.remove]).toEqual([[], [], []])
  })

  test('a message names what is wrong by its path', () => {
    const plan = reconcile(apiKey('a', withSpec({ allowedAddresses: ['10.0.0.0/8', '10.0.0.1/8'], expires: 'x' })))
    expect(condition(plan, 'Ready')?.message).toContain('.spec.expires: is not a known field')
    const addresses = reconcile(apiKey('a', allowing('10.0.0.0/8', '010.0.0.1')))
    expect(condition(addresses, 'Ready')?.message).toContain('.spec.allowedAddresses[1]')
  })

  test('a message that a status could not take is cut', () => {
    const broken = { namespace: 'shop', name: 'orders', policy: 'x'.repeat(50_000) }
    const plan = reconcile(admitted, { policies: [[broken]] })
    expect(statusOf(plan).access?.[0]?.message.length).toBe(1024)
    expect(condition(plan, 'Ready')!.message.length).toBeLessThanOrEqual(32768)
  })
})

describe('the first look', () => {
  const plan = reconcile(admitted, { value: absent })
  const secret = plan.create[0] as Secret
  test('creates a Secret with a key, tells of it, and leaves the status for the next', () => {
    expect(plan.create).toHaveLength(1)
    expect(plan.status).toBeUndefined()
    const text = Buffer.from(secret.data!.key!, 'base64').toString()
    expect(parseKey(text, 'pstn')).toBeDefined()
    expect(plan.events).toEqual([
      {
        type: 'Normal',
        reason: 'KeyCreated',
        action: 'CreateSecret',
        note: `Created Secret exporter with key ${parseKey(text, 'pstn')!.keyId}.`,
      },
    ])
    expect(JSON.stringify(plan.events)).not.toContain(parseKey(text, 'pstn')!.secret)
  })
  test('the Secret belongs to the key, and is found to be as it should', () => {
    expect(secret.metadata.ownerReferences).toEqual([
      expect.objectContaining({ uid: 'uid-of-exporter', controller: true }),
    ])
    const parsed = parseApiKey(admitted)
    const facts = parsed.ok && inspectSecret(ownerOf(admitted, parsed.value), secret, seal)
    expect(facts).toMatchObject({ state: 'Valid', repair: undefined, values: [{ revision: 1 }] })
  })
  test('a Secret that was deleted comes back under the same key id, with another value and the next revision', () => {
    const before = apiKey(
      'exporter',
      asking('orders'),
      withStatus({ keyId: 'A'.repeat(16), values: [{ revision: 4, createdTime: '2026-01-01T00:00:00Z' }] }),
    )
    const made = reconcile(before, { value: absent }).create[0] as Secret
    expect(Buffer.from(made.data!.keyId!, 'base64').toString()).toBe('A'.repeat(16))
    const parsed = parseApiKey(before)
    expect(parsed.ok && inspectSecret(ownerOf(before, parsed.value), made, seal)).toMatchObject({
      values: [{ revision: 5 }],
    })
  })
  test('a key id in the status that is none is not used', () => {
    const before = apiKey('exporter', withStatus({ keyId: '../../x' }))
    const made = reconcile(before, { value: absent }).create[0] as Secret
    expect(Buffer.from(made.data!.keyId!, 'base64').toString()).toMatch(/^[0-9A-Za-z]{16}$/)
  })
  test('a disabled or expired key has its Secret too', () => {
    expect(reconcile(apiKey('a', disabled()), { value: absent }).create).toHaveLength(1)
  })
  test('nothing is created for an invalid spec', () => {
    expect(reconcile(apiKey('a', withSpec({ x: 1 })), { value: absent }).create).toEqual([])
  })
})

test('a Secret that is not as it should be is applied again, before anything else', () => {
  const owner = { name: 'exporter', namespace: 'shop', uid: 'uid-of-exporter', spec: { enabled: true } }
  const repair = renderSecret(owner, key, [value], seal)
  const plan = reconcile(admitted, {
    value: { source: 'Generated', secret: { state: 'Valid', keyId: 'x', values: [value], repair } },
  })
  expect(plan.apply).toEqual([repair])
  expect(plan.status).toBeUndefined()
})

describe('the status', () => {
  test('tells of the key without telling the key', () => {
    const status = statusOf(reconcile(apiKey('exporter', asking('orders'), expiring('2027-01-01T00:00:00Z'))))
    expect(status).toMatchObject({
      observedGeneration: 1,
      keyId: key.split('_')[1],
      keyIdSuffix: key.split('_')[1]!.slice(-4),
      createdTime: '2026-01-01T00:00:00Z',
      expiresTime: '2027-01-01T00:00:00Z',
      values: [{ revision: 1, createdTime: '2026-01-01T00:00:00Z', expiresTime: '2027-01-01T00:00:00Z' }],
      access: [{ policy: 'shop/orders', accepted: true, reason: 'Granted' }],
    })
    expect(JSON.stringify(status)).not.toContain(key.split('_')[2])
    expect(JSON.stringify(status)).not.toContain(value.digest)
  })
  test('answers each entry in its order', () => {
    const status = statusOf(reconcile(apiKey('a', asking('orders', { roles: ['Owner'] }), asking('orders'))))
    expect(status.access?.map(({ reason }) => reason)).toEqual(['RoleUnknown', 'Granted'])
  })
  test('an entry for every policy is refused where one refuses it', () => {
    const asked = apiKey('a', asking('*', { roles: ['Admin'] }))
    const other: PolicyFacts = { ...readOnly, name: 'other' }
    expect(statusOf(reconcile(asked, { policies: [[orders, other]] })).access?.[0]).toMatchObject({
      policy: 'shop/*',
      accepted: false,
      reason: 'RoleNotGranted',
    })
    expect(statusOf(reconcile(asked, { policies: [[orders]] })).access?.[0]?.accepted).toBe(true)
  })
  test('labels of the namespace decide by a selector', () => {
    const selecting: PolicyFacts = {
      ...orders,
      policy: policyOf({
        grants: [{ namespaces: { from: 'Selector', selector: { matchLabels: { team: 'billing' } } } }],
      }),
    }
    expect(readiness(reconcile(admitted, { policies: [[selecting]], labels: { team: 'billing' } }))).toBe(
      'Ready: Ready',
    )
    expect(readiness(reconcile(admitted, { policies: [[selecting]], labels: { team: 'other' } }))).toBe(
      'NamespaceNotGranted, Stalled',
    )
  })
  test('is the same at a second look, and tells nothing twice', () => {
    const refused = apiKey('a', asking('orders', { roles: ['Owner'] }))
    const first = reconcile(refused)
    const again = reconcile({ ...refused, status: statusOf(first) }, { now: afterNoon(3600) })
    expect(again.status).toEqual(first.status)
    expect([first.events.length, again.events.length]).toEqual([1, 0])
  })
  test('a transition time moves with the status of its condition alone', () => {
    const before = { ...admitted, status: statusOf(reconcile(admitted)) }
    const later = reconcile({ ...before, spec: { ...admitted.spec, enabled: false } }, { now: afterNoon(60) })
    expect(condition(later, 'Ready')?.lastTransitionTime).toBe('2026-06-01T12:01:00Z')
    expect(condition(later, 'SecretReady')?.lastTransitionTime).toBe('2026-06-01T12:00:00Z')
  })
})

describe('events', () => {
  test.each<[what: string, plan: Plan, events: string[]]>([
    ['ready from the beginning is no news', reconcile(admitted), []],
    [
      'ready after it was stalled',
      reconcile({ ...admitted, status: statusOf(reconcile(apiKey('a', asking('orders', { roles: ['Owner'] })))) }),
      ['Normal Ready'],
    ],
    ['stalled', reconcile(apiKey('a', asking('orders', { roles: ['Owner'] }))), ['Warning RoleUnknown']],
    [
      'waiting for something that may come is no news',
      reconcile(admitted, { publications: new Map([['shop/orders', 'Pending']]) }),
      [],
    ],
  ])('%s', (_, { events }, expected) => expect(events.map(({ type, reason }) => `${type} ${reason}`)).toEqual(expected))
})

describe('the next look', () => {
  test.each<[what: string, object: ApiKey, wakeAt: Date | undefined]>([
    ['never of itself', admitted, undefined],
    ['at its expiry', apiKey('a', expiring('2026-06-01T12:01:00Z')), afterNoon(60)],
    [
      'at its beginning, which is before',
      apiKey('a', notBefore('2026-06-01T12:00:30Z'), expiring('2026-06-01T12:01:00Z')),
      afterNoon(30),
    ],
    [
      'not at what is past',
      apiKey('a', notBefore('2026-01-01T00:00:00Z'), expiring('2026-06-01T12:01:00Z')),
      afterNoon(60),
    ],
    ['not after its expiry', apiKey('a', expiring('2026-06-01T11:59:59Z')), undefined],
  ])('%s', (_, object, wakeAt) => expect(reconcile(object).wakeAt).toEqual(wakeAt))
})

describe('lifetimes', () => {
  const of = (...changes: Parameters<typeof apiKey> extends [string, ...infer C] ? C : never) => {
    const object = apiKey('a', ...changes)
    const parsed = parseApiKey(object)
    if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems))
    const { notBefore: from, expires } = lifetimeOf(object, parsed.value)
    return [from?.toISOString(), expires?.toISOString()]
  }
  test('are whole seconds, and never longer than asked for', () => {
    expect(of(notBefore('2026-01-01T00:00:00.2Z'), expiring('2026-01-01T00:00:09.9Z'))).toEqual([
      '2026-01-01T00:00:01.000Z',
      '2026-01-01T00:00:09.000Z',
    ])
  })
  test.each(['1970-01-01T00:00:00Z', '1969-12-31T23:59:59Z', '0001-01-01T00:00:00Z'])(
    'that ended at %s have ended',
    (time) => {
      // 0 stands for none in a set: such a key would have lived for ever, or have made its set unreadable.
      expect(of(expiring(time))[1]).toBe('1970-01-01T00:00:01.000Z')
    },
  )
  test('end before years take five digits', () => {
    expect(of(expiring('9999-12-31T23:59:59-10:00'))[1]).toBe('9999-12-31T23:59:59.000Z')
  })
})

test('what the builders make is valid', () => {
  expect(parseApiKey(apiKey('a', asking('b/c', { roles: ['R'] }), allowing('10.0.0.*'))).ok).toBe(true)
  expect(accessPolicy('a', granting({ namespaces: { from: 'All' } })).metadata.name).toBe('a')
})
