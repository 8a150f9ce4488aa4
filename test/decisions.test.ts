import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { parseCidr } from '../src/core/address.ts'
import { createLog } from '../src/runtime/log.ts'
import { isTrustedPeer } from '../src/sidecar/decisions/trusted-peers.ts'
import { defaultLimits } from '../src/sidecar/http1/limits.ts'
import { type Sidecar, startSidecar } from '../src/sidecar/start.ts'
import { writeVolume } from './support/kubelet.ts'
import { filesOf, keyOf, policyOf, published, signer } from './support/verification.ts'
import { eventually } from './support/wait.ts'
import { CheckClient, framed } from './wire/check-client.ts'
import { encodeCheckRequest } from './wire/check-messages.ts'
import { RawClient } from './wire/raw-client.ts'

const key = keyOf(1)
const anyPort = { host: '127.0.0.1', port: 0 }

let root: string
let sidecar: Sidecar
let lines: string[]
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'postern-decisions-'))
  await mkdir(join(root, 'orders'))
  await writeVolume(join(root, 'orders'), filesOf(published(policyOf({}), [{ key, name: 'exporter' }])))
})
afterEach(async () => {
  await sidecar.stop()
  await rm(root, { recursive: true })
})

async function start(trustedPeers: readonly string[] = ['127.0.0.0/8']): Promise<void> {
  lines = []
  sidecar = await startSidecar({
    guards: [],
    verification: [{ policy: 'shop/orders', directory: join(root, 'orders'), policyUid: undefined }],
    publicKeys: [signer.publicKey],
    admin: anyPort,
    limits: { ...defaultLimits, headSeconds: 1, lingerSeconds: 1, drainSeconds: 1 },
    decisions: { http: anyPort, grpc: anyPort, trustedPeers: trustedPeers.map((text) => parseCidr(text)!) },
    log: createLog({ level: 'debug', sink: { write: (line) => lines.push(line) } }),
  })
  await sidecar.ready()
}

const question = (fields: readonly string[] = [], method = 'GET') =>
  `${[`${method} /authz/envoy/shop/orders/a HTTP/1.1`, 'Host: orders.test', ...fields].join('\r\n')}\r\n\r\n`
const withKey = question([`X-API-Key: ${key}`])
const open = (isHead = false) => RawClient.open(sidecar.decisions!.port, isHead)
const check = (headers: object) =>
  encodeCheckRequest({ attributes: { request: { http: { method: 'GET', path: '/a', host: 'orders.test', headers } } } })

