import type { Socket } from 'node:net'
import { type BodyReader, LengthReader, UntilCloseReader } from './body-reader.ts'
import { ChunkedReader } from './chunked-reader.ts'
import type { Context } from './context.ts'
import { HeadBuffer } from './head-buffer.ts'
import { chunked, type RequestHead } from './request-head.ts'
import {
  maxResponseHeadBytes,
  ResponseFault,
  type ResponseHead,
  readResponseHead,
  responseHeadTooLarge,
  untilClose,
} from './response-head.ts'
import { send } from './send.ts'

export type Relayed =
  /** The answer goes on. */
  | 'more'
  /** The client cannot take more now. */
  | 'blocked'
  /** The answer has been passed on to its end. */
  | 'complete'
  /** What came is no answer; `fault` says why. */
  | 'malformed'

const maxInterimAnswers = 16
const notAHead = new ResponseFault('the head is not well formed')
const noRanges: readonly number[] = []

/** Passes one answer of the application on to the client, in a framing that the client understands. */
export class ResponseRelay {
  /** Something of an answer has been seen. */
  started = false
  /** The client has been sent the head of the final answer. */
  begun = false
  /** The client connection ends with this answer. */
  closes = false
  /** The connection to the application may carry another exchange. */
  reusable = false
  fault = ''
  private readonly client: Socket
  private readonly request: RequestHead
  private readonly ownLines: string
  private readonly context: Pick<Context, 'draining' | 'outbox'>
  private gathering: HeadBuffer | undefined
  private interimAnswers = 0
  private asChunks = false
  private keepsUpstream = false
  private body: BodyReader | undefined

  /** @param ownLines what the sidecar itself says in the head of the final answer */
  constructor(client: Socket, request: RequestHead, context: Pick<Context, 'draining' | 'outbox'>, ownLines = '') {
    this.client = client
    this.request = request
    this.context = context
    this.ownLines = ownLines
  }

  receive(bytes: Buffer, requestComplete: boolean): Relayed {
    this.started = true
    return this.body === undefined ? this.receiveHead(bytes, requestComplete) : this.receiveBody('', bytes, 0)
  }

  /**
   * The application has closed the connection.
   *
   * @returns whether that is how this answer ends
   */
  endsWithConnection(): boolean {
    if (!(this.body instanceof UntilCloseReader)) return false
    if (this.asChunks) this.write('0\r\n\r\n')
    return true
  }

  private receiveHead(received: Buffer, requestComplete: boolean): Relayed {
    let bytes = received
    let at = 0
    if (this.gathering !== undefined) {
      const state = this.gathering.add(bytes)
      if (state === 'incomplete') return 'more'
      if (state !== 'complete') return this.refuse(state === 'tooLarge' ? responseHeadTooLarge : notAHead)
      bytes = this.gathering.take()
    }
    while (at < bytes.length) {
      const head = readResponseHead(bytes, at, bytes.length, this.request.method === 'HEAD')
      if (head instanceof ResponseFault) return this.refuse(head)
      if (head === undefined) return this.gather(bytes.subarray(at))
      this.gathering = undefined
      at = head.end
      if (head.status >= 200) return this.begin(head, bytes, requestComplete)
      this.interimAnswers += 1
      // Nobody asked for another protocol: Upgrade is not passed on.
      if (head.status === 101 || this.interimAnswers > maxInterimAnswers) return this.refuse(notAHead)
      // 100 is between the application and us: the client's own expectation has been met here.
      if (head.status !== 100 && this.request.minorVersion === 1) {
        this.write(`HTTP/1.1 ${head.status} ${head.reason}\r\n${head.fieldLines}\r\n`)
      }
    }
    return 'more'
  }

  private gather(bytes: Buffer): Relayed {
    // What was gathered to its end and is still no head never will be one.
    if (this.gathering !== undefined) return this.refuse(notAHead)
    this.gathering = new HeadBuffer(maxResponseHeadBytes)
    const state = this.gathering.add(bytes)
    return state === 'incomplete' ? 'more' : this.refuse(state === 'tooLarge' ? responseHeadTooLarge : notAHead)
  }

  private begin(head: ResponseHead, bytes: Buffer, requestComplete: boolean): Relayed {
    const { bodyLength } = head
    const ofUnknownLength = bodyLength === chunked || bodyLength === untilClose
    this.begun = true
    this.asChunks = ofUnknownLength && this.request.minorVersion === 1
    this.keepsUpstream = !head.close
    // An answer before the end of the request: the rest of the body must not be taken for the next request.
    this.closes = this.request.close || this.context.draining || !requestComplete
    const framing = this.asChunks ? 'Transfer-Encoding: chunked\r\n' : ''
    const connection = this.closes ? 'Connection: close\r\n' : ''
    const text = `HTTP/1.1 ${head.status} ${head.reason}\r\n${head.fieldLines}${this.ownLines}${framing}${connection}\r\n`

    if (bodyLength === undefined || bodyLength === 0) {
      this.reusable = this.keepsUpstream && head.end === bytes.length
      this.write(text)
      return 'complete'
    }
    this.body =
      bodyLength === chunked
        ? new ChunkedReader()
        : bodyLength === untilClose
          ? new UntilCloseReader()
          : new LengthReader(bodyLength)
    return this.receiveBody(text, bytes, head.end)
  }

  private receiveBody(head: string, bytes: Buffer, at: number): Relayed {
    const body = this.body!
    const end = body.read(bytes, at)
    if (end < 0) {
      if (head !== '') this.begun = false
      this.fault = 'a chunk of the body is malformed'
      return 'malformed'
    }
    const ready = send(
      this.context.outbox,
      this.client,
      head,
      bytes,
      body.ranges.length > 0 ? body.ranges : noRanges,
      this.asChunks,
      body.complete,
    )
    if (body.complete) {
      // Bytes behind the answer: the application and we do not agree on where it ended.
      this.reusable = this.keepsUpstream && end === bytes.length
      return 'complete'
    }
    return ready ? 'more' : 'blocked'
  }

  private write(text: string): void {
    this.context.outbox.write(this.client, text)
  }

  private refuse(fault: ResponseFault): Relayed {
    this.fault = fault.detail
    return 'malformed'
  }
}
