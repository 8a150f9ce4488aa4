import { describe, expect, test } from 'vitest'
import type { ApiKeySpec } from '../../src/api/api-key.ts'
import { annotations } from '../../src/api/names.ts'
import type { Secret } from '../../src/api/object.ts'
import { digestOf, mintKey, parseKey } from '../../src/core/key.ts'
import { inspectSecret, type KeyOwner, renderSecret, type SecretFacts } from '../../src/core/reconcile/key-secret.ts'
import { keyOf } from '../support/verification.ts'

const seal = Buffer.alloc(32, 7)
const key = keyOf(1)
const { keyId, secret, check } = parseKey(key, 'pstn')!
const values = [{ revision: 1, digest: digestOf(key).toString('base64url'), createdTime: '2026-01-01T00:00:00Z' }]

const ownerWith = (given: ApiKeySpec['secret'] = {}): KeyOwner => ({
  name: 'exporter',
  namespace: 'billing',
  uid: 'uid-1',
  spec: { enabled: true, secret: given },
})
/** As the API server would hand it back. */
const stored = (rendered: Secret): Secret => ({
  ...rendered,
  metadata: { ...rendered.metadata, uid: 'uid-of-secret', resourceVersion: '5' },
})
const rendered = (given?: ApiKeySpec['secret']): Secret => stored(renderSecret(ownerWith(given), key, values, seal))
const text = ({ data }: Secret): Record<string, string> =>
  Object.fromEntries(
    Object.entries(data ?? {}).map(([name, encoded]) => [name, Buffer.from(encoded, 'base64').toString()]),
  )
const encode = (plain: string): string => Buffer.from(plain).toString('base64')
const inspect = (object: Secret | undefined, owner = ownerWith()): SecretFacts => inspectSecret(owner, object, seal)
const withData = (object: Secret, data: Record<string, string>): Secret => ({
  ...object,
  data: { ...object.data, ...data },
})
const withMeta = (object: Secret, metadata: object): Secret => ({
  ...object,
  metadata: { ...object.metadata, ...metadata },
})

describe('the Secret of a key', () => {
  test('holds key, key id and secret by default', () => {
    expect(text(rendered())).toEqual({ key, keyId, secret: secret + check })
    expect(rendered().metadata).toMatchObject({ name: 'exporter', namespace: 'billing' })
  })
  test('follows name, labels, annotations and template', () => {
    const made = rendered({
      name: 'token',
      labels: { app: 'x', 'postern.dev/managed': 'no' },
      annotations: { note: 'y' },
      template: { '.env': 'KEY=$(key)\nID=$(keyId)\n', pair: '$(keyId):$(secret)', plain: '$key $(key)$(key)' },
    })
    expect(text(made)).toEqual({
      '.env': `KEY=${key}\nID=${keyId}\n`,
      pair: `${keyId}:${secret}${check}`,
      plain: `$key ${key}${key}`,
    })
    expect(made.metadata.name).toBe('token')
    expect(made.metadata.labels).toMatchObject({ app: 'x', 'postern.dev/managed': 'true' })
    expect(made.metadata.annotations).toMatchObject({ note: 'y' })
  })
  test('says of its values what they are, not the values', () => {
    const note = rendered().metadata.annotations![annotations.values]!
    expect(note).toContain(`sha256:${digestOf(key).toString('hex')}`)
    expect(note).not.toContain(secret)
  })
})

