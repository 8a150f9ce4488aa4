import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { readCheckRequest } from '../src/sidecar/decisions/check-request.ts'
import { writeDenied, writeOk } from '../src/sidecar/decisions/check-response.ts'
import { answerCheck } from '../src/sidecar/decisions/grpc-answers.ts'
import { deskOf } from './support/decisions.ts'
import { keyIdOf, keyOf, policyOf } from './support/verification.ts'
import { decodeCheckResponse, encodeCheckRequest } from './wire/check-messages.ts'

const key = keyOf(1)
const spec = {
  interfaces: [{ name: 'app', match: [{ methods: ['GET'], paths: ['/app/**'] }] }],
  public: [{ paths: ['/public/**'] }],
  credentials: [{ type: 'Bearer' }, { type: 'Header', name: 'X-API-Key' }, { type: 'Query', name: 'api_key' }],
}
const keys = [
  { key, name: 'exporter', roles: ['reader', 'writer'] },
  { key: keyOf(2), name: 'remote', addresses: ['192.0.2.0/24'] },
]
const orders = { policy: policyOf(spec), keys }
const { desk } = deskOf([orders])
const two = deskOf([orders, { policy: policyOf(spec, 'other'), keys: [] }]).desk

interface Asked {
  readonly method?: string
  readonly path?: string
  readonly host?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly policy?: string
  readonly source?: string
  readonly http?: object
}
const request = ({
  method = 'GET',
  path = '/app/a',
  host = 'orders.test',
  headers = { 'x-api-key': key },
  ...rest
}: Asked = {}) => ({
  attributes: {
    ...(rest.source === undefined
      ? {}
      : { source: { address: { socketAddress: { address: rest.source, portValue: 1 } } } }),
    request: { http: { method, path, host, headers, scheme: 'https', protocol: 'HTTP/1.1', ...rest.http } },
    ...(rest.policy === undefined ? {} : { contextExtensions: { other: 'x', policy: rest.policy } }),
  },
})
const decoded = (text: string) => decodeCheckResponse(Buffer.from(text, 'latin1'))
const check = (asked: Asked = {}, from = desk) =>
  decoded(answerCheck(from, encodeCheckRequest(request(asked)), '10.0.0.9'))
const statusOf = (response: ReturnType<typeof check>) =>
  response.okResponse !== undefined && response.status?.code === undefined ? 200 : response.deniedResponse?.status.code

