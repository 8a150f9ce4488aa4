import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ChunkedReader } from '../src/sidecar/http1/chunked-reader.ts'
import { Fault } from '../src/sidecar/http1/grammar.ts'
import { HeadBuffer } from '../src/sidecar/http1/head-buffer.ts'
import { chunked, methods, readRequestHead } from '../src/sidecar/http1/request-head.ts'
import { ResponseFault, readResponseHead, untilClose } from '../src/sidecar/http1/response-head.ts'
import { readAnswer, readAnswerByNode } from './support/http1-answers.ts'
import { readRequests, readRequestsByNode } from './support/http1-reading.ts'

const bytes = (text: string) => Buffer.from(text, 'latin1')
const host = 'Host: api.example.test\r\n'

const read = (text: string) => readRequestHead(bytes(text), 0, text.length)
const status = (text: string) => {
  const head = read(text)
  return head instanceof Fault ? head.status : head === undefined ? 'incomplete' : 'accepted'
}

describe('request heads', () => {
  test('gives back what was sent', () => {
    const text = `POST /a?b=c HTTP/1.1\r\n${host}X-A: \t b \t c\t \r\nContent-Length: 5\r\n\r\nhello`
    expect(read(text)).toEqual({
      method: 'POST',
      target: '/a?b=c',
      minorVersion: 1,
      fields: ['Host', 'api.example.test', 'X-A', 'b \t c', 'Content-Length', '5'],
      bodyLength: 5,
      close: false,
      expectsContinue: false,
      asksForUpgrade: false,
      end: text.length - 5,
    })
  })

  test.each<[string, object]>([
    [`GET / HTTP/1.1\r\n${host}Connection: Keep-Alive\r\n\r\n`, { close: false, bodyLength: undefined }],
    [`GET / HTTP/1.1\r\n${host}Connection: x, CLOSE\r\n\r\n`, { close: true }],
    [`GET / HTTP/1.1\r\n${host}Connection:\r\nConnection: close\r\n\r\n`, { close: true }],
    [`GET / HTTP/1.1\r\n${host}Proxy-Connection: close\r\n\r\n`, { close: true }],
    [`GET / HTTP/1.0\r\n${host}\r\n`, { close: true, minorVersion: 0 }],
    [`GET / HTTP/1.0\r\n${host}Connection: keep-alive\r\n\r\n`, { close: true, minorVersion: 0 }],
    [`POST / HTTP/1.1\r\n${host}transfer-ENCODING: Chunked\r\n\r\n`, { bodyLength: chunked }],
    [`PUT / HTTP/1.1\r\n${host}Content-Length: 0\r\n\r\n`, { bodyLength: 0 }],
    [`PUT / HTTP/1.1\r\n${host}Content-Length: 007\r\n\r\n`, { bodyLength: 7 }],
    [`PUT / HTTP/1.1\r\n${host}Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n`, { expectsContinue: true }],
    [`PUT / HTTP/1.0\r\n${host}Expect: 100-continue\r\nContent-Length: 1\r\n\r\n`, { expectsContinue: false }],
    [`GET HTTP://API.example.test/a HTTP/1.1\r\n${host}\r\n`, { target: 'HTTP://API.example.test/a' }],
    [`GET //a HTTP/1.1\r\nHost: [::1]:80\r\n\r\n`, { target: '//a' }],
    [
      `GET / HTTP/1.1\r\nHost: a_b.example:65535\r\nX: caf\xc3\xa9\r\n\r\n`,
      { fields: expect.arrayContaining(['caf\xc3\xa9']) },
    ],
  ])('reads %j', (text, expected) => {
    expect(read(text)).toMatchObject(expected)
  })

  const get = 'GET / HTTP/1.1\r\n'
  test.each<[number, string, string]>([
    [400, 'a request line without version', `GET /\r\n\r\n`],
    [400, 'the asterisk', `OPTIONS * HTTP/1.1\r\n${host}\r\n`],
    [400, 'a URL of another host', `GET http://b/ HTTP/1.1\r\n${host}\r\n`],
    [400, 'a URL with userinfo', `GET http://a@api.example.test/ HTTP/1.1\r\n${host}\r\n`],
    [400, 'a URL without a path', `GET http://api.example.test HTTP/1.1\r\n${host}\r\n`],
    [400, 'a URL of another scheme', `GET ws://api.example.test/ HTTP/1.1\r\n${host}\r\n`],
    [400, 'a target without a slash', `GET admin HTTP/1.1\r\n${host}\r\n`],
    [400, 'a query alone', `GET ?x=1 HTTP/1.1\r\n${host}\r\n`],
    [400, 'a space too many', `GET  / HTTP/1.1\r\n${host}\r\n`],
    [400, 'a space behind the version', `GET / HTTP/1.1 \r\n${host}\r\n`],
    [400, 'a tab as separator', `GET\t/ HTTP/1.1\r\n${host}\r\n`],
    [400, 'a space in the target', `GET /a b HTTP/1.1\r\n${host}\r\n`],
    [400, 'a control character in the target', `GET /a\x01 HTTP/1.1\r\n${host}\r\n`],
    [400, 'DEL in the target', `GET /a\x7f HTTP/1.1\r\n${host}\r\n`],
    [400, 'a byte beyond ASCII in the target', `GET /\xe9 HTTP/1.1\r\n${host}\r\n`],
    [400, 'a bare LF behind the request line', `GET / HTTP/1.1\n${host}\r\n`],
    [400, 'a lower-case protocol', `GET / http/1.1\r\n${host}\r\n`],
    [400, 'another protocol', `GET / RTSP/1.0\r\n${host}\r\n`],
    [505, 'another version', `GET / HTTP/2.0\r\n${host}\r\n`],
    [505, 'a later minor version', `GET / HTTP/1.2\r\n${host}\r\n`],
    [400, 'a version of two digits', `GET / HTTP/1.10\r\n${host}\r\n`],
    [405, 'a method in lower case', `get / HTTP/1.1\r\n${host}\r\n`],
    [405, 'an unknown method', `POUET / HTTP/1.1\r\n${host}\r\n`],
    [405, 'CONNECT to an authority', `CONNECT a:80 HTTP/1.1\r\n${host}\r\n`],
    [405, 'CONNECT', `CONNECT / HTTP/1.1\r\n${host}\r\n`],
    [405, 'TRACE', `TRACE / HTTP/1.1\r\n${host}\r\n`],
    [405, 'a name of Object.prototype as method', `constructor / HTTP/1.1\r\n${host}\r\n`],
    [400, 'a method that is no token', `G(T / HTTP/1.1\r\n${host}\r\n`],
    [400, 'a greeting of TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
    [414, 'a target of 8 KiB and one', `GET /${'a'.repeat(8192)} HTTP/1.1\r\n${host}\r\n`],
    [414, 'a target without end', `GET /${'a'.repeat(8192)}`],
    [431, 'a line of 16 KiB and more', `${get}${host}X: ${'a'.repeat(16 * 1024)}\r\n\r\n`],
    [431, 'a head of 32 KiB and more', `${get}${host}${`X: ${'a'.repeat(8000)}\r\n`.repeat(5)}\r\n`],
    [431, 'a hundred fields and one', `${get}${host}${'a:\r\n'.repeat(100)}\r\n`],
    [400, 'space before the colon', `${get}${host}X : y\r\n\r\n`],
    [400, 'a folded line', `${get}${host}X: y\r\n z\r\n\r\n`],
    [400, 'space before the first line', `${get} ${host}\r\n`],
    [400, 'no name', `${get}${host}: y\r\n\r\n`],
    [400, 'no colon', `${get}${host}X\r\n\r\n`],
    [400, 'a name beyond ASCII', `${get}${host}X\xe9: y\r\n\r\n`],
    [400, 'NUL in a name', `${get}${host}X\0: y\r\n\r\n`],
    [400, 'NUL in a value', `${get}${host}X: y\0z\r\n\r\n`],
    [400, 'DEL in a value', `${get}${host}X: y\x7fz\r\n\r\n`],
    [400, 'a bare CR in a value', `${get}${host}X: y\rZ: z\r\n\r\n`],
    [400, 'a bare LF in a value', `${get}${host}X: y\nZ: z\r\n\r\n`],
    [400, 'CR CR LF', `${get}${host}X: y\r\r\n\r\n`],
    [400, 'a bare LF as the empty line', `${get}${host}\nGET`],
    [400, 'CR and something as the empty line', `${get}${host}\rXY`],
    [400, 'no Host', `${get}\r\n`],
    [400, 'no Host in HTTP/1.0', `GET / HTTP/1.0\r\n\r\n`],
    [400, 'two Hosts alike', `${get}${host}${host}\r\n`],
    [400, 'an empty Host', `${get}Host:\r\n\r\n`],
    [400, 'a list as Host', `${get}Host: a, b\r\n\r\n`],
    [400, 'userinfo in Host', `${get}Host: a@b\r\n\r\n`],
    [400, 'a path in Host', `${get}Host: a/b\r\n\r\n`],
    [400, 'a quote in Host', `${get}Host: a";for="b\r\n\r\n`],
    [400, 'a percent sign in Host', `${get}Host: a%2eb\r\n\r\n`],
    [400, 'an empty port in Host', `${get}Host: a:\r\n\r\n`],
    [400, 'a zone in Host', `${get}Host: [fe80::1%25eth0]\r\n\r\n`],
    [400, 'a Content-Length with a sign', `${get}${host}Content-Length: +5\r\n\r\n`],
    [400, 'a hexadecimal Content-Length', `${get}${host}Content-Length: 0x5\r\n\r\n`],
    [400, 'an empty Content-Length', `${get}${host}Content-Length:\r\n\r\n`],
    [400, 'a list as Content-Length', `${get}${host}Content-Length: 5, 5\r\n\r\n`],
    [400, 'a Content-Length beyond exact numbers', `${get}${host}Content-Length: 9999999999999999\r\n\r\n`],
    [400, 'two Content-Lengths alike', `${get}${host}Content-Length: 5\r\ncontent-length: 5\r\n\r\n`],
    [
      400,
      'Content-Length and Transfer-Encoding',
      `${get}${host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n`,
    ],
    [
      400,
      'Transfer-Encoding and Content-Length',
      `${get}${host}Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n`,
    ],
    [400, 'Transfer-Encoding in HTTP/1.0', `GET / HTTP/1.0\r\n${host}Transfer-Encoding: chunked\r\n\r\n`],
    [501, 'another coding', `${get}${host}Transfer-Encoding: gzip\r\n\r\n`],
    [501, 'a coding before chunked', `${get}${host}Transfer-Encoding: gzip, chunked\r\n\r\n`],
    [501, 'a quoted coding', `${get}${host}Transfer-Encoding: "chunked"\r\n\r\n`],
    [501, 'chunked with a tab behind it', `${get}${host}Transfer-Encoding: chunked\t\r\n\r\n`],
    [501, 'chunked with NBSP', `${get}${host}Transfer-Encoding: \xa0chunked\r\n\r\n`],
    [400, 'chunked twice', `${get}${host}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n`],
    [417, 'another expectation', `${get}${host}Expect: 200-ok\r\n\r\n`],
    [417, 'two expectations', `${get}${host}Expect: 100-continue\r\nExpect: 100-continue\r\n\r\n`],
  ])('answers %d to %s', (expected, _, text) => {
    expect(status(text)).toBe(expected)
  })

  test('is never sure of a head that is cut short, and never calls a good one bad', () => {
    const whole = `POST /a HTTP/1.1\r\n${host}X-A: b\r\nTransfer-Encoding: chunked\r\n\r\n`
    for (let end = 0; end < whole.length; end += 1) expect(status(whole.slice(0, end))).toBe('incomplete')
    expect(status(whole)).toBe('accepted')
  })

  test('reads from the middle of what was received', () => {
    const text = `xxxGET /b HTTP/1.1\r\n${host}\r\nrest`
    expect(readRequestHead(bytes(text), 3, text.length)).toMatchObject({ target: '/b', end: text.length - 4 })
  })
})

describe('response heads', () => {
  const readAnswer = (text: string, bodiless = false) => readResponseHead(bytes(text), 0, text.length, bodiless)

  test('keeps the lines that are for the client', () => {
    expect(
      readAnswer(
        'HTTP/1.1 200 OK\r\nServer: a\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\nContent-Length: 3\r\n' +
          'Upgrade: h2c\r\nTrailer: X\r\nTE: x\r\nProxy-Connection: x\r\nProxy-Authenticate: x\r\nX-Postern-Key-Id: k\r\nx-postern-name: k\r\nSet-Cookie:a=b \r\n\r\nabc',
      ),
    ).toEqual({
      status: 200,
      reason: 'OK',
      fieldLines: 'Server: a\r\nContent-Length: 3\r\nSet-Cookie:a=b \r\n',
      bodyLength: 3,
      close: false,
      end: 247,
    })
  })

  test.each<[string, boolean, object]>([
    ['HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n', false, { bodyLength: chunked, fieldLines: '' }],
    ['HTTP/1.1 200 OK\r\n\r\n', false, { bodyLength: untilClose, close: true }],
    ['HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n', false, { bodyLength: 1, close: true }],
    [
      'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n',
      true,
      { bodyLength: undefined, fieldLines: 'Content-Length: 9\r\n' },
    ],
    ['HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n', false, { bodyLength: undefined, close: false }],
    ['HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n', false, { bodyLength: undefined, fieldLines: '' }],
    ['HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n', false, { bodyLength: undefined, fieldLines: 'Link: </a>\r\n' }],
    ['HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n', false, { reason: '' }],
    ['HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n', false, { reason: '' }],
    [
      'HTTP/1.1 200 OK\r\nConnection: Content-Length\r\nContent-Length: 1\r\n\r\n',
      false,
      { fieldLines: 'Content-Length: 1\r\n' },
    ],
    ['HTTP/1.1 200 OK\r\nconnection: Close\r\nContent-Length: 1\r\n\r\n', false, { close: true }],
  ])('reads %j (to HEAD: %j)', (text, bodiless, expected) => {
    expect(readAnswer(text, bodiless)).toMatchObject(expected)
  })

  test.each([
    'HTTP/2.0 200 OK\r\n\r\n',
    'HTTP/1.1 20 OK\r\nA: b\r\n\r\n',
    'HTTP/1.0 103 Early Hints\r\n\r\n',
    'HTTP/1.1 2000 OK\r\n\r\n',
    'HTTP/1.1 099 OK\r\n\r\n',
    'ICY 200 OK\r\nA: b\r\n\r\n',
    'HTTP/1.1  200 OK\r\n\r\n',
    'HTTP/1.1 200 O\x01K\r\n\r\n',
    'HTTP/1.1 200 OK\nA: b\r\n\r\n',
    'HTTP/1.1 200 OK\r\nA : b\r\n\r\n',
    'HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n',
    'HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n',
    'HTTP/1.1 200 OK\r\nA: b\rSet-Cookie: c\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n',
    'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
    `HTTP/1.1 200 OK\r\n${'a: b\r\n'.repeat(257)}\r\n`,
  ])('refuses %j', (text) => {
    expect(readAnswer(text)).toBeInstanceOf(ResponseFault)
  })

  test('is never sure of a head that is cut short', () => {
    const whole = 'HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 1\r\n\r\n'
    for (let end = 0; end < whole.length; end += 1) expect(readAnswer(whole.slice(0, end))).toBeUndefined()
    expect(readAnswer(whole)).toMatchObject({ status: 200 })
  })
})

describe('chunked bodies', () => {
  const body = (text: string, pieces: readonly number[] = []) => {
    const reader = new ChunkedReader()
    let data = ''
    let start = 0
    for (const end of [...pieces, text.length]) {
      const piece = bytes(text.slice(start, end))
      const stop = reader.read(piece, 0)
      if (stop < 0) return 'malformed'
      for (let index = 0; index < reader.ranges.length; index += 2) {
        data += piece.toString('latin1', reader.ranges[index], reader.ranges[index + 1])
      }
      if (reader.complete) return { data, rest: text.slice(start + stop) }
      start = end
    }
    return 'incomplete'
  }

  test.each([
    ['5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nX-Trailer: v\r\n\r\nrest', 'hello world', 'rest'],
    ['0\r\n\r\n', '', ''],
    ['000a;a;b=c\r\n0123456789\r\n00\r\n\r\nGET', '0123456789', 'GET'],
    ['A\r\n\r\n\r\n\r\n\r\n\r\n\r\n0;x\r\nA: \r\nB:\r\n\r\n', '\r\n\r\n\r\n\r\n\r\n', ''],
  ])('reads %j, however it is cut', (text, data, rest) => {
    expect(body(text)).toEqual({ data, rest })
    for (let cut = 1; cut < text.length - rest.length; cut += 1) expect(body(text, [cut])).toEqual({ data, rest })
    expect(
      body(
        text,
        Array.from({ length: text.length - rest.length - 1 }, (_, index) => index + 1),
      ),
    ).toEqual({ data, rest })
  })

  test.each([
    '\r\n\r\n',
    '0x5\r\nhello\r\n0\r\n\r\n',
    '+5\r\nhello\r\n0\r\n\r\n',
    ' 5\r\nhello\r\n0\r\n\r\n',
    '5 \r\nhello\r\n0\r\n\r\n',
    '5\nhello\r\n0\r\n\r\n',
    '5\rhello\r\n0\r\n\r\n',
    '5;\r\nhello\r\n0\r\n\r\n',
    '5;a=\r\nhello\r\n0\r\n\r\n',
    '5;a\nb\r\nhello\r\n0\r\n\r\n',
    '5;a="b"\r\nhello\r\n0\r\n\r\n',
    '5\r\nhelloX\r\n0\r\n\r\n',
    '5\r\nhello\n0\r\n\r\n',
    '5\r\nhello0\r\n\r\n',
    '0\n\r\n',
    '0\r\n\n',
    '0\r\nX : y\r\n\r\n',
    '0\r\n X: y\r\n\r\n',
    '0\r\nX: y\0\r\n\r\n',
    '0\r\nX\r\n\r\n',
    '0\r\nContent-Length: 5\r\n\r\n',
    '0\r\nX: y\r\nTRANSFER-encoding: chunked\r\n\r\n',
    '-1\r\n',
    'fffffffffffff\r\n',
    '0000000000005\r\nhello\r\n0\r\n\r\n',
    `5;${'a'.repeat(300)}\r\nhello\r\n0\r\n\r\n`,
    `${`1;${'a'.repeat(250)}\r\nx\r\n`.repeat(70)}0\r\n\r\n`,
    `0\r\n${`X: ${'a'.repeat(100)}\r\n`.repeat(100)}\r\n`,
  ])('refuses %j', (text) => {
    expect(body(text)).toBe('malformed')
  })

  test('waits for the rest', () => {
    expect(body('5\r\nhel')).toBe('incomplete')
    expect(body('5\r\nhello\r\n0\r\nX: y\r\n')).toBe('incomplete')
  })
})

describe('heads in pieces', () => {
  const gather = (pieces: readonly string[]) => {
    const buffer = new HeadBuffer(100)
    const results = pieces.map((piece) => buffer.add(bytes(piece)))
    return { result: results.at(-1), text: buffer.take().toString('latin1') }
  }

  test('ends with the first empty line, and keeps what follows it', () => {
    expect(gather(['GET / HTTP/1.1\r', '\nA: b\r\n', '\r', '\nbody\x00'])).toEqual({
      result: 'complete',
      text: 'GET / HTTP/1.1\r\nA: b\r\n\r\nbody\x00',
    })
  })

  test.each([['G\0'], ['G', '\n'], ['G\r', 'x'], ['G\r\r'], ['G\r\n\n'], ['G\x7f']])(
    'refuses %j at once',
    (...pieces) => {
      expect(gather(pieces).result).toBe('malformed')
    },
  )

  test('has a bound', () => {
    expect(gather(['a'.repeat(100)]).result).toBe('incomplete')
    expect(gather(['a'.repeat(100), 'a']).result).toBe('tooLarge')
  })
})

/** The good ones far oftener than the doubtful, so that most messages of several parts are acceptable. */
const mostly = <T>(good: readonly T[], doubtful: readonly T[]) =>
  fc.oneof({ weight: 20, arbitrary: fc.constantFrom(...good) }, { weight: 1, arbitrary: fc.constantFrom(...doubtful) })

const chunk = fc
  .tuple(
    fc.constantFrom('a', 'hello', '0\r\n\r\n', 'GET / HTTP/1.1\r\n\r\n'),
    mostly(['', ';a', ';a=b', ';a=b;c'], [';', ';a="b"', ' ', '\t']),
  )
  .map(([data, extension]) => `${data.length.toString(16)}${extension}\r\n${data}\r\n`)
const trailer = mostly(
  ['', '', 'X-A: b\r\n', 'Trailer: c\r\n', 'X:\r\n', 'Keep-Alive: x\r\n', 'Expect: 100-continue\r\n'],
  [
    'Content-Length: 100\r\n',
    'Transfer-Encoding: chunked\r\n',
    'X : y\r\n',
    ' X: y\r\n',
    'Connection: close\r\n',
    'Upgrade: x\r\n',
    'Host: c\r\n',
    'Proxy-Connection: close\r\n',
  ],
)
const mutation = fc.tuple(
  fc.nat({ max: 2000 }),
  fc.constantFrom('insert', 'replace', 'delete', 'repeat'),
  fc.oneof(
    fc.constantFrom('\r', '\n', '\r\n', ' ', '\t', ':', '\0', ';', '0', '\r\n\r\n', '\x7f', '\x80', 'chunked'),
    fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)),
  ),
)
const mutate = (text: string, [position, kind, what]: readonly [number, string, string]) => {
  const at = position % (text.length + 1)
  if (kind === 'insert') return text.slice(0, at) + what + text.slice(at)
  if (kind === 'replace') return text.slice(0, at) + what + text.slice(at + what.length)
  if (kind === 'delete') return text.slice(0, at) + text.slice(at + 1)
  return text.slice(0, at) + text.slice(Math.max(0, at - 10))
}

