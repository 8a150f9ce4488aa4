import type { GatheredBody } from './body-gathering.ts'
import { type BodyReader, bodyReader, WholeBody } from './body-reader.ts'
import type { ClientConnection } from './client-connection.ts'
import type { Context } from './context.ts'
import type { Admission, Failure } from './gate.ts'
import { chunked, type RequestHead } from './request-head.ts'
import { ResponseRelay } from './response-relay.ts'
import { send } from './send.ts'
import type { UpstreamConnection } from './upstream-connection.ts'

const noBytes = Buffer.alloc(0)
const noRanges: readonly number[] = []

/** Sent again without harm when nothing of an answer was seen (RFC 9110 §9.2.2). */
const idempotent: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])

/** One allowed request and its answer: between a client connection and a connection to the application. */
export class Exchange {
  readonly head: RequestHead
  /** All of the request's body has been received and passed on. */
  requestComplete = false
  private readonly context: Context
  private readonly client: ClientConnection
  private readonly allowed: Admission
  private readonly gathered: GatheredBody | undefined
  private readonly startedAt: number
  private readonly requestBody: BodyReader | undefined
  private readonly relay: ResponseRelay
  private upstream: UpstreamConnection | undefined
  /** What came with the head, until there is a connection that takes it. */
  private firstBytes: Buffer = noBytes
  private retried = false
  private ended = false
  /** When the exchange has been silent for too long, in the ticker's milliseconds. */
  private deadline = 0

  /** @param gathered the body, where it has been received already */
  constructor(
    context: Context,
    client: ClientConnection,
    head: RequestHead,
    allowed: Admission,
    gathered: GatheredBody | undefined,
  ) {
    this.context = context
    this.client = client
    this.head = head
    this.allowed = allowed
    this.gathered = gathered
    this.startedAt = context.clock()
    this.relay = new ResponseRelay(client.socket, head, context, allowed.answerLines)
    this.requestBody = gathered === undefined ? bodyReader(head.bodyLength) : new WholeBody(gathered.bytes.length)
  }

  /** @param at where the body starts in the bytes that brought the head */
  begin(bytes: Buffer, at: number): void {
    let end = at
    if (this.requestBody === undefined) {
      this.requestComplete = true
    } else {
      // What is here already is read before the application hears of the request: most bad bodies end here.
      end = this.requestBody.read(bytes, at)
      if (end < 0) {
        this.fail('BodyMalformed', 'the body is malformed')
        return
      }
      this.requestComplete = this.requestBody.complete
      this.firstBytes = bytes
      if (this.head.expectsContinue && this.gathered === undefined && end === bytes.length && end === at)
        this.client.writeContinue()
    }
    if (end < bytes.length) this.client.keep(bytes.subarray(end))
    this.extend()
    if (!this.context.pool.take(this, false)) {
      this.fail('Overloaded', 'too many requests wait for a connection')
      return
    }
    if (this.upstream === undefined && !this.requestComplete) this.client.pause()
  }

  /** The connection is this exchange's now. */
  attach(connection: UpstreamConnection): void {
    this.upstream = connection
    this.extend()
    const ranges = this.requestBody?.ranges ?? noRanges
    const opening = `${this.head.method} ${this.allowed.target} HTTP/1.1\r\n${this.allowed.fieldLines}${this.framing()}\r\n`
    const ready = send(
      this.context.outbox,
      connection.socket,
      opening,
      this.firstBytes,
      ranges,
      this.isChunked,
      this.requestComplete,
    )
    this.firstBytes = noBytes
    if (this.requestComplete) return
    if (ready) this.client.resume()
    else this.client.pause()
  }

  /** More of the request's body. */
  receiveBody(bytes: Buffer): void {
    const body = this.requestBody!
    const end = body.read(bytes, 0)
    if (end < 0) {
      this.fail('BodyMalformed', 'the body is malformed')
      return
    }
    this.requestComplete = body.complete
    if (end < bytes.length) this.client.keep(bytes.subarray(end))
    this.extend()
    const ready = send(
      this.context.outbox,
      this.upstream!.socket,
      '',
      bytes,
      body.ranges,
      this.isChunked,
      this.requestComplete,
    )
    if (!ready && !this.requestComplete) this.client.pause()
  }