describe('Check', () => {
  test.each<[string, Asked, number]>([
    ['lets a key pass', {}, 200],
    ['lets a public path pass', { path: '/public/a', headers: {} }, 200],
    ['asks for a key', { headers: {} }, 401],
    ['takes joined headers for two keys', { headers: { 'x-api-key': `${key},${key}` } }, 401],
    ['splits at the first question mark', { path: '/app/x?y=/../admin' }, 200],
    ['refuses another path', { path: '/admin' }, 403],
    ['refuses another method', { method: 'POST' }, 403],
    ['refuses a method in lower case', { method: 'get' }, 403],
    ['refuses a path without a slash', { path: 'app/a' }, 403],
    ['refuses no path', { path: '' }, 403],
    ['refuses a URL', { path: 'http://orders.test/app/a' }, 403],
    ['refuses dot segments', { path: '/app/..;/admin' }, 403],
    ['refuses no host', { host: '' }, 403],
    [
      'takes the pseudo-headers that agree',
      {
        headers: {
          'x-api-key': key,
          ':path': '/app/a',
          ':method': 'GET',
          ':authority': 'orders.test',
          ':scheme': 'https',
        },
      },
      200,
    ],
    ['refuses two paths', { headers: { 'x-api-key': key, ':path': '/app/b' } }, 403],
    ['refuses two methods', { headers: { 'x-api-key': key, ':method': 'PUT' } }, 403],
    ['refuses two hosts', { headers: { 'x-api-key': key, host: 'other.test' } }, 403],
    ['refuses a name that is none', { headers: { 'x-api-key': key, 'a b': '' } }, 403],
    ['refuses a value that is none', { headers: { 'x-api-key': key, a: 'b\r\nc: d' } }, 403],
    ['takes no other blank for none', { headers: { 'x-api-key': `${key}\u00a0` } }, 401],
    ['refuses a query beside the path', { http: { query: 'a=b' } }, 403],
    ['refuses two kinds of headers', { http: { headerMap: { headers: [{ key: 'a', value: 'b' }] } } }, 403],
    ['believes the source', { headers: { 'x-api-key': keyOf(2) }, source: '192.0.2.7' }, 200],
    [
      'believes no header about the source',
      { headers: { 'x-api-key': keyOf(2), 'x-forwarded-for': '192.0.2.7' }, source: '10.0.0.1' },
      403,
    ],
    [
      'refuses an unknown source where it matters',
      { headers: { 'x-api-key': keyOf(2), 'x-forwarded-for': '192.0.2.7' } },
      403,
    ],
    ['knows the policy by name', { policy: 'shop/orders' }, 200],
    ['refuses another policy', { policy: 'shop/other' }, 403],
    ['refuses a marker of a failure', { headers: { 'x-envoy-auth-failure-mode-allowed': 'true' } }, 401],
  ])('%s', (_, asked, status) => {
    expect(statusOf(check(asked))).toBe(status)
  })

  test('takes raw headers, each for itself', () => {
    const raw = (...headers: readonly [string, string][]) =>
      statusOf(
        check({
          headers: {},
          http: {
            headerMap: {
              headers: headers.map(([name, value]) => ({
                key: name,
                rawValue: Buffer.from(value, 'latin1').toString('base64'),
              })),
            },
          },
        }),
      )
    expect(raw(['x-api-key', key], ['x-a', '\xff\xfe'])).toBe(200)
    expect(raw(['x-api-key', key], ['x-api-key', key])).toBe(401)
    expect(raw(['x-api-key', `${key}\xa0`])).toBe(401)
    expect(raw(['x-api-key', key], [':path', '/admin'])).toBe(403)
  })

  test('needs the name of a policy where there are several', () => {
    expect(statusOf(check({}, two))).toBe(403)
    expect(statusOf(check({ policy: 'shop/orders' }, two))).toBe(200)
    expect(statusOf(check({ policy: 'shop/other' }, two))).toBe(401)
  })

  test('says who it was, in the place of what was there', () => {
    const { okResponse, dynamicMetadata } = check()
    expect(okResponse!.headers!.map(({ header }) => [header.key, header.value])).toEqual([
      ['X-Postern-Key-Id', keyIdOf(key)],
      ['X-Postern-Key-Name', 'exporter'],
      ['X-Postern-Key-Namespace', 'billing'],
      ['X-Postern-Roles', 'reader,writer'],
    ])
    for (const { append, appendAction } of okResponse!.headers!) {
      expect(append).toEqual({})
      expect(appendAction).toBe(2)
    }
    expect(dynamicMetadata!.fields).toEqual([
      { key: 'subject', value: { stringValue: 'exporter' } },
      { key: 'namespace', value: { stringValue: 'billing' } },
      { key: 'keyId', value: { stringValue: keyIdOf(key) } },
      { key: 'scopes', value: { listValue: { values: [{ stringValue: 'reader' }, { stringValue: 'writer' }] } } },
    ])
  })

  test('says what to take off', () => {
    const headers = {
      'x-api-key': key,
      x_postern_roles: 'a',
      'x-postern-key-id': 'a',
      'x-rewrite-url': '/',
      'x-other': 'b',
    }
    expect(check({ headers }).okResponse!.headersToRemove).toEqual(['x-api-key', 'x_postern_roles', 'x-rewrite-url'])
    const open = check({ path: '/public/a', headers: { 'x-postern-roles': 'root' } }).okResponse!
    expect(open.headers).toBeUndefined()
    expect(open.headersToRemove).toContain('x-postern-roles')
    const query = check({ path: `/app/a?a=1&api%5Fkey=${key}&a=1`, headers: {} }).okResponse!
    expect(query.queryParametersToRemove).toEqual(['api%5Fkey'])
    expect(check({ path: '/app/a?a=1' }).okResponse!.queryParametersToRemove).toBeUndefined()
  })

  test('challenges', () => {
    const { status, deniedResponse } = check({ headers: {} })
    expect(status).toEqual({ code: 16 })
    const challenges = deniedResponse!.headers!.filter(({ header }) => header.key === 'WWW-Authenticate')
    expect(challenges.map(({ append }) => append!.value ?? false)).toEqual([false, true])
    expect(check({ path: '/admin' }).status).toEqual({ code: 7 })
  })
})

