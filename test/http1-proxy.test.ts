import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import type { Limits } from '../src/sidecar/http1/limits.ts'
import { type Proxied, proxied, type RawSocket } from './support/proxied.ts'
import { eventually } from './support/wait.ts'

let running: Proxied | undefined
afterEach(async () => {
  await running?.stop()
  running = undefined
})

const start = async (limits: Partial<Limits> = {}, port?: number): Promise<Proxied> => {
  running = await proxied(limits, port)
  return running
}

const get = (target = '/a', lines = '') => `GET ${target} HTTP/1.1\r\nHost: app\r\n${lines}\r\n`
const post = (lines: string, body = '') => `POST /a HTTP/1.1\r\nHost: app\r\n${lines}\r\n${body}`
const ok = (body: string) => `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`

/** A client that has sent a request, and the connection on which the application has received it. */
async function exchange({ client, upstream }: Proxied, request: string): Promise<[RawSocket, RawSocket]> {
  const caller = await client()
  caller.send(request)
  const application = await upstream.connection()
  await application.receives('\r\n\r\n')
  return [caller, application]
}

/** Round trips of another client: so many turns of everything else, without a clock. */
async function othersComeAndGo(on: Proxied, times: number): Promise<void> {
  const other = await on.client()
  for (let count = 1; count <= times; count += 1) {
    other.send(get('/refused'))
    await new Promise<void>((resolve) => {
      const look = () => (other.received.split('X-By').length > count ? resolve() : other.socket.once('data', look))
      look()
    })
  }
}

describe('requests', () => {
  test('reach the application with the lines of the decision, and are answered', async () => {
    const [client, app] = await exchange(await start(), get('/a?b', 'X-Secret: s\r\n'))
    expect(app.received).toBe('GET /a?b HTTP/1.1\r\nHost: app\r\n\r\n')
    app.send('HTTP/1.1 201 Made\r\nX-A: b\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhi')
    expect(await client.receives('hi')).toBe('HTTP/1.1 201 Made\r\nX-A: b\r\nContent-Length: 2\r\n\r\nhi')
  })

  test('follow each other on both connections', async () => {
    const on = await start()
    const [client, app] = await exchange(on, get('/1'))
    for (const body of ['one', 'two', 'three']) {
      app.send(ok(body))
      await client.receives(body)
      client.send(get(`/${body}`))
      await app.receives(`/${body} `)
    }
    expect(on.upstream.connections).toHaveLength(1)
    expect(on.counts.ended).toBe(3)
  })

  test('that are pipelined are answered in order, one at a time', async () => {
    const on = await start()
    const [client, app] = await exchange(on, get('/1') + get('/refused') + get('/2') + get('/3'))
    expect(app.received).not.toContain('/2')
    app.send(ok('one'))
    await app.receives('/2 ')
    expect(app.received).not.toContain('/3')
    app.send(ok('two'))
    await app.receives('/3 ')
    app.send(ok('three'))
    const all = await client.receives('three')
    expect(all.match(/one|HTTP\/1.1 401|two|three/g)).toEqual(['one', 'HTTP/1.1 401', 'two', 'three'])
    expect(on.upstream.connections).toHaveLength(1)
  })

  test('in tiny pieces are put together', async () => {
    const on = await start()
    const client = await on.client()
    for (const character of post('Content-Length: 5\r\n', 'hello')) {
      client.send(character)
      await new Promise((resolve) => setImmediate(resolve))
    }
    const app = await on.upstream.connection()
    await app.receives('hello')
    expect(app.received).toBe('POST /a HTTP/1.1\r\nHost: app\r\nContent-Length: 5\r\n\r\nhello')
  })

  test('may come after one empty line, and not after two', async () => {
    const on = await start()
    const [client, app] = await exchange(on, `\r\n${get()}`)
    app.send(ok('one'))
    await client.receives('one')
    client.send(`\r\n\r\n${get()}`)
    expect(await client.closes()).toContain('HTTP/1.1 400')
  })

  test('of HTTP/1.0 are answered and closed, without chunks', async () => {
    const [client, app] = await exchange(
      await start(),
      'GET /a HTTP/1.0\r\nHost: app\r\nConnection: keep-alive\r\n\r\n',
    )
    app.send('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n')
    expect(await client.closes()).toBe('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhi')
  })

  test('that ask to close are the last', async () => {
    const [client, app] = await exchange(await start(), get('/a', 'Connection: close\r\n') + get('/b'))
    app.send(ok('one'))
    expect(await client.closes()).toBe('HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\none')
    expect(app.received).not.toContain('/b')
  })

  test('that ask for an upgrade are ordinary ones, and what follows them is not read', async () => {
    const lines = 'Connection: Upgrade\r\nUpgrade: websocket\r\n'
    const [client, app] = await exchange(await start(), get('/a', lines) + get('/b'))
    app.send(ok('one'))
    await client.closes()
    expect(app.received).not.toContain('/b')
  })
})

