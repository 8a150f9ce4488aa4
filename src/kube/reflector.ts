import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import type { KubeObject, Resource } from '../api/object.ts'
import { errorOf, isExpired, readJson, readObject, readStatus, type Status } from './answers.ts'
import { type Backoff, backoffMilliseconds } from './backoff.ts'
import { ClusterError, type Watch, type WatchScope, type WatchSink } from './cluster.ts'
import { LineSplitter } from './lines.ts'
import { Mirror } from './mirror.ts'
import { readPages } from './pages.ts'
import { acceptFor, describeScope, scopePath } from './paths.ts'
import { StreamGuard } from './stream-guard.ts'
import { pause, systemTimers, type Timers } from './timers.ts'
import type { Transport } from './transport.ts'

export interface ReflectorOptions {
  readonly transport: Transport
  readonly resource: Resource
  readonly scope: WatchScope
  readonly sink: WatchSink
  /** Hears of every interruption, and of what the sink throws. */
  readonly onProblem: (error: unknown) => void
  /** Of lists, where the server cannot stream them. */
  readonly pageSize: number
  readonly settings?: ReflectorSettings | undefined
}

/** Times are for tests to shorten. */
export interface ReflectorSettings {
  /** A stream is asked to end after so long at least, and up to twice as long. Default 300. */
  readonly streamSeconds?: number
  /** How much later than that it is ended from here. Default 30. */
  readonly overdueSeconds?: number
  /** A stream that says nothing for so long is given up; servers send a bookmark about every minute. Default 150. */
  readonly idleSeconds?: number
  /** What lasted so long was no failure. Default 60. */
  readonly healthySeconds?: number
  readonly backoff?: Backoff
  /** Default 16 MiB. */
  readonly longestLineBytes?: number
  readonly timers?: Timers
  readonly random?: () => number
}

/**
 * Keeps a sink up to date with a collection: one stream that begins with what is there (a WatchList, or where that cannot
 * be had, a list in pages), begun again for as long as it takes, from where it broke off or, where the server no longer
 * knows that moment, from the start. Old knowledge is kept until new has come.
 */
export class Reflector implements Watch {
  private readonly options: ReflectorOptions
  private readonly settings: ReflectorSettings
  private readonly timers: Timers
  private readonly mirror: Mirror
  private readonly about: string
  private readonly stopping = new AbortController()
  /** Where to go on; undefined where everything must be read. */
  private version: string | undefined
  private canStreamLists = true
  private unfinishedLists = 0
  private progressed: number
  private running: Promise<void> | undefined

  constructor(options: ReflectorOptions) {
    this.options = options
    this.settings = options.settings ?? {}
    this.timers = this.settings.timers ?? systemTimers
    this.mirror = new Mirror(options.sink, options.onProblem)
    this.about = `watch of ${describeScope(options.resource, options.scope)}`
    this.progressed = this.timers.now()
  }

  start(): void {
    this.running ??= this.run()
  }

  async stop(): Promise<void> {
    this.stopping.abort(new Error(`${this.about} was stopped`))
    await this.running
  }

  lastProgress(): number {
    return this.progressed
  }

  private async run(): Promise<void> {
    const { healthySeconds = 60, backoff = defaultBackoff, random = Math.random } = this.settings
    const { signal } = this.stopping
    for (let failures = 0; !signal.aborted; ) {
      const began = this.timers.now()
      const problem = await this.round()
      if (signal.aborted) return
      if (this.timers.now() - began >= healthySeconds * 1000) failures = 0
      if (problem === undefined && failures === 0) continue
      failures += 1
      if (problem !== undefined) this.options.onProblem(problem)
      const wait = backoffMilliseconds(backoff, failures, random)
      await pause(this.timers, Math.max(wait, retryAfterOf(problem)), signal)
    }
  }

  /** One reading with its stream; what ended it, save where that is as agreed. */
  private async round(): Promise<unknown> {
    try {
      if (this.version === undefined && !this.canStreamLists) await this.list()
      await this.stream()
      return undefined
    } catch (error) {
      return error
    }
  }

  private async list(): Promise<void> {
    const { transport, resource, scope, pageSize } = this.options
    const { signal } = this.stopping
    this.mirror.beginReading()
    let version = ''
    for await (const page of readPages(transport, resource, scope, { pageSize, atOneMoment: true, signal })) {
      if (signal.aborted) return
      this.progressed = this.timers.now()
      version = page.resourceVersion
      for (const object of page.objects) this.mirror.put(object)
    }
    this.mirror.endReading(version)
    this.version = version
  }

