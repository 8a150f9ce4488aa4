/** The requests in a stream of bytes: as the sidecar's parts read them, and as Node's own server does. */

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { duplexPair } from 'node:stream'
import { type BodyReader, LengthReader } from '../../src/sidecar/http1/body-reader.ts'
import { ChunkedReader } from '../../src/sidecar/http1/chunked-reader.ts'
import { Fault } from '../../src/sidecar/http1/grammar.ts'
import { HeadBuffer } from '../../src/sidecar/http1/head-buffer.ts'
import { chunked, maxHeadBytes, type RequestHead, readRequestHead } from '../../src/sidecar/http1/request-head.ts'

export interface ReadRequest {
  readonly method: string
  readonly target: string
  readonly minorVersion: number
  readonly fields: readonly string[]
  readonly body: string
}

export interface OwnReading {
  /** Complete requests only. */
  readonly requests: readonly ReadRequest[]
  /** How many bytes they are. */
  readonly length: number
}

/** @param cuts where the bytes are cut into pieces, modulo their number: the reading must not depend on it */
export function readRequests(bytes: Buffer, cuts: readonly number[]): OwnReading {
  const requests: ReadRequest[] = []
  const positions = cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b)
  let length = 0
  while (length < bytes.length) {
    const start = bytes[length] === 0x0d && bytes[length + 1] === 0x0a ? length + 2 : length
    if (start === bytes.length) break
    const head = readHead(bytes, start, positions)
    if (head === undefined || head instanceof Fault) break
    const read = readBody(bytes, start + head.end, head, positions)
    if (read === undefined) break
    const { method, target, minorVersion, fields } = head
    requests.push({ method, target, minorVersion, fields, body: read.body })
    length = read.end
    if (head.close || head.asksForUpgrade) break
  }
  return { requests, length }
}

/** The pieces of bytes from `start` on. */
function pieces(bytes: Buffer, start: number, positions: readonly number[]): Buffer[] {
  const edges = [start, ...positions.filter((position) => position > start && position < bytes.length), bytes.length]
  return edges.slice(1).map((edge, index) => bytes.subarray(edges[index], edge))
}

function readHead(bytes: Buffer, start: number, positions: readonly number[]): RequestHead | Fault | undefined {
  const [first, ...rest] = pieces(bytes, start, positions)
  const head = readRequestHead(first!, 0, first!.length)
  if (head !== undefined) return head
  const buffer = new HeadBuffer(maxHeadBytes)
  for (const piece of [first!, ...rest]) {
    const state = buffer.add(piece)
    if (state === 'malformed' || state === 'tooLarge') return new Fault(400, state)
    if (state === 'complete') return readRequestHead(buffer.take(), 0, buffer.take().length) ?? new Fault(400, 'cut')
  }
  return undefined
}

function readBody(bytes: Buffer, start: number, head: RequestHead, positions: readonly number[]) {
  if (head.bodyLength === undefined) return { body: '', end: start }
  const reader: BodyReader = head.bodyLength === chunked ? new ChunkedReader() : new LengthReader(head.bodyLength)
  let body = ''
  let end = start
  for (const piece of pieces(bytes, start, positions)) {
    const stop = reader.read(piece, 0)
    if (stop < 0) return undefined
    for (let index = 0; index < reader.ranges.length; index += 2) {
      body += piece.toString('latin1', reader.ranges[index], reader.ranges[index + 1])
    }
    end += stop
    if (reader.complete) break
  }
  return reader.complete ? { body, end } : undefined
}

/** What a bare Node server makes of these bytes; `fault` where its parser fails or something of a request is missing. */
export async function readRequestsByNode(
  bytes: Buffer,
): Promise<{ readonly requests: readonly ReadRequest[]; readonly fault: boolean }> {
  const requests: ReadRequest[] = []
  let fault = false
  let open = 0
  const server = createServer({ maxHeaderSize: 64 * 1024 })
  server.maxHeadersCount = 0
  const [client, side] = duplexPair()
  const { promise, resolve } = Promise.withResolvers<void>()

  const take = (request: IncomingMessage, response: ServerResponse) => {
    const index = requests.length
    const { method = '', url = '', httpVersionMinor: minorVersion, rawHeaders: fields } = request
    requests.push({ method, target: url, minorVersion, fields, body: '' })
    let body = ''
    request.setEncoding('latin1')
    open += 1
    request.on('data', (chunk: string) => {
      body += chunk
    })
    request.on('error', () => {})
    request.on('close', () => {
      open -= 1
    })
    request.on('end', () => {
      requests[index] = { method, target: url, minorVersion, fields, body }
      response.end()
    })
  }
  server.on('request', take)
  server.on('checkContinue', take)
  server.on('checkExpectation', take)
  server.on('clientError', (_error, socket) => {
    fault = true
    socket.destroy()
  })
  side.on('close', resolve)
  side.on('error', () => {})
  client.on('error', () => {})
  client.resume()
  server.emit('connection', side)
  client.end(bytes)
  await promise
  if (open !== 0) fault = true
  return { requests, fault }
}