describe('bodies of requests', () => {
  test('of known length go on as they come', async () => {
    const [client, app] = await exchange(await start(), post('Content-Length: 10\r\n', 'hello'))
    await app.receives('hello')
    client.send('worldGET')
    expect(await app.receives('world')).toBe('POST /a HTTP/1.1\r\nHost: app\r\nContent-Length: 10\r\n\r\nhelloworld')
  })

  test('in chunks are framed anew, without extensions and trailers', async () => {
    const [client, app] = await exchange(
      await start(),
      post('Transfer-Encoding: chunked\r\n', '3;x=y\r\nhel\r\n2\r\nlo\r\n'),
    )
    await app.receives('lo')
    client.send('1\r\n!\r\n0\r\nX-T: v\r\n\r\n')
    expect(await app.receives('0\r\n\r\n')).toBe(
      'POST /a HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n',
    )
    app.send(ok('done'))
    await client.receives('done')
  })

  test('of no bytes say so to the application', async () => {
    const [, app] = await exchange(await start(), post('Content-Length: 0\r\n'))
    expect(app.received).toContain('Content-Length: 0\r\n\r\n')
  })

  test('that are malformed at once never reach the application', async () => {
    const on = await start()
    const client = await on.client()
    client.send(post('Transfer-Encoding: chunked\r\n', '0x5\r\nhello\r\n0\r\n\r\n'))
    expect(await client.closes()).toMatch(/^HTTP\/1.1 400 [\s\S]*Connection: close\r\n/)
    expect(on.upstream.connections).toHaveLength(0)
  })

  test('that turn out malformed are aborted at the application, never ended', async () => {
    const [client, app] = await exchange(await start(), post('Transfer-Encoding: chunked\r\n', '5\r\nhello\r\n'))
    await app.receives('hello')
    client.send('x\r\n')
    expect(await client.closes()).toMatch(/^HTTP\/1.1 400 /)
    await app.closes()
    expect(app.received).not.toContain('0\r\n\r\n')
  })

  test('that end early are aborted at the application', async () => {
    const [client, app] = await exchange(await start(), post('Content-Length: 10\r\n', 'hello'))
    await app.receives('hello')
    client.socket.end()
    await app.closes()
    await eventually('the client to be closed', () => client.closed)
  })

  test('that stop are given up', async () => {
    const [client, app] = await exchange(await start({ bodySeconds: 0.2 }), post('Content-Length: 10\r\n', 'hello'))
    expect(await client.closes()).toMatch(/^HTTP\/1.1 408 /)
    await app.closes()
  })

  test('of megabytes arrive whole, and wait while the application does not read', async () => {
    const on = await start()
    const size = 24 * 1024 * 1024
    const [client, app] = await exchange(on, post(`Content-Length: ${size}\r\n`))
    app.socket.pause()
    client.socket.write(Buffer.alloc(size, 'x'))
    await othersComeAndGo(on, 1000)
    // Kernel buffers hold some megabytes; what counts is that the rest waits at the client.
    expect(client.socket.writableLength).toBeGreaterThan(size / 4)
    app.socket.resume()
    await eventually('the whole body', () => app.received.length >= size)
    expect(app.received.length - app.received.indexOf('\r\n\r\n') - 4).toBe(size)
    app.send(ok('done'))
    await client.receives('done')
  })
})

