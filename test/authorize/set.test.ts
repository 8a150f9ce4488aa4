import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { type Manifest, manifestFile, signatureFile } from '../../src/api/verification.ts'
import type { Opened, SetExpectation } from '../../src/core/authorize/set.ts'
import { digestOf } from '../../src/core/key.ts'
import { type SigningKey, signatureLine, signingKey } from '../../src/core/signature.ts'
import { openFiles } from '../support/asked.ts'
import { filesOf, keyOf, nextSigner, policyOf, published, signer } from '../support/verification.ts'

type Files = Map<string, Buffer>

const policy = policyOf({ verification: { shards: 4 } })
const keys = Array.from({ length: 40 }, (_, number) => ({ key: keyOf(number) }))
const stranger = signingKey(Buffer.alloc(32, 9))
const setFiles = (edition: object = {}): Files => filesOf(published(policy, keys, edition))

const opened = (outcome: Opened) => {
  if (outcome.outcome !== 'opened') throw new Error(JSON.stringify(outcome))
  return outcome.set
}
const reasonOf = (files: Files, expected: Partial<SetExpectation> = {}): string => {
  const outcome = openFiles(files, expected)
  return outcome.outcome === 'refused' ? outcome.reason : outcome.outcome
}

/** The files with another manifest, signed as it should be. */
function signed(files: Files, change: (manifest: Manifest) => unknown, by: SigningKey = signer): Files {
  const text = JSON.stringify(change(JSON.parse(files.get(manifestFile)!.toString()) as Manifest))
  return new Map([...files, [manifestFile, Buffer.from(text)], [signatureFile, Buffer.from(signatureLine(by, text))]])
}
const withFile = (files: Files, name: string, text: string | Buffer): Files =>
  new Map([...files, [name, Buffer.from(text)]])
const without = (files: Files, name: string): Files => new Map([...files].filter(([file]) => file !== name))
/** One part exchanged, and the manifest signed anew for it. */
function withPart(files: Files, name: string, text: string): Files {
  const bytes = Buffer.from(text)
  const part = { sha256: createHash('sha256').update(bytes).digest('hex'), bytes: bytes.length }
  return signed(withFile(files, name, bytes), (manifest) => ({
    ...manifest,
    parts: { ...manifest.parts, [name]: part },
  }))
}
const changed = (text: Buffer): Buffer =>
  Buffer.concat([text.subarray(0, -2), Buffer.from([text.at(-2)! ^ 1]), text.subarray(-1)])

describe('a set that is as it was published', () => {
  test('opens, and finds each key and no other', () => {
    const set = opened(openFiles(setFiles()))
    expect(keys.map(({ key }) => set.find(digestOf(key))?.keyId)).toEqual(keys.map(({ key }) => key.split('_')[1]))
    expect(set.find(digestOf(keyOf(1000)))).toBeUndefined()
  })
  test('is unchanged when it is loaded already', () => {
    const current = opened(openFiles(setFiles()))
    expect(openFiles(setFiles(), { current }).outcome).toBe('unchanged')
  })
  test('is refused when something beside its manifest is changed after it was loaded', () => {
    const files = setFiles()
    const current = opened(openFiles(files))
    const name = 'keys-0'
    expect(reasonOf(withFile(files, name, changed(files.get(name)!)), { current })).toBe('PartMismatch')
    expect(reasonOf(withFile(files, signatureFile, Buffer.from('')), { current })).toBe('SignatureInvalid')
  })
  test('may be signed by any of the trusted keys, and by several', () => {
    expect(
      reasonOf(setFiles({ signingKey: nextSigner }), { publicKeys: [signer.publicKey, nextSigner.publicKey] }),
    ).toBe('opened')
    const files = setFiles({ signingKey: stranger })
    const both = Buffer.concat([
      files.get(signatureFile)!,
      Buffer.from(signatureLine(signer, files.get(manifestFile)!.toString())),
    ])
    expect(reasonOf(withFile(files, signatureFile, both))).toBe('opened')
  })
  test('replaces an older one: of a later sequence, and of a later epoch whatever its sequence', () => {
    const current = opened(openFiles(setFiles({ epoch: 5, sequence: 9 })))
    expect(reasonOf(setFiles({ epoch: 5, sequence: 10 }), { current })).toBe('opened')
    expect(reasonOf(setFiles({ epoch: 6, sequence: 1 }), { current })).toBe('opened')
  })
  test('is that of the policy with the uid that is asked for', () => {
    expect(reasonOf(setFiles(), { policyUid: policy.uid })).toBe('opened')
  })
})