  /** Something of the answer. */
  receive(bytes: Buffer): void {
    switch (this.relay.receive(bytes, this.requestComplete)) {
      case 'blocked':
        this.upstream?.socket.pause()
        return
      case 'more':
        this.extend()
        return
      case 'malformed':
        this.fail('Malformed', this.relay.fault)
        return
      case 'complete':
        this.finish()
    }
  }

  /** An answer has begun and goes on. */
  get isStreaming(): boolean {
    return this.relay.begun && !this.ended
  }

  crash(error: unknown): void {
    this.client.crash(error)
  }

  upstreamDrained(): void {
    this.extend()
    if (!this.requestComplete) this.client.resume()
  }

  clientDrained(): void {
    this.extend()
    this.upstream?.socket.resume()
  }

  upstreamEnded(): void {
    if (this.relay.endsWithConnection()) this.finish()
  }

  upstreamClosed(failure: 'Closed' | 'Unreachable', detail: string): void {
    const stale = failure === 'Closed' && this.upstream?.reused === true && !this.relay.started
    this.upstream = undefined
    if (!stale || this.retried || this.requestBody !== undefined || !idempotent.has(this.head.method)) {
      this.fail(failure, detail)
      return
    }
    this.retried = true
    this.context.signals.retried()
    if (!this.context.pool.take(this, true)) this.fail('Overloaded', 'too many requests wait for a connection')
  }

  /** The client is gone, or ended in the middle of its body. */
  abandon(): void {
    if (!this.end()) return
    this.context.pool.leave(this)
    this.upstream?.destroy()
  }

  /** @param byTimeAlone nothing but time has passed since the last call */
  tick(now: number, byTimeAlone: boolean): void {
    if (now >= this.deadline) {
      this.timeOut()
      return
    }
    const refusal = this.context.gate.review(this.allowed, byTimeAlone)
    if (refusal === undefined || !this.end()) return
    this.context.signals.cut()
    this.context.pool.leave(this)
    this.upstream?.destroy()
    if (this.relay.begun) this.client.abort()
    else this.client.answer(refusal, this.head, true)
  }

  private timeOut(): void {
    if (this.upstream === undefined) this.fail('Overloaded', 'no connection to the application became free')
    else if (!this.requestComplete && !this.client.paused) this.fail('BodyStalled', 'the body stopped')
    else this.fail('TimedOut', 'the application was silent for too long')
  }

  private finish(): void {
    if (!this.end()) return
    const reusable = this.relay.reusable && this.requestComplete
    if (this.upstream !== undefined) {
      if (reusable) this.context.pool.release(this.upstream)
      else this.upstream.destroy()
    }
    this.client.exchangeEnded(this.relay.closes || !this.requestComplete)
  }

  private fail(failure: Failure, detail: string): void {
    if (!this.end()) return
    this.context.pool.leave(this)
    this.upstream?.destroy()
    const answer = this.context.gate.failed(failure, detail)
    if (this.relay.begun) this.client.abort()
    else this.client.answer(answer, this.head, !this.requestComplete)
  }

  /** @returns false where it is over already */
  private end(): boolean {
    if (this.ended) return false
    this.ended = true
    this.gathered?.release()
    this.context.signals.exchangeEnded((this.context.clock() - this.startedAt) / 1000)
    return true
  }

  private extend(): void {
    const { limits, gate, ticker } = this.context
    const seconds = this.relay.begun
      ? limits.streamSeconds
      : this.requestComplete
        ? gate.upstream.timeoutSeconds
        : limits.bodySeconds
    this.deadline = ticker.now + seconds * 1000
  }

  private get isChunked(): boolean {
    return this.head.bodyLength === chunked
  }

  private framing(): string {
    const { bodyLength } = this.head
    if (bodyLength === undefined) return ''
    return bodyLength === chunked ? 'Transfer-Encoding: chunked\r\n' : `Content-Length: ${bodyLength}\r\n`
  }
}
