import { describe, expect, test } from 'vitest'
import { answerOverHttp } from '../src/sidecar/decisions/http-answers.ts'
import { type RequestHead, readRequestHead } from '../src/sidecar/http1/request-head.ts'
import { deskOf } from './support/decisions.ts'
import { keyIdOf, keyOf, policyOf } from './support/verification.ts'

const key = keyOf(1)
const remoteKey = keyOf(2)
const spec = {
  interfaces: [{ name: 'app', match: [{ methods: ['GET', 'POST'], paths: ['/app/**'] }] }],
  public: [{ paths: ['/public/**'] }],
  hosts: ['orders.test'],
  credentials: [{ type: 'Bearer' }, { type: 'Header', name: 'X-API-Key' }, { type: 'Query', name: 'api_key' }],
}
const keys = [
  { key, name: 'exporter', roles: ['reader'] },
  { key: remoteKey, name: 'remote', addresses: ['192.0.2.0/24'] },
]
const desks = () =>
  deskOf([
    { policy: policyOf(spec), keys },
    { policy: policyOf(spec, 'empty'), keys: undefined },
  ])

const head = (requestLine: string, fields: readonly string[]): RequestHead => {
  const bytes = Buffer.from(`${requestLine} HTTP/1.1\r\n${fields.join('\r\n')}\r\n\r\n`, 'latin1')
  const read = readRequestHead(bytes, 0, bytes.length)
  if (read === undefined || !('fields' in read)) throw new Error(`no head: ${JSON.stringify(read)}`)
  return read
}

interface Question {
  readonly method?: string
  readonly target?: string
  readonly host?: string
  readonly policy?: string
  readonly fields?: readonly string[]
  /** Names of fields that the gateway leaves out. */
  readonly without?: readonly string[]
}

type Ask = (question?: Question) => RequestHead

const telling =
  (dialect: string, tell: (method: string, target: string, host: string) => readonly string[]): Ask =>
  ({
    method = 'GET',
    target = '/app/a',
    host = 'orders.test',
    policy = 'shop/orders',
    fields = [],
    without = [],
  } = {}) =>
    head(`GET /authz/${dialect}/${policy}`, [
      ...tell(method, target, host).filter((line) => !without.includes(line.split(':')[0]!)),
      ...fields,
    ])

const gateways: Readonly<Record<string, Ask>> = {
  nginx: telling('nginx', (method, target, host) => [
    `Host: ${host}`,
    `X-Original-Method: ${method}`,
    `X-Original-URI: ${target}`,
  ]),
  traefik: telling('traefik', (method, target, host) => [
    'Host: postern',
    `X-Forwarded-Method: ${method}`,
    'X-Forwarded-Proto: https',
    `X-Forwarded-Host: ${host}`,
    `X-Forwarded-Uri: ${target}`,
  ]),
  caddy: telling('caddy', (method, target, host) => [
    `Host: ${host}`,
    `X-Forwarded-Method: ${method}`,
    'X-Forwarded-Proto: https',
    `X-Forwarded-Uri: ${target}`,
  ]),
  envoy: ({ method = 'GET', target = '/app/a', host = 'orders.test', policy = 'shop/orders', fields = [] } = {}) =>
    head(`${method} /authz/envoy/${policy}${target}`, [`Host: ${host}`, ...fields]),
}
const withKey = [`X-API-Key: ${key}`]
const answer = (asked: RequestHead) => answerOverHttp(desks().desk, asked, '10.0.0.9')