  private async stream(): Promise<void> {
    const { transport, resource, scope } = this.options
    const { streamSeconds = 300, overdueSeconds = 30, idleSeconds = 150, random = Math.random } = this.settings
    const timeoutSeconds = Math.ceil(streamSeconds * (1 + random()))
    const reads = this.version === undefined
    const query = {
      watch: true,
      allowWatchBookmarks: true,
      timeoutSeconds,
      ...(reads
        ? { sendInitialEvents: true, resourceVersionMatch: 'NotOlderThan' }
        : { resourceVersion: this.version }),
    }
    const guard = new StreamGuard(this.timers, this.stopping.signal, idleSeconds, timeoutSeconds + overdueSeconds)
    let isOpen = false
    try {
      const path = scopePath(resource, scope, query)
      const answer = await transport.open(path, acceptFor(scope, 'Object'), this.about, guard.signal)
      if (answer.stream === undefined) {
        const status = readStatus(answer)
        const isRefused = answer.status === 400 || answer.status === 422
        if (isRefused && reads) this.canStreamLists = false
        if (isRefused || isExpired(status, answer.status)) this.version = undefined
        throw errorOf(answer, this.about, resource.kind)
      }
      isOpen = true
      if (reads) this.mirror.beginReading()
      await this.read(answer.stream, guard)
      guard.signal.throwIfAborted()
      if (reads && this.version === undefined) throw new Error(`${this.about}: it ended before everything was told`)
    } catch (error) {
      if (reads && isOpen && this.version === undefined) this.listFailed()
      throw guard.signal.aborted ? guard.signal.reason : error
    } finally {
      guard.release()
    }
  }

  /** A server that never gets to the end of a streamed list may do better with pages. */
  private listFailed(): void {
    this.unfinishedLists += 1
    if (this.unfinishedLists >= 3) this.canStreamLists = false
  }

  private async read(stream: Readable, guard: StreamGuard): Promise<void> {
    const splitter = new LineSplitter(this.settings.longestLineBytes ?? 16 * 1024 * 1024)
    let sliceEnd = this.timers.now() + sliceMilliseconds
    try {
      for await (const chunk of stream) {
        for (const line of splitter.split(chunk as Buffer)) {
          if (guard.signal.aborted) return
          if (line !== '') this.take(readJson(line, this.about) as WatchEvent)
          if (this.timers.now() < sliceEnd) continue
          await setImmediate()
          sliceEnd = this.timers.now() + sliceMilliseconds
        }
        this.progressed = this.timers.now()
        guard.heard()
      }
    } finally {
      stream.destroy()
      if (!stream.closed) await once(stream, 'close').catch(() => {})
    }
    if (!splitter.isAtLineStart) throw new Error(`${this.about}: it broke off within a line`)
  }

  private take({ type, object }: WatchEvent): void {
    const { resource, scope } = this.options
    if (type === 'ERROR') {
      const status = object as Status
      if (isExpired(status)) this.version = undefined
      const body = JSON.stringify(status)
      throw errorOf({ status: status.code ?? 500, body, retryAfterSeconds: undefined }, this.about, resource.kind)
    }
    const { metadata } = object as KubeObject
    if (type === 'BOOKMARK') {
      const ends = metadata.annotations?.['k8s.io/initial-events-end'] === 'true'
      if (ends) this.mirror.endReading(metadata.resourceVersion ?? '0')
      if (ends) this.unfinishedLists = 0
      if (ends || this.version !== undefined) this.version = metadata.resourceVersion
      return
    }
    const read = readObject(object, resource, scope.metadataOnly)
    if (type === 'DELETED') this.mirror.gone(read)
    else if (type === 'ADDED' || type === 'MODIFIED') this.mirror.put(read)
    else throw new Error(`${this.about}: an event of the unknown type ${type}`)
    if (this.version !== undefined) this.version = read.metadata.resourceVersion
  }
}

interface WatchEvent {
  readonly type: string
  readonly object: unknown
}

const defaultBackoff: Backoff = { firstMilliseconds: 800, longestMilliseconds: 30_000 }

/** So long at most are events taken without letting anybody else run. */
const sliceMilliseconds = 10

const retryAfterOf = (problem: unknown): number =>
  problem instanceof ClusterError ? (problem.retryAfterSeconds ?? 0) * 1000 : 0