describe('a set that is refused', () => {
  const current = opened(openFiles(setFiles({ epoch: 5, sequence: 9 })))
  test.each<[what: string, reason: string, files: Files, expected?: Partial<SetExpectation>]>([
    ['no manifest', 'ManifestMissing', without(setFiles(), manifestFile)],
    ['nothing at all', 'ManifestMissing', new Map()],
    ['no signature', 'SignatureInvalid', without(setFiles(), signatureFile)],
    ['an empty signature', 'SignatureInvalid', withFile(setFiles(), signatureFile, '')],
    [
      'an edited signature',
      'SignatureInvalid',
      withFile(setFiles(), signatureFile, changed(setFiles().get(signatureFile)!)),
    ],
    [
      'an edited manifest',
      'SignatureInvalid',
      withFile(setFiles(), manifestFile, changed(setFiles().get(manifestFile)!)),
    ],
    [
      'a truncated manifest',
      'SignatureInvalid',
      withFile(setFiles(), manifestFile, setFiles().get(manifestFile)!.subarray(0, 50)),
    ],
    ['a stranger who signed', 'SignatureInvalid', setFiles({ signingKey: stranger })],
    [
      'a stranger in the name of ours',
      'SignatureInvalid',
      signed(setFiles(), (manifest) => manifest, { ...stranger, publicKey: signer.publicKey }),
    ],
    ['no trusted key', 'SignatureInvalid', setFiles(), { publicKeys: [] }],
    [
      'a signature behind many lines',
      'SignatureInvalid',
      withFile(setFiles(), signatureFile, `${'x\n'.repeat(8)}${setFiles().get(signatureFile)!.toString()}`),
    ],
    ['a manifest that is a list', 'ManifestMalformed', signed(setFiles(), () => [])],
    ['a manifest that is null', 'ManifestMalformed', signed(setFiles(), () => null)],
    ['no format', 'ManifestMalformed', signed(setFiles(), ({ format: _, ...manifest }) => manifest)],
    ['no parts', 'ManifestMalformed', signed(setFiles(), ({ parts: _, ...manifest }) => manifest)],
    [
      'a sequence that is no number',
      'ManifestMalformed',
      signed(setFiles(), (manifest) => ({ ...manifest, sequence: '1' })),
    ],
    ['no epoch', 'ManifestMalformed', signed(setFiles(), ({ epoch: _, ...manifest }) => manifest)],
    ['no shards', 'ManifestMalformed', signed(setFiles(), (manifest) => ({ ...manifest, shards: 0 }))],
    ['a later format', 'FormatUnknown', signed(setFiles(), (manifest) => ({ format: 2, other: manifest.parts }))],
    ['another policy', 'PolicyMismatch', setFiles(), { policy: 'other' }],
    ['another namespace', 'PolicyMismatch', setFiles(), { namespace: 'other' }],
    ['a policy that had this name before', 'PolicyMismatch', setFiles(), { policyUid: 'another-uid' }],
    ['an earlier sequence', 'Rollback', setFiles({ epoch: 5, sequence: 8 }), { current }],
    ['an earlier epoch', 'Rollback', setFiles({ epoch: 4, sequence: 99 }), { current }],
    [
      'other content under the same number',
      'SequenceConflict',
      filesOf(published(policy, keys.slice(1), { epoch: 5, sequence: 9 })),
      { current },
    ],
    ['a part that is missing', 'PartMissing', without(setFiles(), 'keys-3')],
    ['a policy that is missing', 'PartMissing', without(setFiles(), 'policy.json')],
    [
      'a shard that the manifest does not name',
      'PartMissing',
      signed(setFiles(), (manifest) => ({ ...manifest, shards: 5 })),
    ],
    ['an edited part', 'PartMismatch', withFile(setFiles(), 'keys-2', changed(setFiles().get('keys-2')!))],
    [
      'a longer part',
      'PartMismatch',
      withFile(setFiles(), 'keys-2', Buffer.concat([setFiles().get('keys-2')!, Buffer.from('\n')])),
    ],
    ['an edited policy', 'PartMismatch', withFile(setFiles(), 'policy.json', '{}')],
    [
      "another edition's part",
      'PartMismatch',
      withFile(setFiles(), 'keys-2', filesOf(published(policy, keys.slice(0, 3))).get('keys-2')!),
    ],
    ['two parts exchanged', 'PartMismatch', withFile(setFiles(), 'keys-2', setFiles().get('keys-3')!)],
    ['a policy that is no JSON', 'PartMalformed', withPart(setFiles(), 'policy.json', '{')],
    ['a line that is no line', 'PartMalformed', withPart(setFiles(), 'keys-0', 'x\n')],
    [
      'a line without its end',
      'PartMalformed',
      withPart(setFiles(), 'keys-0', setFiles().get('keys-0')!.toString().trimEnd()),
    ],
    [
      'a line with a grant that is not there',
      'PartMalformed',
      withPart(setFiles(), 'keys-0', setFiles().get('keys-0')!.toString().replace('",0,0,0,', '",7,0,0,')),
    ],
    [
      'a line with a negative time',
      'PartMalformed',
      withPart(setFiles(), 'keys-0', setFiles().get('keys-0')!.toString().replace('",0,0,0,', '",0,0,-1,')),
    ],
  ])('%s: %s', (_, reason, files, expected) => expect(reasonOf(files, expected)).toBe(reason))

  test('says why in words, without a key', () => {
    const outcome = openFiles(setFiles({ epoch: 5, sequence: 8 }), { current })
    expect(outcome).toMatchObject({ message: expect.stringMatching(/5\/8.*older.*5\/9/) })
  })
})

