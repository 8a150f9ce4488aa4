/** One answer in a stream of bytes: as the sidecar's parts read it, and as Node's own client does. */

import { request } from 'node:http'
import { duplexPair } from 'node:stream'
import { type BodyReader, LengthReader, UntilCloseReader } from '../../src/sidecar/http1/body-reader.ts'
import { ChunkedReader } from '../../src/sidecar/http1/chunked-reader.ts'
import { chunked } from '../../src/sidecar/http1/request-head.ts'
import { ResponseFault, readResponseHead, untilClose } from '../../src/sidecar/http1/response-head.ts'

export interface ReadAnswer {
  readonly status: number
  readonly reason: string
  /** Names in lower case and values, as `name: value`, of what goes on to a client. */
  readonly fields: readonly string[]
  readonly body: string
}

/**
 * `length`: how many bytes the answer is. Undefined where the bytes are no complete answer, given that the connection ends
 * behind them.
 */
export function readAnswer(
  bytes: Buffer,
  method: 'GET' | 'HEAD',
): { readonly answer: ReadAnswer; readonly length: number } | undefined {
  let at = 0
  for (;;) {
    const head = readResponseHead(bytes, at, bytes.length, method === 'HEAD')
    if (head === undefined || head instanceof ResponseFault || head.status === 101) return undefined
    at = head.end
    if (head.status < 200) continue
    const { status, reason, bodyLength } = head
    const fields = head.fieldLines.split('\r\n').slice(0, -1).map(normal)
    if (bodyLength === undefined) return { answer: { status, reason, fields, body: '' }, length: at }
    const reader: BodyReader =
      bodyLength === chunked
        ? new ChunkedReader()
        : bodyLength === untilClose
          ? new UntilCloseReader()
          : new LengthReader(bodyLength)
    const length = reader.read(bytes, at)
    if (length < 0 || (!reader.complete && bodyLength !== untilClose)) return undefined
    let body = ''
    for (let index = 0; index < reader.ranges.length; index += 2) {
      body += bytes.toString('latin1', reader.ranges[index], reader.ranges[index + 1])
    }
    return { answer: { status, reason, fields, body }, length }
  }
}

const normal = (line: string): string => {
  const colon = line.indexOf(':')
  return `${line.slice(0, colon).toLowerCase()}: ${line.slice(colon + 1).replaceAll(/^[ \t]+|[ \t]+$/g, '')}`
}

const ofThisHop =
  /^(?:connection|keep-alive|proxy-(?:connection|authenticate|authentication-info)|te|trailer|transfer-encoding|upgrade|x-postern-.*)$/
const neverNominated = /^(?:content-(?:length|type|encoding)|set-cookie)$/

/** What Node's client makes of these bytes; undefined where it fails. */
export function readAnswerByNode(bytes: Buffer, method: 'GET' | 'HEAD'): Promise<ReadAnswer | undefined> {
  const [near, far] = duplexPair()
  return new Promise((resolve) => {
    const sent = request({ method, host: 'a', createConnection: () => near })
    sent.on('error', () => resolve(undefined))
    sent.on('upgrade', () => resolve(undefined))
    sent.on('response', (response) => {
      let body = ''
      response.setEncoding('latin1')
      response.on('data', (text: string) => {
        body += text
      })
      response.on('error', () => resolve(undefined))
      response.on('end', () => {
        const { statusCode: status = 0, statusMessage: reason = '', rawHeaders } = response
        const lines = rawHeaders.flatMap((name, index) =>
          index % 2 === 0 ? [normal(`${name}:${rawHeaders[index + 1]}`)] : [],
        )
        resolve({ status, reason, fields: passedOn(status, lines), body })
      })
    })
    far.on('error', () => {})
    far.resume()
    sent.end()
    far.end(bytes)
  })
}

/** What of an answer's fields is for a client, by names. */
function passedOn(status: number, lines: readonly string[]): readonly string[] {
  const nominated = lines.flatMap((line) =>
    line.startsWith('connection: ')
      ? line
          .slice(12)
          .split(',')
          .map((name) => name.trim().toLowerCase())
      : [],
  )
  return lines.filter((line) => {
    const name = line.slice(0, line.indexOf(':'))
    if (name === 'content-length' && status === 204) return false
    return !ofThisHop.test(name) && (neverNominated.test(name) || !nominated.includes(name))
  })
}
