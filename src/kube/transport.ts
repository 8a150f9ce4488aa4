import { createHash } from 'node:crypto'
import type { Readable } from 'node:stream'
import { Agent, type Dispatcher, Pool } from 'undici'
import { isPassing } from './answers.ts'
import { type Backoff, backoffMilliseconds } from './backoff.ts'
import { ClusterError } from './cluster.ts'
import type { Access, Credentials, TlsMaterial } from './credentials.ts'
import { pause, systemTimers, type Timers } from './timers.ts'

export interface TransportOptions {
  readonly credentials: Credentials
  readonly userAgent: string
  /** For one call with all its repetitions. Default 60. */
  readonly callSeconds?: number | undefined
  /** For one try. Default 30. */
  readonly trySeconds?: number | undefined
  /** How often one call is tried at most. Default 5. */
  readonly tries?: number | undefined
  readonly backoff?: Backoff | undefined
  readonly timers?: Timers | undefined
  readonly random?: (() => number) | undefined
}

export interface TransportRequest {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  /** With the query. */
  readonly path: string
  /** JSON text. */
  readonly body?: string
  readonly contentType?: string
  readonly accept?: string
  /** Names in errors what the request is about. */
  readonly about: string
  /** Whether doing it twice does what doing it once does. Else only what the server has refused to begin is repeated. */
  readonly repeatable: boolean
  /** Gives the call up. */
  readonly signal?: AbortSignal | undefined
}

export interface Answer {
  readonly status: number
  readonly body: string
  readonly retryAfterSeconds: number | undefined
}

export interface StreamAnswer extends Answer {
  /** Only where the status is 200; then `body` is empty. Destroying it closes the connection. */
  readonly stream?: Readable
}

/**
 * Speaks HTTP/1.1 with the API server over few connections that are kept open, and over one for each stream. Rejects with
 * ClusterError Unavailable where no answer came; an answer of any status is for the caller to read.
 */
export class Transport {
  private readonly options: TransportOptions
  private readonly timers: Timers
  private readonly closing = new AbortController()
  private connections: Connections | undefined
  private readonly outdated = new Set<Promise<void>>()

  constructor(options: TransportOptions) {
    this.options = options
    this.timers = options.timers ?? systemTimers
  }

  async request(request: TransportRequest): Promise<Answer> {
    const { callSeconds = 60, tries = 5, backoff = defaultBackoff, random = Math.random } = this.options
    const deadline = this.timers.now() + callSeconds * 1000
    for (let done = 1; ; done++) {
      const outcome = await this.tryOnce(request, deadline)
      const after = retryMilliseconds(outcome, request.repeatable)
      const wait = after === undefined ? 0 : Math.max(after, backoffMilliseconds(backoff, done, random))
      const isOver = done >= tries || this.timers.now() + wait >= deadline || this.isGivenUp(request)
      if (after !== undefined && !isOver) await pause(this.timers, wait, request.signal ?? this.closing.signal)
      else if (outcome instanceof ClusterError) throw outcome
      else return outcome
    }
  }

  /** Opens a stream that has no end of its own; `signal` ends it, also while it is being opened. */
  async open(path: string, accept: string, about: string, signal: AbortSignal): Promise<StreamAnswer> {
    const send = async (access: Access) => {
      const { watches } = this.connect(access)
      const { origin, basePath } = access
      const headers = { ...this.headers(access), accept }
      const response = await watches.request({ origin, path: basePath + path, method: 'GET', headers, signal })
      if (response.statusCode !== 200) return readAnswer(response)
      return { status: 200, body: '', retryAfterSeconds: undefined, stream: response.body }
    }
    return this.authenticated(about, send)
  }

  /** Ends everything that is going on, and resolves when every connection is closed. */
  async close(): Promise<void> {
    this.closing.abort()
    const connections = this.connections
    await Promise.all([...this.outdated, connections?.calls.destroy(), connections?.watches.destroy()])
  }

  private async tryOnce(request: TransportRequest, deadline: number): Promise<Answer | ClusterError> {
    const { method, path, body = null, about, accept = 'application/json', contentType = 'application/json' } = request
    const limit = new AbortController()
    const milliseconds = Math.min((this.options.trySeconds ?? 30) * 1000, deadline - this.timers.now())
    const timer = this.timers.after(milliseconds, () => limit.abort(new Error('no answer in time')))
    const giveUp = () => limit.abort(request.signal?.reason)
    if (request.signal?.aborted) giveUp()
    request.signal?.addEventListener('abort', giveUp)
    const { signal } = limit
    try {
      return await this.authenticated(about, async (access) => {
        const { calls } = this.connect(access)
        const headers = { ...this.headers(access), accept, ...(body !== null && { 'content-type': contentType }) }
        return readAnswer(await calls.request({ path: access.basePath + path, method, headers, body, signal }))
      })
    } catch (error) {
      return error as ClusterError
    } finally {
      timer.cancel()
      request.signal?.removeEventListener('abort', giveUp)
    }
  }

