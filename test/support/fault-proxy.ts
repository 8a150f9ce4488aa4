import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Agent, createServer, request as send } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Access, Credentials } from '../../src/kube/credentials.ts'
import { LineSplitter } from '../../src/kube/lines.ts'
import { type Certificate, makeAuthority, makeServingCertificate } from '../controlplane/certificates.ts'

/** A request as the proxy sees it. */
export interface Seen {
  readonly method: string
  /** With the query, decoded. */
  readonly url: string
  readonly isWatch: boolean
  /** Counts the requests that came since the proxy was started, from 1. */
  readonly number: number
}

/** What becomes of a request; undefined lets it pass. */
export type Fault =
  /** An answer of the proxy's own; an object as JSON. */
  | { readonly answer: number; readonly headers?: Record<string, string>; readonly body?: string | object }
  /** The connection is closed, before anything is forwarded. */
  | 'Cut'
  /** The connection is closed when the server has done what was asked. */
  | 'CutAfter'
  /** There is never an answer. */
  | 'Silence'
  /** What becomes of each line of the server's answer. */
  | ((line: string) => LineFault)

/** Lines to send instead of one; nothing more, as if it came from a host that is gone; or the end. */
export type LineFault = readonly string[] | 'Silence' | 'Cut' | 'End' | { readonly lastBytes: Buffer }

/** One of the answers that are being forwarded line by line. */
export interface OpenStream {
  readonly url: string
  /** Sends bytes of the test's own. */
  inject(bytes: string | Buffer): void
  /** Holds back what the server says from now on. */
  silence(): void
  cut(): void
  end(): void
}

export interface Kubeconfig {
  /** Default: a token that the proxy accepts. */
  readonly user?: object
  /** A file with certificates. Default: the proxy's own, written into the kubeconfig. */
  readonly caFile?: string
}

export interface FaultProxy {
  readonly directory: string
  readonly requests: readonly Seen[]
  readonly streams: readonly OpenStream[]
  /** Connections that are open now, and the most that were at once. */
  readonly connections: { readonly open: number; readonly most: number; readonly total: number }
  /** Decides about every request from now on. */
  fault(decide: (request: Seen) => Fault | undefined): void
  /** Only these tokens are accepted from now on. Default: any. */
  accept(...tokens: readonly string[]): void
  /** A new authority and certificate from now on. The file of the authority's certificate. */
  renewCertificate(): Promise<string>
  kubeconfig(options?: Kubeconfig): Promise<string>
  /** Stops accepting connections, and closes those that are open. */
  down(): Promise<void>
  up(): Promise<void>
  close(): Promise<void>
}

/** A proxy before a real API server that does to its client what networks and busy servers do. */
export const startFaultProxy = async (kubeconfig: string): Promise<FaultProxy> => {
  const upstream = await new Credentials({ kubeconfig }).access()
  const directory = await mkdtemp(join(tmpdir(), 'postern-proxy-'))
  const proxy = new FaultingProxy(directory, upstream)
  await proxy.start()
  return proxy
}

class FaultingProxy implements FaultProxy {
  readonly directory: string
  readonly requests: Seen[] = []
  readonly streams: OpenStream[] = []
  readonly connections = { open: 0, most: 0, total: 0 }
  private readonly upstream: Access
  private readonly agent: Agent
  private readonly sockets = new Set<Socket>()
  private decide: (request: Seen) => Fault | undefined = () => undefined
  private tokens: readonly string[] | undefined
  private authority: Certificate | undefined
  private server = createServer()
  private port = 0
  private made = 0

  constructor(directory: string, upstream: Access) {
    this.directory = directory
    this.upstream = upstream
    this.agent = new Agent({ keepAlive: true, ...upstream.tls })
  }

  async start(): Promise<void> {
    const { serving } = await this.newCertificate()
    this.server = createServer(read(serving))
    this.server.on('request', (request, response) => void this.handle(request, response))
    this.server.on('secureConnection', (socket) => {
      this.sockets.add(socket)
      this.connections.open += 1
      this.connections.total += 1
      this.connections.most = Math.max(this.connections.most, this.connections.open)
      socket.on('error', () => {})
      socket.on('close', () => {
        this.sockets.delete(socket)
        this.connections.open -= 1
      })
    })
    await this.up()
  }

  fault(decide: (request: Seen) => Fault | undefined): void {
    this.decide = decide
  }

  accept(...tokens: readonly string[]): void {
    this.tokens = tokens
  }

  async renewCertificate(): Promise<string> {
    const { serving, authority } = await this.newCertificate()
    this.server.setSecureContext(read(serving))
    return authority.certFile
  }

