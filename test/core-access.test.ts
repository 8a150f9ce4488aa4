import { describe, expect, test } from 'vitest'
import type { AccessEntry } from '../src/api/api-key.ts'
import { answerAccess, mergeAccess } from '../src/core/access.ts'
import { policyOf } from './support/verification.ts'

const interfaces = ['chat', 'files', 'admin'].map((name) => ({ name, match: [{ paths: [`/${name}`] }] }))
const resources = [
  { name: 'model', from: { header: 'X-Model' }, interfaces: ['chat'] },
  { name: 'bucket', from: { header: 'X-Bucket' }, interfaces: ['files'] },
]
const model = (...values: readonly string[]) => ({ name: 'model', values })
const policy = (...grants: readonly object[]) =>
  policyOf({ interfaces, resources, roles: [{ name: 'User', interfaces: ['chat', 'files'] }], grants })
const same = { namespaces: { from: 'Same' } }
const answer = (grants: readonly object[], entry: Omit<AccessEntry, 'policy'>) => {
  const answered = answerAccess(policy(...grants), { policy: { name: 'orders' }, ...entry }, 'shop', {})
  return answered.accepted ? answered.access : answered.reason
}

describe('what a key is granted', () => {
  test.each<[what: string, grants: readonly object[], entry: Omit<AccessEntry, 'policy'>, expected: unknown]>([
    ['everything, where it asks for nothing in particular', [same], {}, [{ interfaces: [0, 1, 2] }]],
    [
      'the values that it asks for, where they apply',
      [same],
      { resources: [model('b', 'a')] },
      [{ interfaces: [1, 2] }, { interfaces: [0], resources: [[0, ['a', 'b']]] }],
    ],
    [
      'the ceiling, where it asks for no values',
      [{ ...same, resources: [model('a')] }],
      { roles: ['User'] },
      [{ interfaces: [1] }, { interfaces: [0], resources: [[0, ['a']]] }],
    ],
    [
      'values below the ceiling',
      [{ ...same, resources: [model('ep-*', 'a')] }],
      { interfaces: ['chat'], resources: [model('ep-1', 'ep-2*', 'a')] },
      [{ interfaces: [0], resources: [[0, ['a', 'ep-1', 'ep-2*']]] }],
    ],
    [
      'nothing where it asks for a value above the ceiling',
      [{ ...same, resources: [model('ep-*')] }],
      { interfaces: ['chat'], resources: [model('ep-1', 'b')] },
      'ResourceNotGranted',
    ],
    [
      'nothing where it asks for more than a beginning',
      [{ ...same, resources: [model('ep-1*')] }],
      { resources: [model('ep-*')] },
      'ResourceNotGranted',
    ],
    [
      'nothing where a beginning is asked for and one value is granted',
      [{ ...same, resources: [model('ep-1')] }],
      { resources: [model('ep-1*')] },
      'ResourceNotGranted',
    ],
    [
      'nothing of a resource that is not there',
      [same],
      { resources: [{ name: 'x', values: ['a'] }] },
      'ResourceUnknown',
    ],
    [
      'a ceiling does not matter where the resource does not apply',
      [{ ...same, resources: [model('a')] }],
      { interfaces: ['files'], resources: [model('b')] },
      [{ interfaces: [1] }],
    ],
    [
      'what each of two grants allows, and no mixture',
      [
        { ...same, interfaces: ['chat'], resources: [model('a')] },
        { ...same, interfaces: ['files'] },
      ],
      {},
      [{ interfaces: [1] }, { interfaces: [0], resources: [[0, ['a']]] }],
    ],
    [
      'the values of one grant on its interface alone',
      [
        { ...same, interfaces: ['chat'], resources: [model('a')] },
        { ...same, interfaces: ['files'], resources: [model('b')] },
      ],
      { interfaces: ['chat'], resources: [model('b')] },
      'ResourceNotGranted',
    ],
    [
      'the same interface by two grants',
      [
        { ...same, resources: [model('a')] },
        { ...same, interfaces: ['chat'], resources: [model('b')] },
      ],
      { interfaces: ['chat'] },
      [
        { interfaces: [0], resources: [[0, ['a']]] },
        { interfaces: [0], resources: [[0, ['b']]] },
      ],
    ],
    [
      'an interface above the ceiling',
      [{ ...same, interfaces: ['chat'] }],
      { interfaces: ['admin'] },
      'InterfaceNotGranted',
    ],
  ])('%s', (_, grants, entry, expected) => {
    expect(answer(grants, entry)).toEqual(expected)
  })

  test('says which interface is to blame', () => {
    const limited = policy({ ...same, resources: [model('a')] })
    expect(answerAccess(limited, { policy: { name: 'orders' }, resources: [model('b')] }, 'shop', {})).toMatchObject({
      message: expect.stringContaining('on the interface chat') as string,
    })
  })
})

test('entries with the same limits are one, whatever their order', () => {
  const entries = [
    { interfaces: [2] },
    { interfaces: [1], resources: [[0, ['a']] as const] },
    { interfaces: [0], resources: [[0, ['a']] as const] },
    { interfaces: [0] },
  ]
  const merged = [{ interfaces: [0, 2] }, { interfaces: [0, 1], resources: [[0, ['a']]] }]
  expect(mergeAccess(entries)).toEqual(merged)
  expect(mergeAccess(entries.toReversed())).toEqual(merged)
})
