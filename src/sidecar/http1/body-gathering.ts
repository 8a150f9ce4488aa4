import { type BodyReader, bodyReader } from './body-reader.ts'
import type { ClientConnection } from './client-connection.ts'
import type { Context } from './context.ts'
import type { Answer, BodyInspection, Failure } from './gate.ts'
import type { RequestHead } from './request-head.ts'

const leastBytes = 4096

/** A request's body that was received whole before the request went on. */
export interface GatheredBody {
  readonly bytes: Buffer
  /** To be called when it is not needed any more. */
  readonly release: () => void
}

/** A request whose body must be looked at before it may pass: keeps what comes until that is clear. */
export class BodyGathering {
  readonly head: RequestHead
  requestComplete = false
  private readonly context: Context
  private readonly client: ClientConnection
  private readonly inspection: BodyInspection
  private readonly reader: BodyReader
  private bytes = Buffer.alloc(0)
  private size = 0
  private ended = false
  private deadline = 0

  constructor(context: Context, client: ClientConnection, head: RequestHead, inspection: BodyInspection) {
    this.context = context
    this.client = client
    this.head = head
    this.inspection = inspection
    this.reader = bodyReader(head.bodyLength)!
  }

  /** @param at where the body starts in the bytes that brought the head */
  begin(bytes: Buffer, at: number): void {
    this.extend()
    // All but the body allows: only now is it worth sending.
    if (this.head.expectsContinue && at === bytes.length) this.client.writeContinue()
    if (at < bytes.length) this.receive(bytes, at)
    if (!this.ended) this.client.resume()
  }

  receiveBody(bytes: Buffer): void {
    this.receive(bytes, 0)
  }

  /** Nothing is sent to the client meanwhile. */
  clientDrained(): void {}

  /** The client is gone. */
  abandon(): void {
    if (this.end()) this.release()
  }

  tick(now: number): void {
    if (now >= this.deadline) this.fail('BodyStalled', 'the body stopped')
  }

  private receive(received: Buffer, start: number): void {
    const end = this.reader.read(received, start)
    if (end < 0) {
      this.fail('BodyMalformed', 'the body is malformed')
      return
    }
    this.requestComplete = this.reader.complete
    if (end < received.length) this.client.keep(received.subarray(end))
    this.extend()
    const { ranges } = this.reader
    for (let index = 0; index < ranges.length; index += 2) {
      if (!this.take(received, ranges[index]!, ranges[index + 1]!)) return
    }
    if (this.requestComplete) this.finish()
  }

  /** @returns false where that was the end of it */
  private take(received: Buffer, start: number, end: number): boolean {
    const length = end - start
    const { gathered, limits } = this.context
    if (this.size + length > this.inspection.maxBytes) {
      this.refuse(this.inspection.tooLarge())
      return false
    }
    if (gathered.bytes + length > limits.maxGatheredBytes) {
      this.fail('Overloaded', 'too many bodies are being looked at')
      return false
    }
    if (this.size + length > this.bytes.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(leastBytes, 2 * this.bytes.length, this.size + length))
      this.bytes.copy(larger, 0, 0, this.size)
      this.bytes = larger
    }
    received.copy(this.bytes, this.size, start, end)
    this.size += length
    gathered.bytes += length
    const refusal = this.inspection.read(received, start, end)
    if (refusal !== undefined) this.refuse(refusal)
    return refusal === undefined
  }

  private finish(): void {
    const bytes = this.bytes.subarray(0, this.size)
    const outcome = this.inspection.finish(bytes)
    if (!outcome.allow) {
      this.refuse(outcome)
      return
    }
    this.ended = true
    this.client.proceed(this.head, outcome, { bytes, release: () => this.release() })
  }

  private fail(failure: Failure, detail: string): void {
    if (!this.ended) this.refuse(this.context.gate.failed(failure, detail))
  }

  private refuse(answer: Answer): void {
    if (!this.end()) return
    this.release()
    this.client.answer(answer, this.head, !this.requestComplete)
  }

  /** @returns false where it is over already */
  private end(): boolean {
    if (this.ended) return false
    this.ended = true
    return true
  }

  private release(): void {
    this.context.gathered.bytes -= this.size
    this.size = 0
  }

  private extend(): void {
    const { limits, ticker } = this.context
    this.deadline = ticker.now + limits.bodySeconds * 1000
  }
}