describe('what is no question', () => {
  const whole = encodeCheckRequest(request())
  const withoutKey = encodeCheckRequest(request({ headers: {} }))
  const answered = (bytes: Buffer) => statusOf(decoded(answerCheck(desk, bytes, undefined)))

  test.each<[string, Buffer]>([
    ['nothing', Buffer.alloc(0)],
    ['an empty request', encodeCheckRequest({ attributes: { request: { http: {} } } })],
    ['two attributes', Buffer.concat([whole, whole])],
    ['a group', Buffer.concat([whole, Buffer.of(0x1b, 0x1c)])],
    ['field 0', Buffer.concat([whole, Buffer.of(0x02, 0x00)])],
    ['a varint without end', Buffer.concat([whole, Buffer.alloc(11, 0xff)])],
    ['a length beyond the end', Buffer.concat([whole, Buffer.of(0x12, 0x7f)])],
    [
      'a length beyond everything',
      Buffer.concat([whole, Buffer.of(0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01)]),
    ],
    ['fixed numbers that are cut', Buffer.concat([whole, Buffer.of(0x11, 0x00)])],
  ])('%s is answered with no', (_, bytes) => {
    expect(answered(bytes)).toBe(403)
  })

  test('unknown fields are skipped', () => {
    const unknown = Buffer.of(0x78, 0x01, 0x7a, 0x01, 0x00, 0x79, 0, 0, 0, 0, 0, 0, 0, 0, 0x7d, 0, 0, 0, 0)
    expect(answered(Buffer.concat([unknown, whole, unknown]))).toBe(200)
  })

  test('no bytes make the reader throw, or let a request without a key pass', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        readCheckRequest(Buffer.from(bytes))
        expect([401, 403]).toContain(answered(Buffer.from(bytes)))
      }),
      { numRuns: 3000 },
    )
    const edit = fc.record({
      at: fc.nat(withoutKey.length - 1),
      cut: fc.nat(8),
      put: fc.uint8Array({ maxLength: 8 }),
    })
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
        let bytes = withoutKey
        for (const { at, cut, put } of edits)
          bytes = Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at + cut)])
        expect([401, 403]).toContain(answered(bytes))
      }),
      { numRuns: 5000 },
    )
  })

  test('a message that is cut anywhere is answered with no', () => {
    for (let length = 0; length < whole.length; length += 1) expect(answered(whole.subarray(0, length))).not.toBe(200)
  })
})

describe('the messages as others read them', () => {
  const protoc = '/usr/bin/protoc'
  const schema = new URL('data/ext-authz.proto', import.meta.url).pathname
  const run = (mode: '--encode' | '--decode', message: string, input: Buffer): Buffer =>
    execFileSync(protoc, [`${mode}=postern.test.${message}`, '--proto_path=/', schema], { input })
  const there = existsSync(protoc)
  test.skipIf(there)('cannot be shown without protoc: apt-get install protobuf-compiler', () => {})

  test.runIf(there)('requests are read as they were written', () => {
    const text = `attributes {
      source { address { socket_address { address: "192.0.2.1" port_value: 4711 } } labels { key: "a" value: "b" } }
      request {
        time { seconds: 1780000000 nanos: 5 }
        http {
          id: "1" method: "GET" path: "/app/a?b=c" host: "orders.test" scheme: "https" size: -1 protocol: "HTTP/2"
          headers { key: ":path" value: "/app/a?b=c" } headers { key: "x-api-key" value: "k" } headers { key: "x-empty" }
        }
      }
      context_extensions { key: "policy" value: "shop/orders" }
    }`
    expect(readCheckRequest(run('--encode', 'CheckRequest', Buffer.from(text)))).toEqual({
      sourceAddress: '192.0.2.1',
      method: 'GET',
      path: '/app/a?b=c',
      host: 'orders.test',
      headers: [':path', '/app/a?b=c', 'x-api-key', 'k', 'x-empty', ''],
      policy: 'shop/orders',
    })
  })

  test.runIf(there)('responses are written as they are read', () => {
    const ok = writeOk({
      headers: [{ name: 'X-A', value: 'b'.repeat(200) }],
      headersToRemove: ['x-api-key'],
      queryParametersToRemove: ['api_key'],
      metadata: { subject: 'exporter', namespace: 'billing', keyId: 'abc', scopes: ['reader'] },
    })
    const read = run('--decode', 'CheckResponse', Buffer.from(ok, 'latin1')).toString().replaceAll(/\s+/g, ' ')
    expect(read).toContain(
      `ok_response { headers { header { key: "X-A" value: "${'b'.repeat(200)}" } append { } append_action: OVERWRITE_IF_EXISTS_OR_ADD }`,
    )
    expect(read).toContain('headers_to_remove: "x-api-key" query_parameters_to_remove: "api_key"')
    expect(read).toContain('fields { key: "scopes" value { list_value { values { string_value: "reader" } } } }')
    const denied = writeDenied({ allow: false, status: 429, reason: '', fieldLines: 'Retry-After: 1\r\n', body: '{}' })
    expect(run('--decode', 'CheckResponse', Buffer.from(denied, 'latin1')).toString().replaceAll(/\s+/g, ' ')).toBe(
      'status { code: 8 } denied_response { status { code: 429 } headers { header { key: "Retry-After" value: "1" } append { } append_action: OVERWRITE_IF_EXISTS_OR_ADD } body: "{}" } ',
    )
  })
})
