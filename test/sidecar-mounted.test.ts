import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { manifestFile, signatureFile } from '../src/api/verification.ts'
import { signingKey } from '../src/core/signature.ts'
import { createLog } from '../src/runtime/log.ts'
import { MountedSet } from '../src/sidecar/mounted.ts'
import { writeVolume } from './support/kubelet.ts'
import { filesOf, keyOf, nextSigner, policyOf, published, signer, type TestKey } from './support/verification.ts'
import { eventually } from './support/wait.ts'

const policy = policyOf({ verification: { shards: 2 } })
const stranger = signingKey(Buffer.alloc(32, 9))
const setOf = (
  sequence: number,
  more: object = {},
  keys: readonly TestKey[] = [{ key: keyOf(1) }, { key: keyOf(2) }],
) => filesOf(published(policy, keys, { sequence, ...more }))

let directory: string
let mounted: MountedSet
let refused: string[]
let changes: number
let lines: string[]

beforeEach(async () => {
  directory = join(await mkdtemp(join(tmpdir(), 'postern-set-')), 'volume')
  await mkdir(directory)
  refused = []
  lines = []
  changes = 0
  mounted = mount()
})
afterEach(async () => {
  await mounted.stop()
  await rm(join(directory, '..'), { recursive: true, force: true })
})

// So long that what is seen has been seen by watching.
const never = 3_600_000

const mount = (policyUid?: string, pollMilliseconds = never) =>
  new MountedSet({
    pollMilliseconds,
    policy: { namespace: 'shop', name: 'orders' },
    policyUid,
    directory,
    publicKeys: [signer.publicKey],
    log: createLog({ level: 'debug', sink: { write: (line) => lines.push(line) } }),
    now: () => Date.parse('2026-06-01T00:00:00Z'),
    changed: () => {
      changes += 1
    },
    refused: (reason) => refused.push(reason),
  })

const write = (files: ReadonlyMap<string, Buffer>) => writeVolume(directory, files)
const serves = (sequence: number) =>
  eventually(`sequence ${sequence}`, () => mounted.current?.manifest.sequence === sequence)

const asks = (key: string) =>
  mounted.decide({
    method: 'GET',
    target: '/a',
    fields: ['Host', 'a', 'X-API-Key', key],
    peer: '127.0.0.1',
  })

describe('a mounted set', () => {
  test('decides once it is there', async () => {
    await mounted.start()
    expect(asks(keyOf(1))).toMatchObject({ allow: false, reason: 'PolicyUnavailable' })
    await write(setOf(1))
    await mounted.ready()
    expect(asks(keyOf(1))).toMatchObject({ allow: true })
    expect(asks(keyOf(3))).toMatchObject({ allow: false, reason: 'KeyUnknown' })
    expect(refused).toEqual([])
  })

  test('counts what limited keys ask for, and nothing when it only looks again', async () => {
    const rateLimit = { requests: 2, perSeconds: 60 }
    await write(setOf(1, {}, [{ key: keyOf(1), rateLimit }]))
    await mounted.start()
    const allowed = asks(keyOf(1))
    if (!allowed.allow) throw new Error('refused')
    for (let count = 0; count < 5; count += 1) {
      expect(mounted.stillAllowed(allowed)).toBe(true)
      expect(mounted.consider(allowed.facts).allow).toBe(true)
    }
    expect([asks(keyOf(1)), asks(keyOf(1))]).toMatchObject([{ allow: true }, { allow: false, reason: 'RateLimited' }])
    expect(mounted.stillAllowed(allowed)).toBe(true)
  })

  test('is there after the start where it was there before', async () => {
    await write(setOf(1))
    await mounted.start()
    expect(asks(keyOf(2))).toMatchObject({ allow: true })
  })

  test('is seen at every replacement, not at the first alone', async () => {
    await write(setOf(1))
    await mounted.start()
    for (let sequence = 2; sequence <= 5; sequence += 1) {
      await write(setOf(sequence))
      await serves(sequence)
    }
    await write(setOf(6, {}, [{ key: keyOf(1) }]))
    await serves(6)
    expect(asks(keyOf(2))).toMatchObject({ allow: false, reason: 'KeyUnknown' })
    expect(changes).toBe(6)
  })

  test('may be replaced as fast as it can be', async () => {
    await mounted.start()
    for (let sequence = 1; sequence <= 40; sequence += 1) await write(setOf(sequence))
    await serves(40)
    expect(refused).toEqual([])
  })

  test('is read from files that lie in the directory themselves', async () => {
    await mounted.start()
    const files = [...setOf(1)]
    for (const [name, bytes] of files.filter(([name]) => name !== manifestFile))
      await writeFile(join(directory, name), bytes)
    await writeFile(join(directory, 'm'), setOf(1).get(manifestFile)!)
    await rename(join(directory, 'm'), join(directory, manifestFile))
    await serves(1)
  })

  test('in a directory that does not exist yet is no error, and is found later', async () => {
    await rm(directory, { recursive: true })
    mounted = mount(undefined, 20)
    await mounted.start()
    expect(asks(keyOf(1))).toMatchObject({ reason: 'PolicyUnavailable' })
    expect(refused).toEqual([])
    expect(lines.join()).not.toMatch(/"level":"(warn|error)"/)
    await mkdir(directory)
    await write(setOf(1))
    await serves(1)
  })

  test('may change from under an exchange', async () => {
    await write(setOf(1))
    await mounted.start()
    const decision = asks(keyOf(2))
    if (!decision.allow) throw new Error('refused')
    expect(mounted.stillAllowed(decision)).toBe(true)
    await write(setOf(2, {}, [{ key: keyOf(1) }]))
    await serves(2)
    expect(mounted.stillAllowed(decision)).toBe(false)
  })

  test('may be signed by the key that the one before it named', async () => {
    await write(setOf(1))
    await mounted.start()
    await write(setOf(2, { signingKey: nextSigner, nextPublicKey: stranger.publicKey }))
    await serves(2)
    await write(setOf(3, { signingKey: stranger }))
    await serves(3)
  })
})

