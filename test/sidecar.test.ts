import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createLog } from '../src/runtime/log.ts'
import { type Sidecar, startSidecar, systemClock } from '../src/sidecar/start.ts'
import { writeVolume } from './support/kubelet.ts'
import { RawSocket } from './support/proxied.ts'
import { filesOf, keyOf, policyOf, published, signer, type TestKey } from './support/verification.ts'
import { eventually } from './support/wait.ts'

const orders = policyOf({
  interfaces: [{ name: 'read', match: [{ methods: ['GET'], paths: ['/orders/**'] }] }],
  public: [{ methods: ['GET'], paths: ['/open'] }],
})
const stock = policyOf({}, 'stock')

let root: string
let application: Server
let seen: string[]
let lines: string[]
let sidecar: Sidecar
/** Added to the clock of the sidecar. */
let later = 0

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'postern-sidecar-'))
  await mkdir(join(root, 'orders'))
  await mkdir(join(root, 'stock'))
  seen = []
  lines = []
  later = 0
  application = createServer((request, response) => {
    seen.push(`${request.method} ${request.url} ${request.rawHeaders.join(' ')}`)
    if (request.url === '/orders/stream') {
      response.write('begun')
      return
    }
    response.end('from the application')
  })
  await new Promise<void>((resolve) => {
    application.listen(0, '127.0.0.1', resolve)
  })
  const { port } = application.address() as { port: number }
  const upstream = { host: '127.0.0.1', port }
  const anyPort = { host: '127.0.0.1', port: 0 }
  sidecar = await startSidecar({
    guards: [
      { policy: 'shop/orders', listen: anyPort, upstream },
      { policy: 'shop/stock', listen: anyPort, upstream },
    ],
    verification: [
      { policy: 'shop/orders', directory: join(root, 'orders'), policyUid: 'uid-of-orders' },
      { policy: 'shop/stock', directory: join(root, 'stock'), policyUid: undefined },
    ],
    publicKeys: [signer.publicKey],
    admin: anyPort,
    log: createLog({ level: 'debug', sink: { write: (line) => lines.push(line) } }),
    clock: { ...systemClock, now: () => Date.now() + later },
  })
})
afterEach(async () => {
  application.closeAllConnections()
  await sidecar.stop()
  await new Promise((resolve) => application.close(resolve))
  await rm(root, { recursive: true })
})

const publish = (sequence: number, keys: readonly TestKey[], which = orders) =>
  writeVolume(join(root, which.name), filesOf(published(which, keys, { sequence })))

const ask = (path: string, key?: string, guard = 0) =>
  fetch(
    `http://127.0.0.1:${sidecar.guards[guard]!.port}${path}`,
    key === undefined ? {} : { headers: { 'X-API-Key': key } },
  )
const status = async (path: string, key?: string, guard = 0) => {
  const response = await ask(path, key, guard)
  await response.text()
  return response.status
}
const admin = async (path: string) => {
  const response = await fetch(`http://127.0.0.1:${sidecar.admin!.port}${path}`)
  return { status: response.status, body: await response.text() }
}

