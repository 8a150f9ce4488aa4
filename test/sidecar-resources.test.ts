import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import type { Policy } from '../src/core/policy.ts'
import { createLog } from '../src/runtime/log.ts'
import { defaultLimits, type Limits } from '../src/sidecar/http1/limits.ts'
import { type Sidecar, startSidecar } from '../src/sidecar/start.ts'
import { writeVolume } from './support/kubelet.ts'
import { RawSocket } from './support/proxied.ts'
import { filesOf, keyOf, policyOf, published, signer, type TestKey } from './support/verification.ts'
import { eventually } from './support/wait.ts'

interface Guarded {
  readonly sidecar: Sidecar
  /** What the application received, one character per byte: fields and body. */
  readonly seen: { readonly head: string; readonly body: string }[]
  readonly lines: string[]
  readonly publish: (policy: Policy, keys: readonly TestKey[], sequence: number) => Promise<unknown>
  readonly metrics: () => Promise<string>
}

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function listen(server: Server): Promise<{ host: string; port: number }> {
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  return { host: '127.0.0.1', port: (server.address() as { port: number }).port }
}

async function guard(policy: Policy, keys: readonly TestKey[], limits: Partial<Limits> = {}): Promise<Guarded> {
  const root = await mkdtemp(join(tmpdir(), 'postern-resources-'))
  const directory = join(root, 'set')
  await mkdir(directory)
  const seen: Guarded['seen'] = []
  const lines: string[] = []
  const application = createServer((request, response) => {
    let body = ''
    request.setEncoding('latin1')
    request.on('data', (text: string) => {
      body += text
    })
    request.on('end', () => {
      seen.push({ head: `${request.method} ${request.url} ${request.rawHeaders.join(' ')}`, body })
      response.setHeader('RateLimit', '"app";r=1')
      response.end('from the application')
    })
  })
  const upstream = await listen(application)
  const anyPort = { host: '127.0.0.1', port: 0 }
  const publish: Guarded['publish'] = (published_, admitted, sequence) =>
    writeVolume(directory, filesOf(published(published_, admitted, { sequence })))
  await publish(policy, keys, 1)
  const sidecar = await startSidecar({
    guards: [{ policy: 'shop/orders', listen: anyPort, upstream }],
    verification: [{ policy: 'shop/orders', directory, policyUid: undefined }],
    publicKeys: [signer.publicKey],
    admin: anyPort,
    log: createLog({ level: 'info', sink: { write: (line) => lines.push(line) } }),
    limits: { ...defaultLimits, ...limits },
  })
  await sidecar.ready()
  cleanups.push(async () => {
    application.closeAllConnections()
    await sidecar.stop()
    await new Promise((resolve) => application.close(resolve))
    await rm(root, { recursive: true })
  })
  const metrics = async () => (await fetch(`http://127.0.0.1:${sidecar.admin!.port}/metrics`)).text()
  return { sidecar, seen, lines, publish, metrics }
}

function dial({ sidecar }: Guarded): RawSocket {
  const client = new RawSocket(connect(sidecar.guards[0]!.port, '127.0.0.1'))
  cleanups.push(() => client.socket.destroy())
  return client
}

const models = (values: readonly string[], key = keyOf(1)): TestKey => ({
  key,
  access: [{ interfaces: [0], resources: [[0, values]] }],
})
const resource = { name: 'model', from: { bodyPointer: '/model' } }
const modelled = policyOf({ resources: [resource], limits: { maxBodyBytes: 1000 } })
const head = (...lines: readonly string[]): string =>
  ['POST /chat HTTP/1.1', 'Host: a', `X-API-Key: ${keyOf(1)}`, ...lines, '', ''].join('\r\n')
const json = 'Content-Type: application/json'
const withLength = (body: string): string => head(json, `Content-Length: ${body.length}`) + body
const statusOf = (text: string): number => Number(/^HTTP\/1.1 (\d+)/.exec(text)![1])