describe.each(Object.entries(gateways))('%s', (name, ask) => {
  test.each<[string, Question, number]>([
    ['lets a key pass', { fields: withKey }, 200],
    ['lets a bearer token pass', { fields: [`Authorization: Bearer ${key}`] }, 200],
    ['lets a key in the query pass', { target: `/app/a?api_key=${key}` }, 200],
    ['lets a public path pass', { target: '/public/a' }, 200],
    ['asks for a key', {}, 401],
    ['asks for a known key', { fields: [`X-API-Key: ${keyOf(9)}`] }, 401],
    ['refuses two keys', { fields: [...withKey, `Authorization: Bearer ${key}`] }, 401],
    ['refuses two keys in one field', { fields: [`X-API-Key: ${key}, ${key}`] }, 401],
    ['refuses another path', { target: '/admin/a', fields: withKey }, 403],
    ['refuses another method', { method: 'DELETE', fields: withKey }, 403],
    ['refuses another host', { host: 'admin.test', fields: withKey }, 403],
    ['refuses another host by case and port', { host: 'ADMIN.Test:443', fields: withKey }, 403],
    ['knows the host by case and port', { host: 'Orders.TEST:443', fields: withKey }, 200],
    ['refuses dot segments', { target: '/public/../admin/a', fields: withKey }, 403],
    ['refuses encoded dot segments', { target: '/app/%2e%2e/admin', fields: withKey }, 403],
    ['refuses encoded slashes', { target: '/app/%2Fadmin', fields: withKey }, 403],
    ['refuses a NUL', { target: '/app/%00', fields: withKey }, 403],
    ['refuses a fragment', { target: '/app/a#/admin', fields: withKey }, 403],
    ['refuses a policy that is not known', { policy: 'shop/other', fields: withKey }, 403],
    [
      'refuses without a set',
      { policy: 'shop/empty', fields: withKey },
      name === 'traefik' || name === 'caddy' ? 503 : 403,
    ],
    ['asks nobody to be believed', { fields: ['X-Envoy-Auth-Failure-Mode-Allowed: true'] }, 401],
  ])('%s', (_, question, status) => {
    expect(answer(ask(question)).status).toBe(status)
  })

  test('says whose key it was', () => {
    const { fieldLines, body } = answer(ask({ fields: withKey }))
    expect(fieldLines).toContain(`X-Postern-Key-Id: ${keyIdOf(key)}\r\n`)
    expect(fieldLines).toContain('X-Postern-Key-Name: exporter\r\n')
    expect(fieldLines).toContain('X-Postern-Roles: reader\r\n')
    expect(body).toBe('')
  })

  test('says nobody on public paths and in refusals', () => {
    for (const question of [{ target: '/public/a', fields: withKey }, {}, { target: '/admin', fields: withKey }])
      expect(answer(ask(question)).fieldLines).not.toMatch(/^X-Postern-Key|^X-Postern-Roles/m)
  })

  test('challenges, and tells nothing else', () => {
    const { fieldLines, body } = answer(ask({ fields: [`X-API-Key: ${keyOf(9)}`] }))
    expect(fieldLines).toMatch(/^WWW-Authenticate: Bearer realm="postern", error="invalid_token"\r$/m)
    expect(fieldLines + body).not.toMatch(/shop|orders|pstn/)
    if (name === 'nginx') expect(body).toBe('')
  })

  test('knows the client by what the gateway adds last', () => {
    const from = (...chain: readonly string[]) =>
      answer(ask({ fields: [`X-API-Key: ${remoteKey}`, ...chain.map((line) => `X-Forwarded-For: ${line}`)] })).status
    expect(from('192.0.2.1')).toBe(200)
    expect(from('10.0.0.1, 192.0.2.1')).toBe(200)
    expect(from('10.0.0.1', '192.0.2.1')).toBe(200)
    expect(from('192.0.2.1, 10.0.0.1')).toBe(403)
    expect(from('192.0.2.1', '10.0.0.1')).toBe(403)
    expect(from('192.0.2.1,')).toBe(403)
    expect(from('10.0.0.1, \xa0192.0.2.1')).toBe(403)
    expect(from('unknown')).toBe(403)
    expect(from()).toBe(403)
  })

  test.runIf(name !== 'envoy')('makes up nothing that the gateway does not tell', () => {
    const told = ask({}).fields.filter((_, index) => index % 2 === 0)
    const optional = name === 'caddy' ? ['X-Forwarded-Proto'] : []
    for (const field of told.filter((field) => field !== 'Host' && !optional.includes(field))) {
      expect([field, answer(ask({ fields: withKey, without: [field] })).status]).toEqual([field, 403])
    }
    for (const field of told.filter((field) => field !== 'Host')) {
      const value = ask({}).fields[ask({}).fields.indexOf(field) + 1]!
      const twice = ask({ fields: [...withKey, `${field.toLowerCase()}: ${value}`] })
      expect([field, answer(twice).status]).toEqual([field, 403])
    }
    for (const target of ['', '*', 'app/a', 'http://orders.test/app/a', '//app/a', '?/app/a'])
      expect([target, answer(ask({ target, fields: withKey })).status]).toEqual([target, 403])
    for (const method of ['', 'get', 'GET,POST', 'CONNECT', 'TRACE', 'G ET'])
      expect([method, answer(ask({ method, fields: withKey })).status]).toEqual([method, 403])
  })

  test.runIf(name !== 'envoy')('ignores what other gateways tell', () => {
    const others = ['X-Original-URI', 'X-Forwarded-Uri', 'X-Original-URL', 'X_Forwarded_Uri', 'X-Rewrite-URL']
    const own = ask({}).fields.map((field) => field.toLowerCase())
    const fields = others.filter((field) => !own.includes(field.toLowerCase())).map((field) => `${field}: /app/a`)
    expect(answer(ask({ target: '/admin', fields: [...withKey, ...fields] })).status).toBe(403)
  })

  test.runIf(name !== 'envoy')('refuses an identity header in disguise', () => {
    for (const field of ['X_Postern_Key_Id', 'x.postern.roles', 'X-Postern_Key-Name'])
      expect(answer(ask({ fields: [...withKey, `${field}: admin`] })).status).toBe(403)
    expect(answer(ask({ fields: [...withKey, 'X-Postern-Key-Id: admin', 'X_Other: fine'] })).status).toBe(200)
  })
})