describe('what this reader accepts, Node reads alike', () => {
  const line = mostly(
    [
      'X-A: b',
      'x-a:  c\t',
      'Accept: */*',
      'Cookie: a=b; c=d',
      'X-Empty:',
      'X-8: \xe9\xff',
      'X-T: a\tb',
      '__proto__: x',
      'Connection: keep-alive',
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Upgrade: h2c',
      'TE: trailers',
      'Keep-Alive: x',
      'Proxy-Connection: close',
      'Expect: 100-continue',
      'Trailer: X',
      'HTTP2-Settings: AA',
    ],
    [
      'Connection: close',
      'Expect: x',
      'Content-Length: 5',
      'Content-Length: 05',
      'Content-Length: 5 5',
      'Host: b',
      'Transfer-Encoding: chunked',
      'Transfer-Encoding: xchunked',
      'Transfer-Encoding: chunked,',
      ' folded',
      'X-A : b',
      'X\x0bA: b',
      'X-A: \x0bb',
      'X-A: b\r',
      ': b',
      'X-A',
      'X\xa0: b',
      'X-A: b\nY: c',
      '(a): b',
    ],
  )
  const target = mostly(
    [
      '/',
      '/a/b?c=d',
      'http://api.example.test/a?b',
      'https://[::1]:8/',
      '/a%20b',
      '/?q=%00',
      '//a',
      '/a;b=c',
      '/{x}|"^`<>\\',
      '/a#b',
    ],
    ['*', 'http://api.example.test', 'a', 'https://b/', '?x', '/\xe9', '/a b', '', 'api:80', '/a\x00'],
  )
  const method = mostly(methods, ['CONNECT', 'TRACE', 'PRI', 'get', 'GE', 'SOURCE', 'M-SEARCH', 'DESCRIBE', 'G\0T'])
  const version = mostly(
    ['HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.0'],
    ['HTTP/2.0', 'HTTP/0.9', 'HTTP/1.2', 'http/1.1', 'RTSP/1.0', 'HTTP/1.1 ', 'HTTP/01.1', 'ICE/1.0'],
  )
  const hostLine = mostly(['Host: api.example.test', 'host: [::1]:8'], ['Host:', 'X-No: host', 'Host: a,b'])
  const body = fc.oneof(
    fc.constant({ lines: [] as string[], text: '' }),
    fc
      .constantFrom('hello', '', 'GET / HTTP/1.1\r\nHost: b\r\n\r\n')
      .map((text) => ({ lines: [`Content-Length: ${text.length}`], text })),
    fc
      .tuple(fc.array(chunk, { maxLength: 3 }), mostly(['0', '00', '0;a'], ['0 ', '']), trailer)
      .map(([chunks, last, fields]) => ({
        lines: ['Transfer-Encoding: chunked'],
        text: `${chunks.join('')}${last}\r\n${fields}\r\n`,
      })),
  )
  const request = fc
    .tuple(
      mostly([''], ['\r\n', '\r\n\r\n', '\n']),
      fc.tuple(method, target, version).map((parts) => parts.join(' ')),
      fc.array(line, { maxLength: 4 }),
      hostLine,
      body,
    )
    .map(([before, first, lines, hosts, { lines: framing, text }]) =>
      [before, ...[first, ...lines, hosts, ...framing].map((one) => `${one}\r\n`), '\r\n', text].join(''),
    )
  const stream = fc.oneof(
    fc.array(request, { minLength: 1, maxLength: 3 }).map((requests) => requests.join('')),
    fc
      .tuple(fc.array(request, { minLength: 1, maxLength: 2 }), fc.array(mutation, { minLength: 1, maxLength: 2 }))
      .map(([requests, mutations]) => mutations.reduce(mutate, requests.join(''))),
  )

  test('method, target, fields, body and number of requests', async () => {
    let accepted = 0
    let refused = 0
    await fc.assert(
      fc.asyncProperty(stream, fc.array(fc.nat({ max: 400 }), { maxLength: 3 }), async (text, cuts) => {
        const ours = readRequests(bytes(text), cuts)
        if (ours.length === 0) {
          refused += 1
          return
        }
        accepted += ours.requests.length
        const nodes = await readRequestsByNode(bytes(text).subarray(0, ours.length))
        expect(nodes).toEqual({ requests: ours.requests, fault: false })
      }),
      { numRuns: 3000 },
    )
    // A generator that stopped making acceptable requests would prove nothing.
    expect(accepted).toBeGreaterThan(1000)
    expect(refused).toBeGreaterThan(300)
  })
})

