import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Log } from './log.ts'

export interface Answer {
  readonly status: number
  readonly contentType: string
  readonly body: string
}

/** Answers GET and HEAD of one path. One that throws is a 500 and a line in the log. */
export type Endpoint = () => Answer | Promise<Answer>

export interface Listener {
  readonly host: string
  readonly port: number
  /** Takes no more connections; requests in progress have so many seconds, then they are cut. */
  stop(withinSeconds: number): Promise<void>
}

export const json = (status: number, value: unknown): Answer => ({
  status,
  contentType: 'application/json',
  body: `${JSON.stringify(value)}\n`,
})

/**
 * Serves health, readiness and metrics: exact paths, no bodies, small heads, short deadlines. It is not for the data path.
 *
 * @param options.port 0 for one that is free
 * @param options.endpoints by exact path, without query
 */
export async function listen(options: {
  readonly host: string
  readonly port: number
  readonly endpoints: Readonly<Record<string, Endpoint>>
  readonly log: Log
}): Promise<Listener> {
  const { log } = options
  const endpoints = new Map(Object.entries(options.endpoints))

  const server = createServer(
    {
      maxHeaderSize: 8 * 1024,
      headersTimeout: 10_000,
      requestTimeout: 10_000,
      keepAliveTimeout: 60_000,
      connectionsCheckingInterval: 1_000,
      requireHostHeader: true,
    },
    (request, response) => {
      answer(endpoints, request, log)
        .then((given) => write(request, response, given, server.listening))
        .catch((error: unknown) => {
          log.warn('An answer could not be written', { error })
          response.destroy()
        })
    },
  )
  server.maxConnections = 256
  server.maxRequestsPerSocket = 10_000

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port, options.host, () => {
      server.off('error', reject)
      resolve()
    })
  })
  server.on('error', (error) => log.error('The listener failed', { error }))
  const { address, port } = server.address() as AddressInfo

  return {
    host: address,
    port,
    stop: (withinSeconds) =>
      new Promise((resolve) => {
        const cut = setTimeout(() => server.closeAllConnections(), withinSeconds * 1000)
        server.close(() => {
          clearTimeout(cut)
          resolve()
        })
        server.closeIdleConnections()
      }),
  }
}

async function answer(endpoints: ReadonlyMap<string, Endpoint>, request: IncomingMessage, log: Log): Promise<Answer> {
  const path = request.url?.split('?', 1)[0] ?? ''
  const endpoint = endpoints.get(path)
  if (endpoint === undefined) return text(404, 'not found')
  if (request.method !== 'GET' && request.method !== 'HEAD') return text(405, 'only GET and HEAD are answered here')
  try {
    return await endpoint()
  } catch (error) {
    log.error('An endpoint failed', { path, error })
    return text(500, 'internal error')
  }
}

const text = (status: number, body: string): Answer => ({
  status,
  contentType: 'text/plain; charset=utf-8',
  body: `${body}\n`,
})

function write(request: IncomingMessage, response: ServerResponse, given: Answer, keepAlive: boolean): void {
  const body = Buffer.from(given.body)
  response.writeHead(given.status, {
    'Content-Type': given.contentType,
    'Content-Length': body.length,
    'Cache-Control': 'no-store',
    ...(given.status === 405 ? { Allow: 'GET, HEAD' } : {}),
    // A body that nobody reads must not become the next request.
    ...(keepAlive && given.status !== 405 ? {} : { Connection: 'close' }),
  })
  response.end(request.method === 'HEAD' ? undefined : body)
}