test('nginx is told in a field what it cannot be told by a status', () => {
  const reason = (question: Question) => answer(gateways.nginx!(question)).fieldLines
  expect(reason({ policy: 'shop/empty' })).toContain('X-Postern-Reason: PolicyUnavailable\r\n')
  expect(reason({ fields: withKey, host: 'other.test' })).toContain('X-Postern-Reason: HostUnknown\r\n')
  // What is wrong with a key is nobody's business.
  expect(reason({ fields: [`X-API-Key: ${keyOf(9)}`] })).not.toContain('X-Postern-Reason')
})

test('Envoy is told what to take off', () => {
  const removed = (fields: readonly string[], target = '/app/a') =>
    /^x-envoy-auth-headers-to-remove: (.*)\r$/m
      .exec(answer(gateways.envoy!({ fields, target })).fieldLines)?.[1]
      ?.split(', ')
  expect(removed(withKey)).toEqual(['x-api-key'])
  expect(removed([`Authorization: Bearer ${key}`])).toEqual(['authorization'])
  // An Authorization that holds no key is the application's.
  expect(removed([...withKey, 'Authorization: Digest abc'])).toEqual(['x-api-key'])
  expect(removed([...withKey, 'X_Postern_Key_Id: a', 'X-Postern-Roles: root', 'X-HTTP-Method-Override: PUT'])).toEqual([
    'x-api-key',
    'x_postern_key_id',
    'x-http-method-override',
  ])
  const identity = ['x-postern-key-id', 'x-postern-key-name', 'x-postern-key-namespace', 'x-postern-roles']
  expect(removed(['X-Postern-Roles: root', 'X-Forwarded-For: 192.0.2.1', 'TE: trailers'], '/public/a')).toEqual(
    identity,
  )
})

test.each([
  ['/authz/haproxy/shop/orders'],
  ['/authz/nginx'],
  ['/authz/nginx/shop'],
  ['/authz/nginx/shop/orders/app/a'],
  ['/authz/envoy/shop/orders'],
  ['/authz/envoy/shop/orders?/app/a'],
  ['/authz/envoy//shop/orders/app/a'],
  ['/authz/../authz/envoy/shop/orders/app/a'],
  ['/healthz'],
])('%s is no question', (target) => {
  const { desk, unanswerable } = desks()
  const fields = ['Host: orders.test', 'X-Original-Method: GET', 'X-Original-URI: /app/a', ...withKey]
  expect(answerOverHttp(desk, head(`GET ${target}`, fields), undefined).status).toBe(403)
  expect(unanswerable).toHaveLength(1)
})

test('no key is logged', () => {
  const { desk, lines } = desks()
  const secret = keyOf(9)
  for (const ask of Object.values(gateways)) {
    answerOverHttp(desk, ask({ fields: [`X-API-Key: ${secret}`] }), undefined)
    answerOverHttp(desk, ask({ target: `/app/a?api_key=${secret}` }), undefined)
    answerOverHttp(desk, ask({ target: `/app/a?api_key=${secret}`, policy: 'shop/other' }), undefined)
  }
  expect(lines.length).toBeGreaterThan(8)
  expect(lines.join('\n')).not.toContain(secret)
})
