import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { writeVolume } from '../support/kubelet.ts'
import { filesOf, keyIdOf, keyOf, policyOf, published, signer } from '../support/verification.ts'
import { eventually } from '../support/wait.ts'
import { RawClient, type ReceivedAnswer } from '../wire/raw-client.ts'
import { type RecordedRequest, RecordingUpstream } from '../wire/recording-upstream.ts'
import { type SidecarProcess, startSidecarProcess } from '../wire/sidecar-process.ts'
import { type Gateway, pathOf, programs, startGateway } from './programs.ts'

const key = keyOf(1)
const localKey = keyOf(2)
const elsewhereKey = keyOf(3)
const expiredKey = keyOf(4)
// In place of a client on loopback, Envoy names the machine.
const ownAddresses = Object.values(networkInterfaces()).flatMap((found = []) =>
  found.flatMap(({ address, family }) => (family === 'IPv4' && !address.startsWith('127.') ? [address] : [])),
)
const policy = policyOf({
  interfaces: [
    { name: 'app', match: [{ paths: ['/app/**'] }] },
    { name: 'admin', match: [{ paths: ['/admin/**'] }] },
  ],
  public: [{ paths: ['/public/**'] }],
  hosts: ['orders.test', '127.0.0.1'],
  // HAProxy tells the guard behind it; the others are not asked to be believed, but to say whom they spoke to.
  clientAddress: { source: 'XForwardedFor', trustedProxies: ['127.0.0.1'] },
  credentials: [{ type: 'Bearer' }, { type: 'Header', name: 'X-API-Key' }, { type: 'Query', name: 'api_key' }],
})
const keys = [
  { key, name: 'exporter', roles: ['reader', 'writer'], interfaces: ['app'] },
  { key: localKey, name: 'local', interfaces: ['app'], addresses: ['127.0.0.0/8', ...ownAddresses] },
  { key: elsewhereKey, name: 'elsewhere', interfaces: ['app'], addresses: ['203.0.113.0/24'] },
  { key: expiredKey, name: 'past', interfaces: ['app'], notAfter: 1_700_000_000 },
]

let root: string
let app: RecordingUpstream
let appPort: number
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'postern-gateways-'))
  await mkdir(join(root, 'set'))
  await writeVolume(join(root, 'set'), filesOf(published(policy, keys)))
  app = new RecordingUpstream()
  appPort = await app.listen()
})
afterAll(async () => {
  await app.stop()
  await rm(root, { recursive: true })
})

const startSidecar = (guarded: boolean): Promise<SidecarProcess> =>
  startSidecarProcess(
    [{ policy: 'shop/orders', directory: join(root, 'set') }],
    guarded ? appPort : undefined,
    signer.publicKey,
    ['--decisions', '127.0.0.1:0', '--decisions-grpc', '127.0.0.1:0', '--trusted-peers', '127.0.0.1'],
  )

const field = ({ head }: { readonly head: string }, name: string): string | undefined =>
  new RegExp(`^${name}: *(.*?)\\r?$`, 'im').exec(head)?.[1]

