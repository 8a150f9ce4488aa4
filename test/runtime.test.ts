import { request } from 'node:http'
import { connect } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { json, type Listener, listen } from '../src/runtime/listen.ts'
import { createLog } from '../src/runtime/log.ts'
import { createMetrics } from '../src/runtime/metrics.ts'

function recordingLog() {
  const lines: string[] = []
  return { lines, log: createLog({ level: 'debug', sink: { write: (line) => lines.push(line) } }) }
}

describe('log', () => {
  test('writes one JSON object a line', () => {
    const { lines, log } = recordingLog()
    log.with({ role: 'sidecar' }).info('Loaded a set', { policy: 'shop/orders' })
    expect(lines).toHaveLength(1)
    expect(JSON.parse(lines[0]!)).toMatchObject({
      level: 'info',
      message: 'Loaded a set',
      role: 'sidecar',
      policy: 'shop/orders',
      time: expect.stringMatching(/^\d{4}-.*Z$/),
    })
  })

  test('keeps what is below its level to itself', () => {
    const lines: string[] = []
    createLog({ level: 'warn', sink: { write: (line) => lines.push(line) } }).info('nothing')
    expect(lines).toEqual([])
  })

  test.each([
    [{ authorization: 'Bearer hunter2' }],
    [{ request: { headers: { 'x-api-key': 'hunter2' } } }],
    [{ a: { b: { data: { key: 'hunter2' } } } }],
    [{ secret: 'hunter2' }],
  ])('redacts %j', (fields) => {
    const { lines, log } = recordingLog()
    log.info('Something', fields)
    expect(lines.join()).not.toContain('hunter2')
    expect(lines.join()).toContain('[redacted]')
  })

  test('writes errors with causes and without what clients hang on them', () => {
    const { lines, log } = recordingLog()
    const error = Object.assign(new Error('outer', { cause: new Error('inner') }), {
      code: 'ECONNRESET',
      options: { headers: ['hunter2'] },
    })
    log.error('Failed', { error })
    expect(JSON.parse(lines[0]!).error).toMatchObject({
      message: 'outer',
      code: 'ECONNRESET',
      cause: { message: 'inner' },
    })
    expect(lines.join()).not.toContain('hunter2')
  })
})

describe('metrics', () => {
  test('counts by label values and forgets on request', async () => {
    const metrics = createMetrics({ process: false })
    const requests = metrics.counter('postern_requests_total', 'Requests.', ['policy', 'decision'])
    requests.with('shop/orders', 'allow').add()
    requests.with('shop/orders', 'allow').add(2)
    requests.with('shop/"x"', 'refuse').add()
    expect(await metrics.text()).toContain('postern_requests_total{policy="shop/orders",decision="allow"} 3')
    expect(await metrics.text()).toContain(String.raw`postern_requests_total{policy="shop/\"x\"",decision="refuse"} 1`)
    requests.remove('shop/orders', 'allow')
    expect(await metrics.text()).not.toContain('decision="allow"')
  })

  test('reads a gauge at each scrape and leaves out what is unknown', async () => {
    const metrics = createMetrics({ process: false })
    let age: number | undefined
    metrics
      .gauge('postern_set_age_seconds', 'Age.', ['policy'])
      .with('shop/orders')
      .read(() => age)
    expect(await metrics.text()).not.toContain('{policy="shop/orders"}')
    age = 7
    expect(await metrics.text()).toContain('postern_set_age_seconds{policy="shop/orders"} 7')
  })

  test('a histogram counts cumulatively', async () => {
    const metrics = createMetrics({ process: false })
    const seconds = metrics.histogram('postern_request_seconds', 'Duration.', [], [0.1, 1]).with()
    for (const value of [0.05, 0.1, 0.5, 30]) seconds.observe(value)
    const text = await metrics.text()
    expect(text).toContain('# TYPE postern_request_seconds histogram')
    expect(text).toContain('postern_request_seconds_bucket{le="0.1"} 2')
    expect(text).toContain('postern_request_seconds_bucket{le="1"} 3')
    expect(text).toContain('postern_request_seconds_bucket{le="+Inf"} 4')
    expect(text).toContain('postern_request_seconds_sum 30.65')
    expect(text).toContain('postern_request_seconds_count 4')
  })

  test('carries the usual series of a process', async () => {
    expect(await createMetrics().text()).toContain('process_resident_memory_bytes')
  })
})

describe('listen', () => {
  let listener: Listener | undefined
  afterEach(async () => {
    await listener?.stop(0)
    listener = undefined
  })

  const start = async (log = recordingLog().log) => {
    listener = await listen({
      host: '127.0.0.1',
      port: 0,
      log,
      endpoints: {
        '/healthz': () => json(200, { ok: true }),
        '/broken': () => {
          throw new Error('hunter2')
        },
      },
    })
    return listener
  }

  const ask = (port: number, path: string, method = 'GET') =>
    new Promise<{ status: number | undefined; body: string }>((resolve, reject) => {
      const sent = request({ host: '127.0.0.1', port, path, method, agent: false }, (response) => {
        let body = ''
        response.setEncoding('utf8')
        response.on('data', (chunk: string) => {
          body += chunk
        })
        response.on('end', () => resolve({ status: response.statusCode, body }))
      })
      sent.on('error', reject)
      sent.end()
    })

  test('answers exact paths only', async () => {
    const { port } = await start()
    expect(await ask(port, '/healthz?x=1')).toEqual({ status: 200, body: '{"ok":true}\n' })
    expect(await ask(port, '/healthz', 'HEAD')).toEqual({ status: 200, body: '' })
    expect(await ask(port, '/healthz/')).toMatchObject({ status: 404 })
    expect(await ask(port, '/healthz', 'POST')).toMatchObject({ status: 405 })
  })

  test('an endpoint that throws is a 500 that says nothing, and a line in the log', async () => {
    const { lines, log } = recordingLog()
    const { port } = await start(log)
    expect(await ask(port, '/broken')).toEqual({ status: 500, body: 'internal error\n' })
    expect(lines.join()).toContain('/broken')
  })

  test('stopping closes idle connections and refuses new ones', async () => {
    const started = await start()
    const socket = connect(started.port, '127.0.0.1')
    const closed = new Promise((resolve) => socket.on('close', resolve))
    await new Promise((resolve) => socket.on('connect', resolve))
    await started.stop(1)
    await closed
    await expect(ask(started.port, '/healthz')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })
})
