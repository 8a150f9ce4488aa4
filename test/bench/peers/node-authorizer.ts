/** The least that Node needs to answer a gateway: a look-up of SHA-256 digests, by `http` or by gRPC over `http2`. */

import { hash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createServer as createHttp2Server } from 'node:http2'

const { LISTEN = '', KEYS_FILE = '', MODE = '' } = process.env
const digest = (key: string): string => hash('sha256', key, 'base64url')
const keys = new Set(readFileSync(KEYS_FILE, 'utf8').split('\n').filter(Boolean).map(digest))
const [host = '', port = ''] = LISTEN.split(':')

if (MODE === 'http') {
  createServer((request, response) => {
    const key = request.headers['x-api-key']
    response.writeHead(typeof key === 'string' && keys.has(digest(key)) ? 200 : 401).end()
  }).listen(Number(port), host)
} else {
  // Neither reads the message nor writes one by its definition: finds the key in it, and answers fixed bytes.
  const ok = Buffer.from('\0\0\0\0\x04\x0a\0\x1a\0', 'latin1')
  const denied = Buffer.from('\0\0\0\0\x0b\x0a\x02\x08\x10\x12\x05\x0a\x03\x08\x91\x03', 'latin1')
  const length = Number(process.env.KEY_LENGTH)
  const server = createHttp2Server()
  server.on('stream', (stream) => {
    stream.on('data', (bytes: Buffer) => {
      const at = bytes.indexOf('pstn_')
      const known = at >= 0 && keys.has(digest(bytes.toString('latin1', at, at + length)))
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
      stream.end(known ? ok : denied)
    })
  })
  server.listen(Number(port), host)
}