describe('Expect', () => {
  const expecting = post('Content-Length: 5\r\nExpect: 100-continue\r\n')

  test('is met once the request is allowed, by the sidecar', async () => {
    const [client, app] = await exchange(await start(), expecting)
    expect(await client.receives('\r\n\r\n')).toBe('HTTP/1.1 100 Continue\r\n\r\n')
    app.send('HTTP/1.1 100 Continue\r\n\r\n')
    client.send('hello')
    await app.receives('hello')
    app.send(ok('done'))
    expect(await client.receives('done')).toBe(`HTTP/1.1 100 Continue\r\n\r\n${ok('done')}`)
    expect(app.received).not.toContain('Expect')
  })

  test('is not met where the body came along', async () => {
    const [client, app] = await exchange(await start(), `${expecting}hello`)
    app.send(ok('done'))
    expect(await client.receives('done')).toBe(ok('done'))
  })

  test('is not met for a refused request', async () => {
    const client = await (await start()).client()
    client.send(expecting.replace('/a', '/refused'))
    expect(await client.closes()).toMatch(/^HTTP\/1.1 401 /)
  })
})

describe('refusals', () => {
  test('keep the connection where there is no body', async () => {
    const on = await start()
    const client = await on.client()
    client.send(get('/refused'))
    expect(await client.receives('no')).toBe(
      'HTTP/1.1 401 Refused\r\nX-By: gate\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 2\r\n\r\nno',
    )
    client.send(get('/a'))
    const app = await on.upstream.connection()
    await app.receives('/a ')
    app.send(ok('yes'))
    await client.receives('yes')
  })

  test('have no body in answer to HEAD', async () => {
    const client = await (await start()).client()
    client.send('HEAD /refused HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n')
    expect(await client.closes()).toBe(
      'HTTP/1.1 401 Refused\r\nX-By: gate\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 2\r\nConnection: close\r\n\r\n',
    )
  })

  test('never read a body as the next request', async () => {
    const on = await start()
    const client = await on.client()
    client.send(post(`Content-Length: ${get('/admin').length}\r\n`).replace('/a', '/refused') + get('/admin'))
    const all = await client.closes()
    expect(all.match(/HTTP\/1.1/g)).toHaveLength(1)
    expect(on.gate.heads).toHaveLength(1)
  })

  test('reach a client that is still sending', async () => {
    const client = await (await start()).client()
    client.send(post('Content-Length: 900000\r\n').replace('/a', '/refused'))
    client.socket.write(Buffer.alloc(900_000))
    expect(await client.closes()).toMatch(/^HTTP\/1.1 401 [\s\S]*no$/)
    expect(client.failed).toBe(false)
  })

  test('end a connection whose client does not', async () => {
    const client = await (await start({ lingerSeconds: 0.1 })).client()
    client.send(post('Content-Length: 5\r\n').replace('/a', '/refused'))
    await client.closes()
    await eventually('the connection to be gone', () => {
      client.send('x')
      return client.closed
    })
  })

  test.each([
    [400, 'GET /\r\n\r\n'],
    [400, '\x16\x03\x01\x02\x00'],
    [414, `GET /${'a'.repeat(9000)}`],
    [431, `GET / HTTP/1.1\r\nHost: a\r\nX: ${'a'.repeat(40_000)}`],
    [501, post('Transfer-Encoding: gzip\r\n')],
    [505, 'GET / HTTP/3.0\r\nHost: a\r\n\r\n'],
  ])('answer %d to what is no request, and close', async (status, text) => {
    const on = await start()
    const client = await on.client()
    client.send(text + get())
    const all = await client.closes()
    expect(all).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
    expect(all.match(/HTTP\/1.1 \d/g)).toHaveLength(1)
    expect(on.gate.heads).toHaveLength(0)
  })
})

