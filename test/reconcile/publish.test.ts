import { describe, expect, test } from 'vitest'
import { digestOf } from '../../src/core/key.ts'
import {
  type AdmittedKey,
  type Content,
  configMapBytes,
  writeConfigMaps,
  writeContent,
} from '../../src/core/reconcile/publish.ts'
import { openFiles } from '../support/asked.ts'
import { noon, secondsOf } from '../support/builders.ts'
import { filesOf, keyIdOf, keyOf, nextSigner, policyOf, signer } from '../support/verification.ts'

const policy = policyOf({})
const digest = (number: number): string => digestOf(keyOf(number)).toString('base64url')

function admitted(number: number, change: Partial<AdmittedKey> = {}, notAfter = 0): AdmittedKey {
  return {
    namespace: 'shop',
    name: `client-${number}`,
    keyId: keyIdOf(keyOf(number)),
    enabled: true,
    // The higher the number, the younger the key.
    createdTime: new Date(noon.getTime() + number * 1000).toISOString(),
    roles: [],
    access: [{ interfaces: [0] }],
    addresses: [],
    values: [{ digest: digest(number), notBefore: 0, notAfter }],
    ...change,
  }
}
const range = (from: number, to: number, change?: Partial<AdmittedKey>): AdmittedKey[] =>
  Array.from({ length: to - from }, (_, at) => admitted(from + at, change))
const holds = ({ files }: Content, number: number): boolean => files.get('keys-0')!.includes(digest(number))
const edition = { epoch: 1, sequence: 1, publishedTime: noon, signingKey: signer, nextPublicKey: nextSigner.publicKey }

/** More than fit: so many lines of 85 bytes and more. */
const tooMany = 12_000
const all = range(0, tooMany)
const crowded = writeContent(policy, all, new Set(), noon)

describe('capacity', () => {
  test('is about what a ConfigMap holds, and no more', () => {
    const [map] = writeConfigMaps(policy, crowded, edition)
    const bytes = Object.values(map!.data!).reduce((sum, text) => sum + Buffer.byteLength(text), 0)
    expect(bytes).toBeLessThanOrEqual(configMapBytes)
    expect(bytes).toBeGreaterThan(configMapBytes * 0.97)
    expect(crowded.fill).toBeGreaterThan(0.99)
    expect(crowded.omitted.size).toBe(tooMany - crowded.keys)
    expect(crowded.omitted.size).toBeGreaterThan(100)
  })

  test('is served by age', () => {
    expect(holds(crowded, 0)).toBe(true)
    expect(crowded.omitted.has('shop/client-0')).toBe(false)
    expect(crowded.omitted.has(`shop/client-${tooMany - 1}`)).toBe(true)
  })

  test('nothing that is published already falls out for what is older', () => {
    const published = new Set(range(3000, tooMany).map(({ values }) => values[0]!.digest))
    const content = writeContent(policy, all, published, noon)
    expect(range(3000, tooMany).filter((key) => content.omitted.has(`shop/${key.name}`))).toEqual([])
    expect(content.omitted.size).toBeGreaterThan(0)
  })

  test('lines that only explain a refusal give way first, and are not missed', () => {
    const explaining = [
      ...range(0, 3000, { enabled: false }),
      ...Array.from({ length: 1000 }, (_, at) => admitted(3000 + at, {}, secondsOf(noon) - 1)),
    ]
    const live = range(4000, tooMany)
    const published = new Set(explaining.map(({ values }) => values[0]!.digest))
    const content = writeContent(policy, [...explaining, ...live], published, noon)
    expect(content.omitted.size).toBe(0)
    expect(live.filter((_, at) => at % 100 === 0 && !holds(content, 4000 + at))).toEqual([])
    expect(content.keys).toBeLessThan(tooMany)
  })

  test('is the same choice, in whatever order keys come', () => {
    const reversed = writeContent(policy, [...all].reverse(), new Set(), noon)
    expect(reversed.files).toEqual(crowded.files)
    expect([...reversed.omitted].sort()).toEqual([...crowded.omitted].sort())
  })

  test('doubles with the shards', () => {
    const two = writeContent(policyOf({ verification: { shards: 2 } }), all, new Set(), noon)
    expect([two.omitted.size, two.keys]).toEqual([0, tooMany])
    expect(two.fill).toBeLessThan(0.7)
  })

  test('is taken up by a large policy too', () => {
    const paths = Array.from({ length: 64 }, (_, at) => `/${'x'.repeat(500)}${at}`)
    const interfaces = Array.from({ length: 10 }, (_, at) => ({ name: `i${at}`, match: [{ paths }] }))
    const content = writeContent(policyOf({ interfaces }), range(0, 7000), new Set(), noon)
    expect(content.omitted.size).toBeGreaterThan(0)
    const [map] = writeConfigMaps(policy, content, edition)
    expect(Object.values(map!.data!).reduce((sum, text) => sum + text.length, 0)).toBeLessThanOrEqual(configMapBytes)
  })
})

describe('content', () => {
  test('has one profile for all like keys, and lines in the order of their digests', () => {
    const content = writeContent(
      policy,
      [...range(0, 50), ...range(50, 60, { addresses: ['10.0.0.1'] })],
      new Set(),
      noon,
    )
    expect(JSON.parse(content.files.get('grants-0.json')!)).toHaveLength(2)
    const digests = content.files
      .get('keys-0')!
      .split('\n')
      .slice(0, -1)
      .map((line) => (JSON.parse(line) as string[])[1]!)
    expect(digests).toEqual([...digests].sort())
    expect(digests).toHaveLength(60)
  })

  test('puts each value into the shard of its digest, also two values of one key into two', () => {
    const sharded = policyOf({ verification: { shards: 4 } })
    const [one, two] = [0, 1, 2, 3, 4, 5, 6, 7]
      .map((number) => ({ digest: digest(number), shard: digestOf(keyOf(number))[0]! % 4 }))
      .filter(({ shard }, at, list) => list.findIndex((other) => other.shard === shard) === at)
    const key = admitted(0, { values: [one!, two!].map(({ digest }) => ({ digest, notBefore: 0, notAfter: 0 })) })
    const content = writeContent(sharded, [key], new Set(), noon)
    for (const { digest, shard } of [one!, two!]) {
      expect([0, 1, 2, 3].filter((at) => content.files.get(`keys-${at}`)!.includes(digest))).toEqual([shard])
      expect(JSON.parse(content.files.get(`grants-${shard}.json`)!)).toHaveLength(1)
    }
    const opened = openFiles(filesOf(writeConfigMaps(sharded, content, edition)))
    expect(opened.outcome).toBe('opened')
  })
})
