/** What one would write on Node without Postern: `http`, undici's pool, and a look-up of SHA-256 digests in a Map. */

import { hash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type Dispatcher, Pool } from 'undici'

const { LISTEN = '', UPSTREAM = '', KEYS_FILE = '' } = process.env
const digest = (key: string): string => hash('sha256', key, 'base64url')
const keys = new Set(readFileSync(KEYS_FILE, 'utf8').split('\n').filter(Boolean).map(digest))
const pool = new Pool(UPSTREAM, { connections: 128, pipelining: 1 })
const ofThisHop = new Set([
  'connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
  'te',
  'trailer',
  'authorization',
  'expect',
])

function forward(request: IncomingMessage, response: ServerResponse): void {
  const headers = Object.fromEntries(Object.entries(request.headers).filter(([name]) => !ofThisHop.has(name)))
  const hasBody = request.headers['content-length'] !== undefined || request.headers['transfer-encoding'] !== undefined
  const options = {
    method: request.method as Dispatcher.HttpMethod,
    path: request.url!,
    headers: { ...headers, 'x-key': 'known' },
    body: hasBody ? request : null,
  }
  pool.dispatch(options, {
    onRequestStart() {},
    onResponseStart(_controller, status, fields) {
      response.writeHead(
        status,
        Object.fromEntries(Object.entries(fields).filter(([name]) => !ofThisHop.has(name))) as Record<string, string>,
      )
    },
    onResponseData(controller, chunk) {
      if (response.write(chunk)) return
      controller.pause()
      response.once('drain', () => controller.resume())
    },
    onResponseEnd() {
      response.end()
    },
    onResponseError() {
      if (!response.headersSent) response.writeHead(502)
      response.end()
    },
  })
}

const [host = '', port = ''] = LISTEN.split(':')
createServer((request, response) => {
  const { authorization = '' } = request.headers
  if (authorization.startsWith('Bearer ') && keys.has(digest(authorization.slice('Bearer '.length))))
    forward(request, response)
  else response.writeHead(401).end()
}).listen(Number(port), host)