describe('what is found under its name', () => {
  const other = keyOf(2)
  const edited = (name: string, plain: string): Secret => withData(rendered(), { [name]: encode(plain) })
  const annotation = (change: (note: Record<string, unknown>) => unknown): Secret => {
    const note = JSON.parse(rendered().metadata.annotations![annotations.values]!) as Record<string, unknown>
    return withMeta(rendered(), { annotations: { [annotations.values]: JSON.stringify(change(note)) } })
  }
  test.each<[what: string, secret: Secret | undefined, state: SecretFacts['state']]>([
    ['nothing', undefined, 'Absent'],
    ['as it was written', rendered(), 'Valid'],
    ['with data of others beside it', withData(rendered(), { extra: encode('x') }), 'Valid'],
    ['no owner', withMeta(rendered(), { ownerReferences: [] }), 'NotOwned'],
    [
      'another owner',
      withMeta(rendered(), {
        ownerReferences: [{ ...rendered().metadata.ownerReferences![0], name: 'b', uid: 'uid-2' }],
      }),
      'NotOwned',
    ],
    [
      'another key in all its data',
      {
        ...rendered(),
        data: { key: encode(other), keyId: encode(other.split('_')[1]!), secret: encode(other.split('_')[2]!) },
      },
      'Tampered',
    ],
    ['no data', { ...rendered(), data: {} }, 'Tampered'],
    ['no note', withMeta(rendered(), { annotations: {} }), 'Tampered'],
    ['a note that is no JSON', withMeta(rendered(), { annotations: { [annotations.values]: 'x' } }), 'Tampered'],
    ['a note without its seal', annotation(({ mac: _, ...note }) => note), 'Tampered'],
    [
      'a note with another digest',
      annotation((note) => ({
        ...note,
        values: [{ revision: 1, digest: `sha256:${digestOf(other).toString('hex')}`, createdTime: '' }],
      })),
      'Tampered',
    ],
    ['a note with another key id', annotation((note) => ({ ...note, keyId: other.split('_')[1] })), 'Tampered'],
    [
      'a note with another revision',
      annotation((note) => ({ ...note, values: [{ ...(note.values as object[])[0], revision: 2 }] })),
      'Tampered',
    ],
    [
      'the note of another key',
      withMeta(rendered(), {
        annotations: stored(renderSecret({ ...ownerWith(), uid: 'uid-2' }, key, values, seal)).metadata.annotations,
      }),
      'Tampered',
    ],
    ['the note under another seal', stored(renderSecret(ownerWith(), key, values, Buffer.alloc(32, 8))), 'Tampered'],
    ['one of several data edited, though the key is still there', edited('key', other), 'Tampered'],
    ['a megabyte of letters beside it', withData(rendered(), { big: encode('a'.repeat(700_000)) }), 'Valid'],
  ])('%s', (_, object, state) => expect(inspect(object).state).toBe(state))

  test.each([
    ['a former key of the name', { uid: 'uid-0' }, true],
    ['another kind', { uid: 'uid-0', kind: 'Deployment' }, false],
    ['another key', { uid: 'uid-0', name: 'other' }, false],
  ])('an owner that is %s', (_, change, ofFormerKey) => {
    const owner = { ...rendered().metadata.ownerReferences![0], ...change }
    expect(inspect(withMeta(rendered(), { ownerReferences: [owner] }))).toEqual({ state: 'NotOwned', ofFormerKey })
  })
})

describe('repair', () => {
  const repairOf = (object: Secret, owner = ownerWith()): Secret | undefined => {
    const facts = inspect(object, owner)
    return facts.state === 'Valid' ? facts.repair : undefined
  }
  test('is not asked for where all is as it should be', () => {
    expect(repairOf(rendered())).toBeUndefined()
    expect(repairOf(withMeta(rendered(), { labels: { ...rendered().metadata.labels, theirs: 'x' } }))).toBeUndefined()
  })
  test('brings back labels and annotations with the same key, if nothing has changed meanwhile', () => {
    const damaged = withMeta(rendered({ labels: { app: 'x' } }), { labels: {} })
    const repair = repairOf(damaged, ownerWith({ labels: { app: 'x' } }))!
    expect(text(repair)).toEqual({ key, keyId, secret: secret + check })
    expect(repair.metadata.labels).toMatchObject({ app: 'x', 'postern.dev/managed': 'true' })
    expect(repair.metadata).toMatchObject({ uid: 'uid-of-secret', resourceVersion: '5' })
    expect(repairOf(stored(repair), ownerWith({ labels: { app: 'x' } }))).toBeUndefined()
  })
  test.each<[what: string, before: ApiKeySpec['secret'], after: ApiKeySpec['secret'], data: string[]]>([
    ['another template', {}, { template: { token: '$(key)' } }, ['token']],
    ['no template any more', { template: { token: 'x$(secret)' } }, {}, ['key', 'keyId', 'secret']],
    ['one name less', { template: { a: '$(key)', b: '$(key)' } }, { template: { a: '$(key)' } }, ['a']],
    ['another text', { template: { a: '$(key)' } }, { template: { a: '"$(key)"' } }, ['a']],
    ['letters right before the secret', { template: { a: 'abc$(secret)xyz' } }, { template: { a: '$(key)' } }, ['a']],
  ])('follows a change of layout: %s', (_, before, after, data) => {
    const repair = repairOf(rendered(before), ownerWith(after))!
    expect(Object.keys(text(repair)).sort()).toEqual(data)
    expect(Object.values(text(repair)).join()).toContain(key)
  })
  test('is asked for when a label or an annotation is wanted no more', () => {
    expect(repairOf(rendered({ labels: { app: 'x' } }), ownerWith())).toBeDefined()
    expect(repairOf(rendered({ annotations: { note: 'x' } }), ownerWith())).toBeDefined()
  })
})

test('a key of another prefix than today is still its own', () => {
  const old = mintKey('acme', (count) => new Uint8Array(count).fill(3))
  const digest = digestOf(old).toString('base64url')
  const object = stored(renderSecret(ownerWith(), old, [{ ...values[0]!, digest }], seal))
  expect(inspect(object)).toMatchObject({ state: 'Valid', repair: undefined })
  expect(text(object).key).toBe(old)
})