  private isGivenUp({ signal }: TransportRequest): boolean {
    return this.closing.signal.aborted || signal?.aborted === true
  }

  /** Where the server does not know us any more, or not we it, everything is read again, and once more sent. */
  private async authenticated<A extends Answer>(about: string, send: (access: Access) => Promise<A>): Promise<A> {
    const { credentials } = this.options
    try {
      const access = await credentials.access()
      const answer = await send(access).catch((error: unknown) => {
        if (!isTrustError(error)) throw error
        return undefined
      })
      if (answer !== undefined && answer.status !== 401) return answer
      await credentials.renew(access)
      return await send(await credentials.access())
    } catch (error) {
      if (error instanceof ClusterError) throw error
      throw new ClusterError('Unavailable', `${about}: no answer from the API server: ${reasonOf(error)}`, {
        cause: error,
      })
    }
  }

  private headers({ headers }: Access): Record<string, string> {
    return { ...headers, 'user-agent': this.options.userAgent }
  }

  /** Connections made with this access's certificates; those made with older ones end when they are done. */
  private connect({ origin, tls }: Access): Connections {
    if (this.closing.signal.aborted) throw new Error('the connection was closed')
    const key = fingerprint(origin, tls)
    if (this.connections?.key !== key) {
      const old = this.connections
      this.connections = newConnections(key, origin, tls)
      if (old !== undefined) this.retire(old)
    }
    return this.connections
  }

  private retire({ calls, watches }: Connections): void {
    const closed = (dispatcher: Dispatcher) => {
      const destroy = () => void dispatcher.destroy().catch(() => {})
      this.closing.signal.addEventListener('abort', destroy)
      return dispatcher.close().finally(() => this.closing.signal.removeEventListener('abort', destroy))
    }
    const ended = Promise.allSettled([closed(calls), closed(watches)]).then(() => {})
    this.outdated.add(ended)
    void ended.then(() => this.outdated.delete(ended))
  }
}

interface Connections {
  readonly key: string
  readonly calls: Pool
  readonly watches: Agent
}

const defaultBackoff: Backoff = { firstMilliseconds: 200, longestMilliseconds: 5000 }

/** The server asks for patience; longer than this it is for the caller to wait. */
const longestRetryAfterSeconds = 10

const newConnections = (key: string, origin: string, tls: TlsMaterial): Connections => {
  const options = {
    allowH2: false,
    keepAliveTimeout: 30_000,
    headersTimeout: 30_000,
    connect: { ...tls, timeout: 10_000, keepAlive: true, keepAliveInitialDelay: 30_000 },
  }
  return {
    key,
    calls: new Pool(origin, { ...options, connections: 16, bodyTimeout: 30_000 }),
    watches: new Agent({ ...options, bodyTimeout: 0 }),
  }
}

const fingerprint = (origin: string, tls: TlsMaterial): string => {
  const { ca, cert, key, rejectUnauthorized, servername } = tls
  const parts = [origin, ca?.toString(), cert?.toString(), key?.toString(), rejectUnauthorized, servername]
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64')
}

const readAnswer = async ({ statusCode, headers, body }: Dispatcher.ResponseData): Promise<Answer> => {
  const seconds = Number(headers['retry-after'] ?? Number.NaN)
  return {
    status: statusCode,
    body: await body.text(),
    retryAfterSeconds: Number.isFinite(seconds) && seconds >= 0 ? seconds : undefined,
  }
}

/** How long to wait at least before the next try; undefined where there is none. */
const retryMilliseconds = (outcome: Answer | ClusterError, repeatable: boolean): number | undefined => {
  if (outcome instanceof ClusterError) {
    return outcome.code === 'Unavailable' && (repeatable || isUnsent(outcome.cause)) ? 0 : undefined
  }
  const { status, retryAfterSeconds = 0 } = outcome
  if (retryAfterSeconds > longestRetryAfterSeconds) return undefined
  return status === 429 || (repeatable && isPassing(outcome)) ? retryAfterSeconds * 1000 : undefined
}

const codeOf = (error: unknown): string => {
  const code = (error as { readonly code?: unknown } | undefined)?.code
  return typeof code === 'string' ? code : ''
}

/** No connection came about, so the server cannot have begun. */
const isUnsent = (cause: unknown): boolean =>
  ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'UND_ERR_CONNECT_TIMEOUT'].includes(codeOf(cause))

/** Either side's certificate is not trusted by the other: one of them may have been replaced. */
const isTrustError = (error: unknown): boolean =>
  /CERT|TLS|SSL|ISSUER|LEAF_SIGNATURE/.test(codeOf(error)) && !codeOf(error).startsWith('UND_')

const reasonOf = (error: unknown): string => {
  const code = codeOf(error)
  const message = error instanceof Error ? error.message : String(error)
  return code === '' || message.includes(code) ? message : `${message} (${code})`
}