test('a part that the manifest does not name is not looked at', () => {
  expect(reasonOf(withFile(setFiles(), 'keys-9', 'x'))).toBe('opened')
  expect(reasonOf(withFile(setFiles(), '__proto__', 'x'))).toBe('opened')
})

test('an editor who adds a line of his own cannot make it count', () => {
  const [mine] = [keyOf(77)]
  const forged = `["AAAAAAAAAAAAAAAA","${digestOf(mine).toString('base64url')}",0,0,0,0,"mine"]\n`
  const files = setFiles()
  const shard = `keys-${digestOf(mine)[0]! % 4}`
  const text = files.get(shard)!.toString() + forged
  expect(reasonOf(withFile(files, shard, text))).toBe('PartMismatch')
  const bytes = Buffer.from(text)
  const part = { sha256: createHash('sha256').update(bytes).digest('hex'), bytes: bytes.length }
  const own = signed(
    withFile(files, shard, bytes),
    (manifest) => ({ ...manifest, parts: { ...manifest.parts, [shard]: part } }),
    stranger,
  )
  expect(reasonOf(own)).toBe('SignatureInvalid')
})

describe('many keys', () => {
  const known = Array.from({ length: 10_000 }, (_, number) => ({ key: keyOf(number), name: `client-${number}` }))
  const set = opened(openFiles(filesOf(published(policyOf({ verification: { shards: 2 } }), known))))
  test('ten thousand are found, each as itself, also a second time', () => {
    for (let round = 0; round < 2; round++) {
      expect(known.filter(({ key, name }) => set.find(digestOf(key))?.name !== name)).toEqual([])
    }
  })
  test('ten thousand others are not', () => {
    const strangers = Array.from({ length: 10_000 }, (_, number) => keyOf(number + 50_000))
    expect(strangers.filter((key) => set.find(digestOf(key)))).toEqual([])
  })
  test('a digest that differs in one bit alone is another', () => {
    for (const { key } of known.slice(0, 500)) {
      for (const at of [1, 5, 31]) {
        const digest = Buffer.from(digestOf(key))
        digest[at]! ^= 1
        expect(set.find(digest)).toBeUndefined()
      }
    }
  })
})

test('no key at all is a set too', () => {
  expect(opened(openFiles(filesOf(published(policy, [])))).find(digestOf(keyOf(1)))).toBeUndefined()
})
