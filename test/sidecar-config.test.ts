import { describe, expect, test } from 'vitest'
import { readSidecarOptions, type SidecarTexts } from '../src/sidecar/config.ts'
import { defaultLimits } from '../src/sidecar/http1/limits.ts'
import { nextSigner, signer } from './support/verification.ts'

const good: SidecarTexts = {
  guard: ['shop/orders@0.0.0.0:18080=127.0.0.1:8080'],
  verification: ['shop/orders=/sets/orders'],
  publicKey: [signer.publicKey],
  policyUid: [],
  limit: [],
  admin: undefined,
}

test('reads what a sidecar is told', () => {
  expect(
    readSidecarOptions({
      guard: [...good.guard, 'shop/stock@[::]:18081=localhost:8081'],
      verification: [...good.verification, 'shop/stock=/sets/a=b'],
      publicKey: [signer.publicKey, nextSigner.publicKey],
      policyUid: ['shop/stock=u-1'],
      limit: ['idleSeconds=5', 'maxWaiting=1'],
      admin: { host: '0.0.0.0', port: 9 },
    }),
  ).toEqual({
    guards: [
      { policy: 'shop/orders', listen: { host: '0.0.0.0', port: 18080 }, upstream: { host: '127.0.0.1', port: 8080 } },
      { policy: 'shop/stock', listen: { host: '::', port: 18081 }, upstream: { host: 'localhost', port: 8081 } },
    ],
    verification: [
      { policy: 'shop/orders', directory: '/sets/orders', policyUid: undefined },
      { policy: 'shop/stock', directory: '/sets/a=b', policyUid: 'u-1' },
    ],
    publicKeys: [signer.publicKey, nextSigner.publicKey],
    admin: { host: '0.0.0.0', port: 9 },
    limits: { ...defaultLimits, idleSeconds: 5, maxWaiting: 1 },
  })
})

test('reads where gateways may ask, without anything to guard', () => {
  const [decisions, decisionsGrpc] = [
    { host: '0.0.0.0', port: 15480 },
    { host: '0.0.0.0', port: 15481 },
  ]
  const texts = { ...good, guard: [], decisions, decisionsGrpc, trustedPeers: ['10.0.0.0/8,192.0.2.1', 'fd00::/8'] }
  expect(readSidecarOptions(texts)).toMatchObject({
    guards: [],
    decisions: { http: decisions, grpc: decisionsGrpc, trustedPeers: { length: 3 } },
  })
  expect(readSidecarOptions({ ...good, decisions }).decisions).toMatchObject({ trustedPeers: { length: 0 } })
  expect(readSidecarOptions(good).decisions).toBeUndefined()
})

describe('says what is wrong', () => {
  test.each<[string, Partial<SidecarTexts>, string]>([
    ['no guard', { guard: [] }, '--guard: at least one is needed'],
    ['nothing to ask about', { guard: [], verification: [], decisions: { host: 'h', port: 1 } }, '--verification: '],
    ['peers that have nothing to ask', { trustedPeers: ['10.0.0.0/8'] }, '--trusted-peers: there is nothing to ask'],
    [
      'peers with host bits',
      { trustedPeers: ['10.0.0.0/8,10.0.0.1/8'] },
      '--trusted-peers 10.0.0.1/8: must have the form',
    ],
    ['no peer', { trustedPeers: [''] }, '--trusted-peers : must have the form'],
    ['no key', { publicKey: [] }, '--public-key: at least one is needed'],
    ['no set for a guard', { verification: [] }, '--guard shop/orders: there is no --verification shop/orders'],
    ['a set given twice', { verification: ['a/b=/c', 'a/b=/d'] }, '--verification a/b: is given twice'],
    ['a port given twice', { guard: ['a/b@h:1=h:2', 'a/c@h:1=h:3'] }, '--guard: two guards listen at h:1'],
    ['a guard without application', { guard: ['a/b@1.2.3.4:80'] }, '--guard a/b@1.2.3.4:80: must have the form'],
    ['a port beyond 65535', { guard: ['a/b@h:65536=h:1'] }, 'the form NAMESPACE/POLICY@HOST:PORT=HOST:PORT'],
    ['an application at port 0', { guard: ['a/b@h:1=h:0'] }, 'must have the form'],
    ['a policy without namespace', { guard: ['b@h:1=h:2'] }, 'must have the form'],
    ['a key that is too short', { publicKey: ['AAAA'] }, '--public-key AAAA: must have the form 32 bytes in base64url'],
    ['a uid of nothing', { policyUid: ['a/b=c'] }, '--policy-uid a/b: there is no --verification a/b'],
    ['an unknown limit', { limit: ['idleMinutes=1'] }, '--limit idleMinutes=1: must have the form NAME=NUMBER'],
    ['a limit of nothing', { limit: ['idleSeconds=0'] }, '--limit idleSeconds=0: must have the form NAME=NUMBER'],
  ])('of %s', (_, texts, message) => {
    expect(() => readSidecarOptions({ ...good, ...texts })).toThrow(message)
  })

  test('of everything at once', () => {
    const nothing = { guard: ['x'], verification: [], publicKey: [], policyUid: [], limit: [], admin: undefined }
    expect(() => readSidecarOptions(nothing)).toThrow(/--guard x.*\n.*--guard: .*\n.*--public-key: /)
  })
})