describe('a body that is looked at', () => {
  test('goes on byte by byte as it came, however it comes', async () => {
    const guarded = await guard(modelled, [models(['m*'])])
    const client = dial(guarded)
    const text = fc.string({ unit: 'binary-ascii', maxLength: 60 })
    await fc.assert(
      fc.asyncProperty(
        text,
        fc.boolean(),
        fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 8 }),
        async (other, isChunked, cuts) => {
          const body = ` ${JSON.stringify({ x: [other], model: 'm1', y: other })}\n`
          const chunks: string[] = []
          let rest = body
          for (const cut of cuts) {
            if (rest.length > cut) chunks.push(rest.slice(0, cut))
            rest = rest.length > cut ? rest.slice(cut) : rest
          }
          chunks.push(rest)
          guarded.seen.length = 0
          client.received = ''
          client.send(head(json, isChunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${body.length}`))
          for (const chunk of chunks) {
            client.send(isChunked ? `${chunk.length.toString(16)}\r\n${chunk}\r\n` : chunk)
            await new Promise(setImmediate)
          }
          if (isChunked) client.send('0\r\n\r\n')
          expect(statusOf(await client.receives('from the application'))).toBe(200)
          expect(guarded.seen.map((one) => one.body)).toEqual([body])
        },
      ),
      { numRuns: 40 },
    )
  })

  test('that is large goes on whole', async () => {
    const guarded = await guard(policyOf({ resources: [resource] }), [models(['m'])])
    const client = dial(guarded)
    const body = `{"x":"${'Ã©'.repeat(250_000)}","model":"m"}`
    client.send(withLength(body))
    await client.receives('from the application')
    expect(guarded.seen[0]!.body === body).toBe(true)
  })

  test.each<[what: string, body: string, status: number, reason: string]>([
    ['another value', '{"model":"x"}', 403, 'ResourceNotAllowed'],
    ['no value', '{"a":1}', 403, 'ResourceMissing'],
    ['a value twice', '{"model":"m","model":"m"}', 403, 'BodyNotInspectable'],
    ['no JSON', 'model=m', 403, 'BodyNotInspectable'],
    ['text behind', '{"model":"m"} x', 403, 'BodyNotInspectable'],
  ])('with %s is refused', async (_, body, status, reason) => {
    const guarded = await guard(modelled, [models(['m'])])
    const client = dial(guarded)
    client.send(withLength(body))
    expect(statusOf(await client.receives('"status"'))).toBe(status)
    expect(guarded.seen).toEqual([])
    expect(await guarded.metrics()).toContain(
      `postern_requests_total{policy="shop/orders",decision="refuse",reason="${reason}"} 1`,
    )
  })

  test('of which all was received leaves the connection open for the next request', async () => {
    const guarded = await guard(modelled, [models(['m'])])
    const client = dial(guarded)
    client.send(withLength('{"model":"x"}') + withLength('{"model":"m"}'))
    const received = await client.receives('from the application')
    expect(received.match(/HTTP\/1.1 \d+/g)).toEqual(['HTTP/1.1 403', 'HTTP/1.1 200'])
    expect(guarded.seen).toHaveLength(1)
  })

  test('is refused as soon as that is certain, and the connection closed', async () => {
    const guarded = await guard(modelled, [models(['m'])])
    const client = dial(guarded)
    client.send(`${head(json, 'Content-Length: 900')}{"model":"x",`)
    expect(statusOf(await client.closes())).toBe(403)
    expect(client.received).toContain('Connection: close\r\n')
    const malformed = dial(guarded)
    malformed.send(`${head(json, 'Transfer-Encoding: chunked')}3\r\n{x:\r\n`)
    expect(statusOf(await malformed.closes())).toBe(403)
    expect(guarded.seen).toEqual([])
  })

  test('is refused where it is too long or of another kind, before it is asked for', async () => {
    const guarded = await guard(modelled, [models(['m'])])
    for (const [fields, status] of [
      [[json, 'Content-Length: 1001'], 413],
      [['Content-Type: text/plain', 'Content-Length: 10'], 415],
      [[json, 'Content-Encoding: gzip', 'Content-Length: 10'], 415],
    ] as const) {
      const client = dial(guarded)
      client.send(head(...fields, 'Expect: 100-continue'))
      expect(statusOf(await client.closes())).toBe(status)
      expect(client.received).not.toContain('100 Continue')
    }
  })

  test('that turns out too long in its chunks is refused', async () => {
    const guarded = await guard(modelled, [models(['m'])])
    const client = dial(guarded)
    client.send(`${head(json, 'Transfer-Encoding: chunked')}3e9\r\n{"model":"m",${' '.repeat(988)}\r\n`)
    expect(statusOf(await client.closes())).toBe(413)
  })

  test('is asked for where all but the body allows', async () => {
    const guarded = await guard(modelled, [models(['m'])])
    const client = dial(guarded)
    const body = '{"model":"m"}'
    client.send(head(json, `Content-Length: ${body.length}`, 'Expect: 100-continue'))
    await client.receives('HTTP/1.1 100 Continue\r\n\r\n')
    client.send(body)
    expect((await client.receives('from the application')).match(/HTTP\/1.1 \d+/g)).toEqual([
      'HTTP/1.1 100',
      'HTTP/1.1 200',
    ])
    const stranger = dial(guarded)
    stranger.send(head(json, 'Content-Length: 13', 'Expect: 100-continue').replace(keyOf(1), keyOf(2)))
    expect(await stranger.closes()).not.toContain('100 Continue')
  })

  test('that stops, or breaks off, comes to nothing', async () => {
    const guarded = await guard(modelled, [models(['m'])], { bodySeconds: 0.1 })
    const client = dial(guarded)
    client.send(`${head(json, 'Content-Length: 13')}{"model"`)
    expect(statusOf(await client.closes())).toBe(408)
    const broken = dial(guarded)
    broken.send(`${head(json, 'Transfer-Encoding: chunked')}zz\r\n`)
    expect(statusOf(await broken.closes())).toBe(400)
    const leaving = dial(guarded)
    leaving.send(`${head(json, 'Content-Length: 13')}{"model"`)
    leaving.socket.end()
    await eventually('the end', () => leaving.closed)
    expect(guarded.seen).toEqual([])
  })

  test('is kept only as far as there is room for all of them', async () => {
    const guarded = await guard(modelled, [models(['m'])], { maxGatheredBytes: 30 })
    const waiting = dial(guarded)
    waiting.send(`${head(json, 'Content-Length: 23')}{"model":"m",       `)
    await eventually('no room', async () => {
      const one = dial(guarded)
      one.send(withLength('{"model":"m"}'))
      return statusOf(await one.receives('\r\n\r\n')) === 503
    })
    waiting.socket.destroy()
    await eventually('room', async () => {
      const one = dial(guarded)
      one.send(withLength('{"model":"m"}'))
      return statusOf(await one.receives('\r\n\r\n')) === 200
    })
    for (let count = 0; count < 5; count += 1) {
      const one = dial(guarded)
      one.send(withLength('{"model":"m"}'))
      expect(statusOf(await one.receives('\r\n\r\n'))).toBe(200)
    }
  })

  test('is judged by the set that is in force when it ends', async () => {
    const guarded = await guard(modelled, [models(['m'])])
    const client = dial(guarded)
    client.send(`${head(json, 'Content-Length: 23')}{"model":"m",`)
    await guarded.publish(policyOf({ resources: [{ name: 'kind', from: { bodyPointer: '/b' } }] }), [models(['k'])], 2)
    await eventually('the set', async () =>
      (await guarded.metrics()).includes('postern_set_sequence{policy="shop/orders"} 2'),
    )
    client.send('"b": "k" }')
    expect(statusOf(await client.receives('\r\n\r\n'))).toBe(200)
    const late = dial(guarded)
    late.send(`${head(json, 'Content-Length: 11')}{"b":`)
    await guarded.publish(modelled, [], 3)
    await eventually('the set', async () =>
      (await guarded.metrics()).includes('postern_set_sequence{policy="shop/orders"} 3'),
    )
    late.send(' "k" }')
    expect(statusOf(await late.receives('\r\n\r\n'))).toBe(401)
  })
})

describe('a limited key', () => {
  const get = `GET /a HTTP/1.1\r\nHost: a\r\nX-API-Key: ${keyOf(1)}\r\nRateLimit: "client";r=999\r\n\r\n`
  const limited: TestKey = { key: keyOf(1), rateLimit: { requests: 2, perSeconds: 3600 } }

  test('is told what it may still do, and when to come again', async () => {
    const guarded = await guard(policyOf({}), [limited])
    const client = dial(guarded)
    client.send(get)
    const first = await client.receives('from the application')
    expect(first).toContain('RateLimit-Policy: "postern";q=2;w=3600\r\nRateLimit: "postern";r=1;t=1800\r\n')
    // What the application says of limits of its own stands beside.
    expect(first).toContain('RateLimit: "app";r=1\r\n')
    expect(first).not.toContain('"client"')
    client.received = ''
    client.send(get)
    expect(await client.receives('from the application')).toContain('RateLimit: "postern";r=0;t=1800\r\n')
    client.received = ''
    client.send(get)
    const refused = await client.receives('"status":429')
    expect(statusOf(refused)).toBe(429)
    expect(refused).toMatch(
      /Retry-After: 1800\r\nRateLimit-Policy: "postern";q=2;w=3600\r\nRateLimit: "postern";r=0;t=1800\r\n/,
    )
    expect(guarded.seen).toHaveLength(2)
  })

  test('has spent what it has spent when another set comes, and others have not', async () => {
    const guarded = await guard(policyOf({}), [limited])
    const client = dial(guarded)
    for (let count = 0; count < 2; count += 1) {
      client.send(get)
      await client.receives('from the application')
      client.received = ''
    }
    await guarded.publish(policyOf({}), [limited, { key: keyOf(2) }], 2)
    await eventually('the set', async () =>
      (await guarded.metrics()).includes('postern_set_sequence{policy="shop/orders"} 2'),
    )
    client.send(get)
    expect(statusOf(await client.receives('"status"'))).toBe(429)
    client.received = ''
    client.send(get.replace(keyOf(1), keyOf(2)))
    const other = await client.receives('from the application')
    expect(other).not.toContain('postern')
  })
})

describe('in mode Audit', () => {
  test('everything that is well formed passes, and is counted and logged', async () => {
    const guarded = await guard(policyOf({ mode: 'Audit', resources: [resource], limits: { maxBodyBytes: 1000 } }), [
      models(['m']),
    ])
    const client = dial(guarded)
    client.send(withLength('{"model":"x"}').replace('Host: a', 'Host: a\r\nX-Postern-Key-Name: spoofed'))
    await client.receives('from the application')
    client.received = ''
    client.send('GET /a HTTP/1.1\r\nHost: a\r\n\r\n')
    await client.receives('from the application')
    client.received = ''
    client.send(withLength('{"model":"m"}'))
    await client.receives('from the application')
    client.send(head(json, 'Content-Length: 1001'))
    await client.receives('HTTP/1.1 413')
    const malformed = dial(guarded)
    malformed.send('GET /a/../b HTTP/1.1\r\nHost: a\r\n\r\n')
    await malformed.receives('HTTP/1.1 400')

    expect(guarded.seen.map(({ body }) => body)).toEqual(['{"model":"x"}', '', '{"model":"m"}'])
    expect(guarded.seen[0]!.head).toContain(`X-API-Key ${keyOf(1)}`)
    expect(guarded.seen.map(({ head: text }) => text).join()).not.toContain('X-Postern')
    const text = await guarded.metrics()
    for (const [decision, reason] of [
      ['audit', 'ResourceNotAllowed'],
      ['audit', 'KeyMissing'],
      ['allow', 'Granted'],
      ['refuse', 'BodyNotInspectable'],
      ['refuse', 'RequestMalformed'],
    ])
      expect(text).toContain(`postern_requests_total{policy="shop/orders",decision="${decision}",reason="${reason}"} 1`)
    expect(guarded.lines.join()).toContain('Would have refused a request')
    expect(guarded.lines.join()).not.toContain(keyOf(1))
  })
})