describe.each(Object.entries(programs))('%s', (name, program) => {
  const missing = pathOf(program) === undefined
  if (missing) {
    test.skip(`is not there to be tried: ${program.install}`)
    return
  }

  const guarded = name.startsWith('HAProxy')
  let sidecar: SidecarProcess
  let gateway: Gateway
  beforeAll(async () => {
    sidecar = await startSidecar(guarded)
    await eventually('the set', async () => (await sidecar.metrics()).includes('postern_set_sequence{'))
    gateway = await startGateway(program, {
      app: appPort,
      decisions: sidecar.decisionPort('HTTP'),
      decisionsGrpc: sidecar.decisionPort('gRPC'),
      guard: guarded ? sidecar.portOf('shop/orders') : 0,
    })
    await app.take()
  }, 60_000)
  afterAll(async () => {
    await gateway?.stop()
    await sidecar?.stop()
  })

  async function ask(
    target: string,
    fields: readonly string[] = [],
    { method = 'GET', body = '' } = {},
  ): Promise<{ readonly answer: ReceivedAnswer; readonly seen: readonly RecordedRequest[] }> {
    const client = await RawClient.open(gateway.port, method === 'HEAD')
    const length = body === '' ? [] : [`Content-Length: ${body.length}`]
    const lines = [`${method} ${target} HTTP/1.1`, 'Host: orders.test', ...fields, ...length, 'Connection: close']
    client.send(`${lines.join('\r\n')}\r\n\r\n${body}`)
    await client.firstAnswer(20)
    client.destroy()
    return { answer: client.finalAnswers()[0]!, seen: await app.take() }
  }

  test('lets a key pass, says whose it is, and keeps it', async () => {
    const { answer, seen } = await ask('/app/a?b=%41', [
      `X-API-Key: ${key}`,
      'X-Postern-Key-Id: spoofed',
      'X-Postern-Roles: root',
      'X_Other: kept',
    ])
    expect(answer.status).toBe(200)
    expect(seen).toHaveLength(1)
    expect([seen[0]!.method, seen[0]!.path, seen[0]!.query]).toEqual(['GET', '/app/a', 'b=%41'])
    expect(field(seen[0]!, 'X-Postern-Key-Id')).toBe(keyIdOf(key))
    expect(field(seen[0]!, 'X-Postern-Key-Name')).toBe('exporter')
    expect(field(seen[0]!, 'X-Postern-Key-Namespace')).toBe('billing')
    expect(field(seen[0]!, 'X-Postern-Roles')).toBe('reader,writer')
    expect(seen[0]!.head).not.toContain(key)
    expect(seen[0]!.head).not.toMatch(/spoofed|root/)
  })

  test('takes a key out of Authorization', async () => {
    const { answer, seen } = await ask('/app/a', [`Authorization: Bearer ${key}`])
    expect(answer.status).toBe(200)
    expect(seen[0]!.head).not.toContain(key)
  })

  test('passes bodies on', async () => {
    const { answer, seen } = await ask('/app/a', [`X-API-Key: ${key}`], { method: 'POST', body: 'x'.repeat(20_000) })
    expect(answer.status).toBe(200)
    expect([seen[0]!.method, seen[0]!.body.length]).toEqual(['POST', 20_000])
  })

  test('challenges whoever has no key', async () => {
    for (const fields of [[], [`X-API-Key: ${keyOf(99)}`], [`X-API-Key: ${expiredKey}`], ['X-API-Key: ']]) {
      const { answer, seen } = await ask('/app/a', fields)
      expect([answer.status, seen.length]).toEqual([401, 0])
      expect(answer.head).toMatch(/^www-authenticate: *Bearer /im)
      expect(answer.head).not.toMatch(/^x-postern-key/im)
    }
  })

  test('refuses what the key may not do, and what can be read in two ways', async () => {
    const paths = ['/admin/a', '/app/../admin/a', '/app/%2e%2e/admin/a', '/app/..;/admin/a', '/app/%2fadmin', '/other']
    for (const path of paths) {
      const { answer, seen } = await ask(path, [`X-API-Key: ${key}`])
      expect([path, answer.status >= 400 && answer.status < 500, seen.length]).toEqual([path, true, 0])
    }
  })

  test('refuses two keys', async () => {
    const { answer, seen } = await ask('/app/a', [`X-API-Key: ${key}`, `X-API-Key: ${keyOf(99)}`])
    expect([answer.status, seen.length]).toEqual([401, 0])
  })

  test('tells nobody apart on public paths', async () => {
    const { answer, seen } = await ask('/public/a', ['X-Postern-Key-Id: spoofed', 'X-Postern-Key-Name: admin'])
    expect(answer.status).toBe(200)
    expect(seen[0]!.head).not.toMatch(/spoofed|admin/)
  })

  test.each(['/app/a', '/public/a'])('passes no identity on that is a disguised one: %s', async (path) => {
    const { answer, seen } = await ask(path, [
      `X-API-Key: ${key}`,
      'X_Postern_Key_Id: spoofed',
      'x.postern.roles: spoofed',
    ])
    expect([200, 400, 403]).toContain(answer.status)
    for (const { head } of seen) expect(head).not.toContain('spoofed')
  })

  test('believes no header about what is asked', async () => {
    const { answer, seen } = await ask('/admin/a', [
      `X-API-Key: ${key}`,
      ...['X-Original-URI', 'X-Forwarded-Uri', 'X-Original-URL', 'X-Rewrite-URL', ':path'.slice(1)].map(
        (of) => `${of}: /app/a`,
      ),
      ...['X-Original-Method', 'X-Forwarded-Method', 'X-HTTP-Method-Override'].map((of) => `${of}: GET`),
      'X-Envoy-Auth-Failure-Mode-Allowed: true',
    ])
    expect([answer.status, seen.length]).toEqual([403, 0])
  })

  test('knows the client by its connection', async () => {
    expect((await ask('/app/a', [`X-API-Key: ${localKey}`])).answer.status).toBe(200)
    const spoofed = await ask('/app/a', [
      `X-API-Key: ${elsewhereKey}`,
      'Forwarded: for=203.0.113.1',
      'X-Real-IP: 203.0.113.1',
    ])
    expect([spoofed.answer.status, spoofed.seen.length]).toEqual([403, 0])
  })

  test('answers only for hosts of the policy', async () => {
    const client = await RawClient.open(gateway.port, false)
    client.send(`GET /app/a HTTP/1.1\r\nHost: other.test\r\nX-API-Key: ${key}\r\nConnection: close\r\n\r\n`)
    await client.firstAnswer(20)
    client.destroy()
    expect([403, 421]).toContain(client.finalAnswers()[0]!.status)
    expect(await app.take()).toEqual([])
  })

  test.runIf(name.includes('gRPC') || guarded)('takes a key out of the query', async () => {
    const { answer, seen } = await ask(`/app/a?b=1&api%5fkey=${key}&c=2`)
    expect(answer.status).toBe(200)
    expect([seen[0]!.path, seen[0]!.query]).toEqual(['/app/a', 'b=1&c=2'])
  })

  test('lets nobody pass while nobody answers', async () => {
    await sidecar.stop()
    const { answer, seen } = await ask('/app/a', [`X-API-Key: ${key}`])
    expect(answer.status).toBeGreaterThanOrEqual(400)
    expect(seen).toEqual([])
  })
})
