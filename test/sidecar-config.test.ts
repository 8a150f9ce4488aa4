import { describe, expect, test } from 'vitest'
import { parseSidecarArguments } from '../src/sidecar/config.ts'
import { nextSigner, signer } from './support/verification.ts'

const guard = ['--guard', 'shop/orders@0.0.0.0:18080=127.0.0.1:8080']
const verification = ['--verification', 'shop/orders=/sets/orders']
const publicKey = ['--public-key', signer.publicKey]
const good = [...guard, ...verification, ...publicKey]

test('reads what a sidecar is told', () => {
  expect(
    parseSidecarArguments([
      ...good,
      ...['--guard', 'shop/stock@[::]:18081=localhost:8081', '--verification', 'shop/stock=/sets/a=b'],
      ...[
        '--public-key',
        nextSigner.publicKey,
        '--policy-uid',
        'shop/stock=u-1',
        '--admin',
        '0.0.0.0:9',
        '--log-level',
        'debug',
      ],
    ]),
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
    logLevel: 'debug',
  })
})

test('has defaults', () => {
  expect(parseSidecarArguments(good)).toMatchObject({ admin: { host: '127.0.0.1', port: 15490 }, logLevel: 'info' })
})

describe('says what is wrong', () => {
  test.each<[string, string[], string]>([
    ['no guard', [...verification, ...publicKey], '--guard: at least one is needed'],
    ['no key', [...guard, ...verification], '--public-key: at least one is needed'],
    ['no set for a guard', [...guard, ...publicKey], '--guard shop/orders: there is no --verification shop/orders'],
    ['a set given twice', [...good, ...verification], '--verification shop/orders: is given twice'],
    ['a port given twice', [...good, ...guard], '--guard: two guards listen at 0.0.0.0:18080'],
    [
      'a guard without application',
      [...good, '--guard', 'a/b@1.2.3.4:80'],
      '--guard a/b@1.2.3.4:80: must have the form',
    ],
    [
      'a port beyond 65535',
      [...good, '--guard', 'a/b@h:65536=h:1'],
      'must have the form NAMESPACE/POLICY@HOST:PORT=HOST:PORT',
    ],
    ['an application at port 0', [...good, '--guard', 'a/b@h:1=h:0'], 'must have the form'],
    ['a policy without namespace', [...good, '--guard', 'b@h:1=h:2'], 'must have the form'],
    [
      'a key that is too short',
      [...good, '--public-key', 'AAAA'],
      '--public-key AAAA: must have the form 32 bytes in base64url',
    ],
    ['a uid of nothing', [...good, '--policy-uid', 'a/b=c'], '--policy-uid a/b: there is no --verification a/b'],
    [
      'an admin address without port',
      [...good, '--admin', 'localhost'],
      '--admin localhost: must have the form HOST:PORT',
    ],
    ['a log level', [...good, '--log-level', 'loud'], '--log-level loud: must be one of debug, info'],
    ['a flag', [...good, '--gaurd', 'x'], '--gaurd'],
  ])('of %s', (_, args, message) => {
    expect(() => parseSidecarArguments(args)).toThrow(message)
  })

  test('of everything at once', () => {
    expect(() => parseSidecarArguments(['--admin', 'x'])).toThrow(/--admin x.*\n.*--guard: .*\n.*--public-key: /)
  })
})