describe('answers', () => {
  const answered = async (answer: string, request = get()) => {
    const on = await start({ upstreamIdleSeconds: 600 })
    const [client, app] = await exchange(on, request)
    app.send(answer)
    return { on, client, app }
  }

  test.each<[string, string, string, string]>([
    [
      'chunked',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nhi\r\n1\r\n!\r\n0\r\nX-T: v\r\n\r\n',
      '',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhi!\r\n0\r\n\r\n',
    ],
    [
      '204 with a length',
      'HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n',
      '',
      'HTTP/1.1 204 No Content\r\n\r\n',
    ],
    [
      '304 with the length of what is not sent',
      'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n',
      '',
      'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n',
    ],
    ['to HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n', 'HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n'],
    ['chunked to HEAD', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', 'HEAD', 'HTTP/1.1 200 OK\r\n\r\n'],
    [
      'with early hints',
      `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${ok('hi')}`,
      '',
      `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${ok('hi')}`,
    ],
    ['with 100 that nobody asked for', `HTTP/1.1 100 Continue\r\n\r\n${ok('hi')}`, '', ok('hi')],
    ['empty', ok(''), '', ok('')],
  ])('are passed on: %s', async (_, answer, method, expected) => {
    const { on, client, app } = await answered(answer, method === 'HEAD' ? get().replace('GET', 'HEAD') : get())
    client.send(get('/refused'))
    const all = await client.receives('X-By: gate')
    expect(all.slice(0, all.indexOf('HTTP/1.1 401'))).toBe(expected)
    // The application's connection is as good as before.
    client.send(get('/next'))
    await app.receives('/next ')
    expect(on.upstream.connections).toHaveLength(1)
  })

  test.each([1, 7, 40])('in pieces of %d bytes are passed on', async (size) => {
    const on = await start()
    const [client, app] = await exchange(on, get())
    const text = `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`
    for (let at = 0; at < text.length; at += size) {
      app.send(text.slice(at, at + size))
      await new Promise((resolve) => setImmediate(resolve))
    }
    const all = await client.receives('0\r\n\r\n')
    expect(all).toContain(
      '103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n',
    )
    expect(all.slice(all.lastIndexOf('\r\nX-A')).replace(/\r\n[0-9a-f]+\r\n|\r\n/g, '')).toContain('hello')
  })

  test('that end with the connection become chunked, so that their end shows', async () => {
    const { client, app } = await answered('HTTP/1.1 200 OK\r\n\r\nhel')
    app.send('lo')
    app.socket.end()
    expect((await client.receives('0\r\n\r\n')).replace(/\r\n[0-9a-f]+\r\n/g, '|')).toMatch(/chunked\r\n\|?/)
    client.send(get('/refused'))
    await client.receives('401')
  })

  test('that end with the connection are bare for HTTP/1.0', async () => {
    const { client, app } = await answered('HTTP/1.1 200 OK\r\n\r\nhello', 'GET /a HTTP/1.0\r\nHost: a\r\n\r\n')
    app.socket.end()
    expect(await client.closes()).toBe('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello')
  })

  test.each([
    'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab',
    'HTTP/1.1 200 OK\r\nX : y\r\n\r\n',
    'HTTP/1.1 200 OK\nContent-Length: 0\n\n',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n',
    'SSH-2.0-OpenSSH_9.6\r\n',
    `HTTP/1.1 200 OK\r\n${'X: y\r\n'.repeat(300)}\r\n`,
    `HTTP/1.1 200 OK\r\nX: ${'y'.repeat(70_000)}`,
    'HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(20),
  ])('that are malformed are a 502: %j', async (answer) => {
    const { on, client, app } = await answered(answer)
    const all = await client.receives('Malformed')
    expect(all.replaceAll(/HTTP\/1.1 103 [^\r]*\r\n\r\n/g, '')).toMatch(/^HTTP\/1.1 502 /)
    await app.closes()
    expect(on.gate.failures).toEqual(['Malformed'])
  })

  test('that turn out malformed are cut, never ended', async () => {
    const { client, app } = await answered('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n')
    await client.receives('hi')
    app.send('x\r\n')
    await eventually('the client to see an error', () => client.failed)
    expect(client.received).not.toContain('0\r\n\r\n')
  })

  test.each([
    ['by length', 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello'],
    ['chunked', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n'],
  ])('that stop in the middle are cut, never ended: %s', async (_, answer) => {
    const { client, app } = await answered(answer)
    await client.receives('hello')
    app.socket.destroy()
    await eventually('the client to see an error', () => client.failed)
    expect(client.received).not.toContain('\r\n0\r\n\r\n')
  })

  test('until close that are reset are cut, never ended', async () => {
    const { client, app } = await answered('HTTP/1.1 200 OK\r\n\r\nhello')
    await client.receives('hello')
    app.socket.resetAndDestroy()
    await eventually('the client to see an error', () => client.failed)
    expect(client.received).not.toContain('0\r\n\r\n')
  })

  test('with something behind them end the connection to the application', async () => {
    const { on, client, app } = await answered(`${ok('hi')}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil`)
    await client.receives('hi')
    await app.closes()
    client.send(get('/next'))
    const fresh = await on.upstream.connection()
    await fresh.receives('/next ')
    fresh.send(ok('good'))
    expect(await client.receives('good')).not.toContain('evil')
  })

  test('that nobody asked for end the connection to the application', async () => {
    const { on, client, app } = await answered(ok('hi'))
    await client.receives('hi')
    app.send('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil')
    await app.closes()
    client.send(get('/next'))
    const fresh = await on.upstream.connection()
    await fresh.receives('/next ')
    fresh.send(ok('good'))
    expect(await client.receives('good')).not.toContain('evil')
  })

  test('before the end of the request are passed on, and are the last', async () => {
    const { client, app } = await answered(
      'HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig',
      post('Content-Length: 100000\r\n', 'hello'),
    )
    expect(await client.closes()).toBe('HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig')
    await app.closes()
  })

  test('and requests may flow at the same time', async () => {
    const { client, app } = await answered(
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n',
      post('Transfer-Encoding: chunked\r\n', '1\r\nA\r\n'),
    )
    await client.receives('1\r\na\r\n')
    client.send('1\r\nB\r\n')
    await app.receives('1\r\nB\r\n')
    app.send('1\r\nb\r\n')
    await client.receives('1\r\nb\r\n')
    client.send('0\r\n\r\n')
    await app.receives('0\r\n\r\n')
    app.send('0\r\n\r\n')
    expect(await client.closes()).toMatch(/1\r\na\r\n1\r\nb\r\n0\r\n\r\n$/)
  })

  test('of megabytes arrive whole, and wait while the client does not read', async () => {
    const size = 24 * 1024 * 1024
    const { on, client, app } = await answered(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`)
    await client.receives('\r\n\r\n')
    client.socket.pause()
    const body = Buffer.alloc(size)
    for (let index = 0; index < size; index += 4) body.writeUInt32LE(index, index)
    app.socket.write(body)
    await othersComeAndGo(on, 1000)
    expect(app.socket.writableLength).toBeGreaterThan(size / 4)
    client.socket.resume()
    await eventually('the whole answer', () => client.received.length >= size)
    expect(Buffer.from(client.received.slice(client.received.indexOf('\r\n\r\n') + 4), 'latin1').equals(body)).toBe(
      true,
    )
  })

  test('of many exchanges at once do not mix', async () => {
    const on = await start()
    const pairs = await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        const client = await on.client()
        client.send(get(`/${index}`))
        return { client, index }
      }),
    )
    await eventually('all requests', () => {
      const { connections } = on.upstream
      return connections.length === 20 && connections.every(({ received }) => received.endsWith('\r\n\r\n'))
    })
    for (let count = 0; count < 20; count += 1) {
      const app = await on.upstream.connection()
      const all = await app.receives('\r\n\r\n')
      const index = Number(/^GET \/(\d+) /.exec(all)?.[1])
      const body = Buffer.alloc(40_000 + index, String.fromCharCode(65 + index))
      app.socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`)
      app.socket.write(body)
    }
    for (const { client, index } of pairs) {
      await eventually('the answer', () => client.received.length >= 40_000)
      const body = client.received.slice(client.received.indexOf('\r\n\r\n') + 4)
      await eventually('all of it', () => client.received.endsWith(String.fromCharCode(65 + index)))
      expect(new Set(body)).toEqual(new Set([String.fromCharCode(65 + index)]))
    }
  })
})

test('an answer that waits for its client is not overwritten by those of others', async () => {
  const bodyOf = (target: string) => `${target}:`.padEnd(60_000, target.at(-1))
  const application = createHttpServer((request, response) => {
    response.setHeader('Content-Length', 60_000)
    response.end(bodyOf(request.url!))
  })
  const port = await new Promise<number>((resolve) => {
    application.listen(0, '127.0.0.1', () => resolve((application.address() as AddressInfo).port))
  })
  const on = await start({}, port)
  const slow = await on.client()
  slow.socket.pause()
  const targets = Array.from({ length: 200 }, (_, index) => `/slow/${index}`)
  slow.send(targets.map((target) => get(target)).join(''))
  for (let index = 0; index < 300; index += 1) {
    const response = await fetch(`http://127.0.0.1:${on.port}/quick/${index}`)
    expect((await response.text()) === bodyOf(`/quick/${index}`)).toBe(true)
  }
  expect(on.gate.heads.at(-1)!.target).toBe('/quick/299')
  slow.socket.resume()
  await eventually('all answers', () => slow.received.length > targets.length * 60_000)
  const bodies = slow.received.split(/HTTP\/1.1 200 OK\r\n(?:[^\r]+\r\n)*\r\n/).slice(1)
  expect(bodies).toHaveLength(targets.length)
  expect(targets.find((target, index) => bodies[index] !== bodyOf(target))).toBeUndefined()
  application.close()
})

describe('the application', () => {
  test('that refuses connections is a 503', async () => {
    const closed = createServer()
    const port = await new Promise<number>((resolve) => {
      closed.listen(0, '127.0.0.1', () => resolve((closed.address() as { port: number }).port))
    })
    await new Promise((resolve) => closed.close(resolve))
    const on = await start({}, port)
    const client = await on.client()
    client.send(get())
    expect(await client.receives('Unreachable')).toMatch(/^HTTP\/1.1 503 /)
  })

  test('that closes without an answer is a 502', async () => {
    const [client, app] = await exchange(await start(), get())
    app.socket.destroy()
    expect(await client.receives('Closed')).toMatch(/^HTTP\/1.1 502 /)
  })

  test('that closes in the middle of a head is a 502', async () => {
    const [client, app] = await exchange(await start(), get())
    app.send('HTTP/1.1 200 OK\r\nX-A')
    app.socket.end()
    expect(await client.receives('Closed')).toMatch(/^HTTP\/1.1 502 /)
  })

  test('that is too slow is a 504', async () => {
    const on = await start()
    on.gate.upstream.timeoutSeconds = 0.2
    const [client, app] = await exchange(on, get())
    expect(await client.receives('TimedOut')).toMatch(/^HTTP\/1.1 504 /)
    await app.closes()
  })

  test('that falls silent in the middle of an answer is cut', async () => {
    const [client, app] = await exchange(await start({ streamSeconds: 0.2 }), get())
    app.send('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello')
    await eventually('the client to see an error', () => client.failed)
    await app.closes()
  })

  /** A second request on a connection that the application closes when it sees it. */
  const onStaleConnection = async (request: string) => {
    const on = await start()
    const [client, app] = await exchange(on, get())
    app.send(ok('one'))
    await client.receives('one')
    const before = app.received.length
    client.send(request)
    await eventually('the request', () => app.received.length > before)
    app.socket.resetAndDestroy()
    return { on, client }
  }

  test('is asked again where an idle connection was stale and the method is idempotent', async () => {
    const { on, client } = await onStaleConnection(get('/again'))
    const fresh = await on.upstream.connection()
    await fresh.receives('/again ')
    fresh.send(ok('two'))
    await client.receives('two')
    expect(on.counts.retries).toBe(1)
  })

  test('is asked again once only', async () => {
    const { on, client } = await onStaleConnection(get('/again'))
    const fresh = await on.upstream.connection()
    await fresh.receives('/again ')
    fresh.socket.resetAndDestroy()
    await client.receives('502')
    expect(on.upstream.connections).toHaveLength(2)
  })

  test.each([
    ['POST', 'POST /a HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['a body', 'PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi'],
  ])('is not asked again for %s', async (_, request) => {
    const { on, client } = await onStaleConnection(request)
    await client.receives('502')
    expect(on.upstream.connections).toHaveLength(1)
  })

  test('keeps no idle connection for long', async () => {
    const on = await start({ upstreamIdleSeconds: 0.1 })
    const [client, app] = await exchange(on, get())
    app.send(ok('one'))
    await client.receives('one')
    await app.closes()
    expect(on.proxy.pool.size).toBe(0)
  })

  test('has no more connections than it may, and requests wait for one', async () => {
    const on = await start({ maxWaiting: 1 })
    on.gate.upstream.maxConnections = 1
    const [first, app] = await exchange(on, get('/1'))
    const second = await on.client()
    second.send(post('Content-Length: 5\r\n', 'hello'))
    await eventually('a request that waits', () => on.proxy.pool.waitingCount === 1)
    const third = await on.client()
    third.send(get('/3'))
    await third.receives('503')
    app.send(ok('one'))
    await first.receives('one')
    await app.receives('hello')
    app.send(ok('two'))
    await second.receives('two')
    expect(on.upstream.connections).toHaveLength(1)
  })

  test('gets a waiting request on a new connection where the old one closed', async () => {
    const on = await start()
    on.gate.upstream.maxConnections = 1
    const [first, app] = await exchange(on, get('/1', 'Connection: close\r\n'))
    const second = await on.client()
    second.send(get('/2'))
    await eventually('a request that waits', () => on.proxy.pool.waitingCount === 1)
    app.send('HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\none')
    await first.receives('one')
    app.socket.end()
    const fresh = await on.upstream.connection()
    await fresh.receives('/2 ')
  })
})

describe('clients', () => {
  test('that send nothing are let go', async () => {
    const client = await (await start({ headSeconds: 0.1 })).client()
    expect(await client.closes()).toBe('')
  })

  test('that do not finish a head get 408', async () => {
    const client = await (await start({ headSeconds: 0.2 })).client()
    client.send('GET / HTTP/1.1\r\nHost: a\r\n')
    expect(await client.closes()).toMatch(/^HTTP\/1.1 408 /)
  })

  test('that drip a head get 408 all the same', async () => {
    const client = await (await start({ headSeconds: 0.2 })).client()
    const drip = setInterval(() => client.send('a'), 20)
    client.send('GET /')
    const all = await client.closes().finally(() => clearInterval(drip))
    expect(all).toMatch(/^HTTP\/1.1 408 /)
  })

  test('that close their side after several requests get all answers', async () => {
    const [client, app] = await exchange(await start(), get('/1') + get('/2') + get('/refused'))
    client.socket.end()
    app.send(ok('one'))
    await app.receives('/2 ')
    app.send(ok('two'))
    expect((await client.closes()).match(/one|two|X-By/g)).toEqual(['one', 'two', 'X-By'])
  })

  test('that are idle are let go', async () => {
    const on = await start({ idleSeconds: 0.2 })
    const [client, app] = await exchange(on, get())
    app.send(ok('one'))
    expect(await client.closes()).toBe(ok('one'))
  })

  test('that go away take their request with them', async () => {
    const on = await start()
    const [client, app] = await exchange(on, get())
    client.socket.resetAndDestroy()
    await app.closes()
    expect(on.counts.ended).toBe(1)
    await eventually('the pool to be empty', () => on.proxy.pool.size === 0)
  })

  test('that close their side still get the answer', async () => {
    const [client, app] = await exchange(await start(), get())
    client.socket.end()
    await new Promise((resolve) => setImmediate(resolve))
    app.send(ok('one'))
    expect(await client.closes()).toContain('one')
    await eventually('the connection to be gone', () => client.closed)
  })

  test('that do not read their answers get no more of them', async () => {
    const on = await start()
    const client = await on.client()
    client.socket.pause()
    // Each so short that it is handed on at once, and all together more than the kernel holds.
    const body = 'x'.repeat(13_000)
    const requests = 1500
    client.send(get('/many').repeat(requests))
    const app = await on.upstream.connection()
    let answered = 0
    const answer = () => {
      const asked = app.received.split('/many ').length - 1
      for (; answered < asked; answered += 1) app.send(ok(body))
    }
    app.socket.on('data', answer)
    answer()
    // Time enough for all answers, were they not held back.
    await othersComeAndGo(on, 4000)
    expect(answered).toBeGreaterThan(0)
    expect(answered).toBeLessThan(requests)
    client.socket.resume()
    await eventually('all answers', () => answered === requests && client.received.length > requests * body.length)
  })

  test('are not more than allowed', async () => {
    const on = await start({ maxConnections: 1 })
    await on.client()
    const second = await on.client()
    await second.closes()
    expect(on.counts.drops).toBe(1)
  })
})

describe('a decision that changes', () => {
  test('cuts an answer in progress', async () => {
    const on = await start()
    const [client, app] = await exchange(on, get())
    app.send('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n')
    await client.receives('a')
    on.gate.revoked = true
    await eventually('the client to see an error', () => client.failed)
    await app.closes()
    expect(on.counts.cuts).toBe(1)
    expect(client.received).not.toContain('0\r\n\r\n')
  })

  test('refuses where no answer has begun', async () => {
    const on = await start()
    const [client, app] = await exchange(on, get())
    on.gate.revoked = true
    on.proxy.review()
    expect(await client.closes()).toMatch(/^HTTP\/1.1 401 [\s\S]*revoked$/)
    await app.closes()
  })
})

describe('a defect', () => {
  test.each(['/defect', '/a'])(
    'ends the connection and no other: in the decision on %s, or the answer',
    async (target) => {
      const on = await start()
      const [other, otherApp] = await exchange(on, get('/other'))
      on.gate.failed = () => {
        throw new Error('on purpose')
      }
      const client = await on.client()
      client.send(get(target))
      if (target === '/a') {
        const app = await on.upstream.connection()
        await app.receives('/a ')
        app.send('nonsense that is long enough')
        await app.closes()
      }
      await eventually('the client to see an error', () => client.failed)
      expect(client.received).toBe('')
      otherApp.send(ok('fine'))
      await other.receives('fine')
    },
  )
})

describe('draining', () => {
  test('lets answers end, closes what is idle and accepts no more', async () => {
    const on = await start()
    const [busy, app] = await exchange(on, get())
    const idle = await on.client()
    idle.send(get('/refused'))
    await idle.receives('no')
    const stopped = on.proxy.stop(10)
    await idle.closes()
    idle.socket.end()
    app.send(ok('one'))
    expect(await busy.closes()).toContain('Connection: close\r\n\r\none')
    busy.socket.end()
    await stopped
    await expect(on.client()).rejects.toThrow()
  })

  test('cuts what does not end in time', async () => {
    const on = await start()
    const [client, app] = await exchange(on, get())
    await on.proxy.stop(0.1)
    await eventually('the client to see an error', () => client.failed)
    await app.closes()
  })
})