describe('what of an answer this reader accepts, Node reads alike', () => {
  const line = mostly(
    [
      'X-A: b',
      'Set-Cookie: a=b',
      'Content-Type:text/plain ',
      'X-8: \xe9',
      'X-Empty:',
      'Connection: keep-alive',
      'Connection: X-A, keep-alive',
      'Connection: close',
      'Keep-Alive: timeout=5',
      'Trailer: X',
      'X-Postern-Key-Id: k',
      'Proxy-Authenticate: x',
      '__proto__: x',
    ],
    [
      'Content-Length: 5',
      'Content-Length: 5, 5',
      'Transfer-Encoding: chunked',
      'Transfer-Encoding: gzip',
      'Connection: Upgrade',
      'Upgrade: h2c',
      ' folded',
      'X : y',
      'X: \x0by',
      ': b',
      'X: a\nb',
    ],
  )
  const statusLine = mostly(
    [
      'HTTP/1.1 200 OK',
      'HTTP/1.1 404 Not Found',
      'HTTP/1.1 204 No Content',
      'HTTP/1.1 304 Not Modified',
      'HTTP/1.1 200 ',
    ],
    [
      'HTTP/1.0 200 OK',
      'HTTP/1.1 200',
      'HTTP/1.1 101 x',
      'HTTP/1.2 200 OK',
      'HTTP/1.1  200 OK',
      'HTTP/1.1 20 OK',
      'ICY 200 OK',
      'HTTP/1.1 200 O\x01K',
    ],
  )
  const interim = mostly(
    ['', '', '', 'HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n', 'HTTP/1.1 100 Continue\r\n\r\n'],
    ['HTTP/1.1 102\r\n', '\r\n'],
  )
  const body = fc.oneof(
    fc.constantFrom('', 'hello').map((text) => ({ lines: [`Content-Length: ${text.length}`], text })),
    fc.constantFrom('', 'until close').map((text) => ({ lines: [] as string[], text })),
    fc
      .tuple(fc.array(chunk, { maxLength: 3 }), mostly(['0', '00', '0;a'], ['0 ', '']), trailer)
      .map(([chunks, last, fields]) => ({
        lines: ['Transfer-Encoding: chunked'],
        text: `${chunks.join('')}${last}\r\n${fields}\r\n`,
      })),
  )
  const answer = fc
    .tuple(interim, statusLine, fc.array(line, { maxLength: 4 }), body)
    .map(([before, first, lines, { lines: framing, text }]) =>
      [before, ...[first, ...lines, ...framing].map((one) => `${one}\r\n`), '\r\n', text].join(''),
    )
  const stream = fc.oneof(
    answer,
    fc
      .tuple(answer, fc.array(mutation, { minLength: 1, maxLength: 2 }))
      .map(([text, mutations]) => mutations.reduce(mutate, text)),
  )

  test('status, reason, fields that go on, and body', async () => {
    let accepted = 0
    await fc.assert(
      fc.asyncProperty(stream, fc.constantFrom('GET' as const, 'HEAD' as const), async (text, verb) => {
        const ours = readAnswer(bytes(text), verb)
        if (ours === undefined) return
        accepted += 1
        expect(await readAnswerByNode(bytes(text).subarray(0, ours.length), verb)).toEqual(ours.answer)
      }),
      { numRuns: 2000 },
    )
    expect(accepted).toBeGreaterThan(500)
  })
})