describe('what cannot be verified', () => {
  const without = (files: Map<string, Buffer>, name: string) => {
    files.delete(name)
    return files
  }
  const edited = (files: Map<string, Buffer>, name: string, edit: (text: string) => string) =>
    files.set(name, Buffer.from(edit(files.get(name)!.toString())))

  test.each<[string, string, () => Map<string, Buffer>]>([
    ['is gone', 'ManifestMissing', () => new Map()],
    ['has no signature', 'SignatureInvalid', () => without(setOf(2), signatureFile)],
    ['is signed by a stranger', 'SignatureInvalid', () => setOf(2, { signingKey: stranger })],
    [
      'has an edited manifest',
      'SignatureInvalid',
      () => edited(setOf(2), manifestFile, (text) => text.replace('"sequence":2', '"sequence":3')),
    ],
    ['has an edited shard', 'PartMismatch', () => edited(setOf(2), 'keys-0', (text) => `${text}x`)],
    ['lacks a shard', 'PartMissing', () => without(setOf(2), 'keys-1')],
    ['is older', 'Rollback', () => setOf(0)],
    ['is of an older epoch', 'Rollback', () => setOf(9, { epoch: 0 })],
    ['is another one of the same number', 'SequenceConflict', () => setOf(1, {}, [{ key: keyOf(3) }])],
    ['is of another policy', 'PolicyMismatch', () => filesOf(published(policyOf({}, 'stock'), [], { sequence: 2 }))],
  ])('is refused and counted, and the last good one stays, where it %s', async (_, reason, files) => {
    await write(setOf(1))
    await mounted.start()
    await write(files())
    await eventually('the refusal', () => refused.length > 0)
    expect(refused).toEqual([reason])
    expect(asks(keyOf(1))).toMatchObject({ allow: true })
    expect(asks(keyOf(3))).toMatchObject({ allow: false })
    // And it is not the end.
    await write(setOf(10, { epoch: 2 }))
    await serves(10)
  })

  test('for the moment, because its parts come one by one, is complete in the end', async () => {
    await write(setOf(1))
    await mounted.start()
    const next = setOf(2, {}, [{ key: keyOf(1) }, { key: keyOf(4) }, { key: keyOf(5) }, { key: keyOf(6) }])
    const mixed = new Map([
      ...next,
      ...[...setOf(1)].filter(([name]) => name.endsWith('-1') || name === 'grants-1.json'),
    ])
    await write(mixed)
    await eventually('the refusal', () => refused.length > 0)
    expect(asks(keyOf(2))).toMatchObject({ allow: true })
    await write(next)
    await serves(2)
    expect(asks(keyOf(2))).toMatchObject({ allow: false })
  })

  test('never decides, where there was nothing before it', async () => {
    await write(setOf(1, { signingKey: stranger }))
    await mounted.start()
    expect(asks(keyOf(1))).toMatchObject({ reason: 'PolicyUnavailable' })
    expect(refused).toEqual(['SignatureInvalid'])
  })

  test('is of a policy that had this name before', async () => {
    mounted = mount('uid-of-another')
    await write(setOf(1))
    await mounted.start()
    expect(refused).toEqual(['PolicyMismatch'])
    expect(mounted.current).toBeUndefined()
  })
})