describe('over HTTP', () => {
  test('questions on one connection are answered in order', async () => {
    await start()
    const client = await open()
    client.send(withKey + question() + withKey)
    await eventually('three answers', () => client.finalAnswers().length === 3)
    expect(client.finalAnswers().map(({ status }) => status)).toEqual([200, 401, 200])
    client.send(question())
    await eventually('one more', () => client.finalAnswers().length === 4)
    expect(client.closed).toBe(false)
    await client.finish(5)
  })

  test('a head may come in pieces, and with the next one', async () => {
    await start()
    const client = await open()
    for (const piece of withKey.slice(0, -2)) client.send(piece)
    client.send(withKey.slice(-2) + question().slice(0, 30))
    await client.firstAnswer(5)
    client.send(question().slice(30))
    await eventually('both', () => client.finalAnswers().length === 2)
    expect(client.finalAnswers().map(({ status }) => status)).toEqual([200, 401])
    await client.finish(5)
  })

  test('a body is not waited for, and never read as a question', async () => {
    await start()
    const client = await open()
    client.send(question([`X-API-Key: ${key}`, `Content-Length: ${withKey.length}`], 'POST'))
    await client.firstAnswer(5)
    client.send(withKey)
    await client.untilClosed(5)
    expect(client.finalAnswers().map(({ status }) => status)).toEqual([200])
  })

  test('HEAD is answered without a body', async () => {
    await start()
    const client = await open(true)
    client.send(question([], 'HEAD') + question([], 'HEAD'))
    await eventually('both', () => client.finalAnswers().length === 2)
    expect(client.finalAnswers().map(({ status }) => status)).toEqual([401, 401])
    await client.finish(5)
  })

  test.each([
    ['GET /authz/envoy/shop/orders/a HTTP/1.1\r\n\r\n'],
    ['GET /authz/envoy/shop/orders/a HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n'],
    ['TRACE /authz/envoy/shop/orders/a HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['GET  /authz/envoy/shop/orders/a HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['GET /authz/envoy/shop/orders/a HTTP/1.1\r\nHost: a\r\nX-API-Key : b\r\n\r\n'],
    ['GET /authz/envoy/shop/orders/a HTTP/1.1\nHost: a\n\n'],
    ['\x16\x03\x01\x02\x00'],
    ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    [`GET /${'a'.repeat(40_000)} HTTP/1.1\r\nHost: a\r\n\r\n`],
  ])('%j is answered with 403, and that is the end', async (text) => {
    await start()
    const client = await open()
    client.send(text + withKey)
    await client.untilClosed(5)
    expect(client.finalAnswers().map(({ status }) => status)).toEqual([403])
  })

  test('whoever is silent in a head is cut', async () => {
    await start()
    const client = await open()
    client.send(withKey.slice(0, 40))
    await client.untilClosed(10)
    expect(client.finalAnswers()).toEqual([])
  })

  test('nobody is trusted who is not named', async () => {
    await start([])
    const client = await open()
    client.send(withKey + withKey)
    await client.untilClosed(5)
    expect(client.finalAnswers().map(({ status }) => status)).toEqual([403])
    expect(lines.join('\n')).toContain('PeerNotTrusted')
    const admin = await (await fetch(`http://127.0.0.1:${sidecar.admin!.port}/metrics`)).text()
    expect(admin).toContain('postern_decisions_unanswerable_total{reason="PeerNotTrusted"} 1')
    expect(admin).not.toMatch(/^postern_requests_total\{.*\} [1-9]/m)
  })

  test('a connection is closed when the process is to end', async () => {
    await start()
    const client = await open()
    client.send(withKey)
    await client.firstAnswer(5)
    await sidecar.stop()
    await client.untilClosed(5)
  })
})

describe('over gRPC', () => {
  let client: CheckClient
  const begin = async (trustedPeers?: readonly string[]) => {
    await start(trustedPeers)
    client = new CheckClient(sidecar.decisionsGrpc!.port)
  }
  afterEach(() => client.close())

  test('many questions are answered at once', async () => {
    await begin()
    const asked = Array.from({ length: 200 }, (_, index) =>
      client.send(framed(check(index % 2 ? {} : { 'x-api-key': key }))),
    )
    const answers = await Promise.all(asked)
    expect(answers.every(({ httpStatus, grpcStatus }) => httpStatus === 200 && grpcStatus === '0')).toBe(true)
    expect(answers.map(({ response }) => response!.okResponse !== undefined)).toEqual(
      answers.map((_, index) => index % 2 === 0),
    )
  })

  test.each<[string, Buffer]>([
    ['nothing', Buffer.alloc(0)],
    ['half a prefix', Buffer.of(0, 0, 0)],
    ['less than was announced', framed(check({ 'x-api-key': key })).subarray(0, 40)],
    ['more than was announced', Buffer.concat([framed(check({ 'x-api-key': key })), Buffer.of(0)])],
    ['two messages', Buffer.concat([framed(check({ 'x-api-key': key })), framed(check({ 'x-api-key': key }))])],
    ['something compressed', Buffer.concat([Buffer.of(1), framed(check({ 'x-api-key': key })).subarray(1)])],
    ['more than there is room for', Buffer.of(0, 0xff, 0xff, 0xff, 0xff)],
    ['garbage', framed(Buffer.from('garbage'))],
  ])('%s is answered with no, and with no error', async (_, bytes) => {
    await begin()
    const { httpStatus, grpcStatus, response } = await client.send(bytes)
    expect([httpStatus, grpcStatus, response?.deniedResponse?.status.code]).toEqual([200, '0', 403])
    // The connection goes on.
    expect((await client.send(framed(check({ 'x-api-key': key })))).response!.okResponse).toBeDefined()
  })

  test('a question that does not end is answered with no', async () => {
    await begin()
    const bytes = framed(check({ 'x-api-key': key }))
    const answer = await client.send(bytes.subarray(0, bytes.length - 1), { leaveOpen: true })
    expect([answer.grpcStatus, answer.response?.deniedResponse?.status.code]).toEqual(['0', 403])
  })

  test('other methods are not served', async () => {
    await begin()
    const { grpcStatus, response } = await client.send(framed(check({})), {
      path: '/envoy.service.auth.v2.Authorization/Check',
    })
    expect([grpcStatus, response]).toEqual(['12', undefined])
  })

  test('nobody is trusted who is not named', async () => {
    await begin([])
    const { grpcStatus, response } = await client.send(framed(check({ 'x-api-key': key })))
    expect([grpcStatus, response?.deniedResponse?.status.code]).toEqual(['0', 403])
    expect(lines.join('\n')).toContain('PeerNotTrusted')
  })

  test('what is not HTTP/2 is cut', async () => {
    await begin()
    const socket = connect(sidecar.decisionsGrpc!.port, '127.0.0.1')
    let closed = false
    socket.on('error', () => {}).on('close', () => (closed = true))
    socket.resume()
    socket.write('GET / HTTP/1.1\r\n\r\n')
    await eventually('the end', () => closed)
  })
})

test.each<[readonly string[], string | undefined, boolean]>([
  [[], '127.0.0.1', false],
  [['127.0.0.1'], '127.0.0.1', true],
  [['127.0.0.1'], '::ffff:127.0.0.1', true],
  [['127.0.0.1'], '127.0.0.2', false],
  [['10.0.0.0/8', 'fd00::/8'], 'fd00::1', true],
  [['10.0.0.0/8', 'fd00::/8'], '11.0.0.1', false],
  [['fe80::/10'], 'fe80::1%eth0', true],
  [['0.0.0.0/0'], undefined, false],
])('of %j, %s is trusted: %s', (ranges, address, trusted) => {
  expect(
    isTrustedPeer(
      ranges.map((range) => parseCidr(range)!),
      address,
    ),
  ).toBe(trusted)
})