describe('a sidecar', () => {
  test('refuses all with 503 until its sets are there, and says what is missing', async () => {
    const response = await ask('/orders/1', keyOf(1))
    expect([response.status, response.headers.get('Retry-After')]).toEqual([503, '1'])
    expect(await admin('/healthz')).toMatchObject({ status: 200 })
    expect(await admin('/readyz')).toEqual({
      status: 503,
      body: '{"ready":false,"missing":["shop/orders","shop/stock"],"draining":false}\n',
    })
    await publish(1, [{ key: keyOf(1) }])
    await eventually('one set', async () => (await admin('/readyz')).body.includes('["shop/stock"]'))
    expect(await status('/orders/1', keyOf(1))).toBe(200)
    expect(await status('/any', keyOf(1), 1)).toBe(503)
    await publish(1, [], stock)
    await sidecar.ready()
    expect(await admin('/readyz')).toEqual({ status: 200, body: '{"ready":true,"missing":[],"draining":false}\n' })
  })

  test('judges by key, path and policy, and tells the application who calls', async () => {
    await publish(1, [{ key: keyOf(1), name: 'exporter' }])
    await publish(1, [{ key: keyOf(2) }], stock)
    await sidecar.ready()
    expect(await status('/orders/1?a=b', keyOf(1))).toBe(200)
    expect(await status('/admin', keyOf(1))).toBe(403)
    expect(await status('/orders/1', keyOf(2))).toBe(401)
    expect(await status('/orders/1')).toBe(401)
    expect(await status('/open')).toBe(200)
    expect(await status('/anything', keyOf(2), 1)).toBe(200)
    expect(await status('/anything', keyOf(1), 1)).toBe(401)
    expect(seen).toHaveLength(3)
    expect(seen[0]).toMatch(/^GET \/orders\/1\?a=b .*X-Postern-Key-Name exporter/)
    expect(seen.join()).not.toContain(keyOf(1))
  })

  test('follows the set on open connections: publish, disable, enable, remove', async () => {
    const becomes = (expected: number) =>
      eventually(`status ${expected}`, async () => (await status('/orders/1', keyOf(1))) === expected)
    await publish(1, [])
    await becomes(401)
    await publish(2, [{ key: keyOf(1) }])
    await becomes(200)
    await publish(3, [{ key: keyOf(1), enabled: false }])
    await becomes(401)
    await publish(4, [{ key: keyOf(1) }])
    await becomes(200)
    await publish(5, [])
    await becomes(401)
  })

  const streaming = async () => {
    const socket = connect(sidecar.guards[0]!.port, '127.0.0.1')
    const client = new RawSocket(socket)
    client.send(`GET /orders/stream HTTP/1.1\r\nHost: a\r\nX-API-Key: ${keyOf(1)}\r\n\r\n`)
    await client.receives('begun')
    return client
  }

  test('cuts an answer in progress when its key is removed', async () => {
    await publish(1, [{ key: keyOf(1) }])
    await eventually('the set', async () => (await status('/orders/1', keyOf(1))) === 200)
    const client = await streaming()
    await publish(2, [])
    await eventually('the cut', () => client.failed)
    expect((await admin('/metrics')).body).toContain('postern_exchanges_cut_total{policy="shop/orders"} 1')
  })

  test('cuts an answer in progress when its key expires', async () => {
    await publish(1, [{ key: keyOf(1), notAfter: Math.floor(Date.now() / 1000) + 3600 }])
    await eventually('the set', async () => (await status('/orders/1', keyOf(1))) === 200)
    const client = await streaming()
    later = 3601_000
    await eventually('the cut', () => client.failed)
    expect(await status('/orders/1', keyOf(1))).toBe(401)
  })

  test('counts and times what it does', async () => {
    await publish(7, [{ key: keyOf(1) }])
    await eventually('the set', async () => (await status('/orders/1', keyOf(1))) === 200)
    await status('/open')
    await status('/orders/1', keyOf(2))
    await writeVolume(join(root, 'orders'), filesOf(published(orders, [], { sequence: 3 })))
    await eventually('a refused set', async () => (await admin('/metrics')).body.includes('reason="Rollback"'))
    const { body } = await admin('/metrics')
    for (const line of [
      'postern_requests_total{policy="shop/orders",decision="allow",reason="Granted"} 1',
      'postern_requests_total{policy="shop/orders",decision="allow",reason="Public"} 1',
      'postern_requests_total{policy="shop/orders",decision="refuse",reason="KeyUnknown"} 1',
      'postern_request_seconds_count{policy="shop/orders"} 2',
      'postern_set_sequence{policy="shop/orders"} 7',
      'postern_set_keys{policy="shop/orders"} 1',
      'postern_set_refused_total{policy="shop/orders",reason="Rollback"} 1',
      'postern_upstream_connects_total{policy="shop/orders"} 1',
      `postern_upstream_connections{policy="shop/orders",port="${sidecar.guards[0]!.port}",state="idle"} 1`,
      `postern_upstream_connections{policy="shop/orders",port="${sidecar.guards[0]!.port}",state="busy"} 0`,
    ]) {
      expect(body).toContain(line)
    }
    expect(body).toMatch(/postern_decision_seconds_count\{policy="shop\/orders"\} \d/)
    expect(body).toMatch(/postern_set_age_seconds\{policy="shop\/orders"\} \d/)
    expect(body).not.toMatch(/postern_set_\w+\{policy="shop\/stock"\}/)
  })

  test('keeps keys out of logs, metrics and answers', async () => {
    await publish(1, [{ key: keyOf(1) }])
    await eventually('the set', async () => (await status('/orders/1', keyOf(1))) === 200)
    const answers: string[] = []
    for (const key of [keyOf(1), keyOf(2), keyOf(2).slice(1)]) {
      for (const path of ['/orders/1', `/admin?api_key=${key}`]) answers.push(await (await ask(path, key)).text())
    }
    const everything = [...answers, ...lines, (await admin('/metrics')).body].join('\n')
    expect(lines.join()).toContain('Refused a request')
    for (const key of [keyOf(1), keyOf(2)]) expect(everything).not.toContain(key.slice(-30))
    expect(answers.join()).not.toContain('orders')
  })
})

test('does not start where its options do not go together, or a port is taken', async () => {
  const log = createLog({ level: 'silent' })
  const taken = { host: '127.0.0.1', port: sidecar.guards[0]!.port }
  const guard = { policy: 'shop/orders', listen: taken, upstream: taken }
  const verification = [{ policy: 'shop/orders', directory: root, policyUid: undefined }]
  const options = { guards: [guard], verification, publicKeys: [signer.publicKey], admin: undefined, log }
  await expect(startSidecar(options)).rejects.toMatchObject({ code: 'EADDRINUSE' })
  await expect(startSidecar({ ...options, verification: [] })).rejects.toThrow('there is no --verification shop/orders')
})