  async kubeconfig({ user = { token: 'any' }, caFile }: Kubeconfig = {}): Promise<string> {
    const ca = caFile
      ? { 'certificate-authority': caFile }
      : { 'certificate-authority-data': readFileSync(this.authority!.certFile).toString('base64') }
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'proxy', cluster: { server: `https://127.0.0.1:${this.port}`, ...ca } }],
      users: [{ name: 'client', user }],
      contexts: [{ name: 'proxy', context: { cluster: 'proxy', user: 'client' } }],
      'current-context': 'proxy',
    }
    this.made += 1
    const file = join(this.directory, `kubeconfig-${this.made}.json`)
    await writeFile(file, JSON.stringify(config))
    return file
  }

  async down(): Promise<void> {
    this.server.close()
    for (const socket of this.sockets) socket.destroy()
    await once(this.server, 'close')
  }

  async up(): Promise<void> {
    this.server.listen(this.port, '127.0.0.1')
    await once(this.server, 'listening')
    this.port = (this.server.address() as AddressInfo).port
  }

  async close(): Promise<void> {
    if (this.server.listening) await this.down()
    this.agent.destroy()
    await rm(this.directory, { recursive: true })
  }

  private async newCertificate(): Promise<{ serving: Certificate; authority: Certificate }> {
    this.made += 1
    const authority = await makeAuthority(this.directory, `proxy-ca-${this.made}`)
    this.authority = authority
    return {
      authority,
      serving: await makeServingCertificate(this.directory, `proxy-${this.made}`, authority, ['IP:127.0.0.1']),
    }
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '' } = request
    const seen = {
      method,
      url: decodeURIComponent(url),
      isWatch: url.includes('watch=true'),
      number: this.requests.length + 1,
    }
    this.requests.push(seen)
    const token = request.headers.authorization?.replace('Bearer ', '') ?? ''
    if (this.tokens !== undefined && !this.tokens.includes(token)) {
      const body = { kind: 'Status', reason: 'Unauthorized', message: 'Unauthorized', code: 401 }
      response.writeHead(401, { 'content-type': 'application/json' }).end(JSON.stringify(body))
      return
    }
    const fault = this.decide(seen)
    if (fault === 'Cut') request.socket.destroy()
    else if (fault === 'Silence') request.resume()
    else if (typeof fault === 'object') answer(response, fault)
    else await this.forward(request, response, fault).catch(() => response.destroy())
  }

  private async forward(
    request: IncomingMessage,
    response: ServerResponse,
    fault: 'CutAfter' | ((line: string) => LineFault) | undefined,
  ): Promise<void> {
    const { origin, basePath, headers } = this.upstream
    const { authorization: _, host: __, ...others } = request.headers
    const forwarded = send(`${origin}${basePath}${request.url}`, {
      method: request.method ?? 'GET',
      headers: { ...others, ...headers },
      agent: this.agent,
    })
    response.on('close', () => forwarded.destroy())
    request.pipe(forwarded)
    const [reply] = (await once(forwarded, 'response')) as [IncomingMessage]
    reply.on('error', () => {})
    if (fault === 'CutAfter') {
      reply.resume()
      await once(reply, 'end')
      request.socket.destroy()
      return
    }
    const { 'content-length': ___, ...replyHeaders } = reply.headers
    response.writeHead(reply.statusCode ?? 500, fault === undefined ? reply.headers : replyHeaders)
    response.flushHeaders()
    if (fault === undefined && !request.url?.includes('watch=true')) reply.pipe(response)
    else await this.forwardLines(request, reply, response, fault)
  }

  private async forwardLines(
    request: IncomingMessage,
    reply: IncomingMessage,
    response: ServerResponse,
    fault: ((line: string) => LineFault) | undefined,
  ): Promise<void> {
    let isSilent = false
    const { socket } = request
    const stream: OpenStream = {
      url: decodeURIComponent(request.url ?? ''),
      inject: (bytes) => response.write(bytes),
      silence: () => {
        isSilent = true
      },
      cut: () => socket.destroy(),
      end: () => response.end(),
    }
    this.streams.push(stream)
    response.on('close', () => this.streams.splice(this.streams.indexOf(stream), 1))
    const splitter = new LineSplitter(Number.POSITIVE_INFINITY)
    const pass = (line: string): 'End' | undefined => {
      const becomes = isSilent ? [] : (fault?.(line) ?? [line])
      if (becomes === 'Silence') isSilent = true
      else if (becomes === 'Cut') socket.destroy()
      else if (becomes === 'End') return 'End'
      else if ('lastBytes' in becomes) {
        response.write(becomes.lastBytes)
        return 'End'
      } else for (const each of becomes) response.write(`${each}\n`)
      return undefined
    }
    for await (const chunk of reply) {
      for (const line of splitter.split(chunk as Buffer)) {
        if (pass(line) !== 'End') continue
        response.end()
        return
      }
    }
    if (!isSilent) response.end()
  }
}

const read = ({ certFile, keyFile }: Certificate) => ({ cert: readFileSync(certFile), key: readFileSync(keyFile) })

const answer = (
  response: ServerResponse,
  { answer, headers, body = '' }: { answer: number; headers?: Record<string, string>; body?: string | object },
): void => {
  response.writeHead(answer, headers).end(typeof body === 'string' ? body : JSON.stringify(body))
}
