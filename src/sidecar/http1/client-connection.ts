import type { Socket } from 'node:net'
import { BodyGathering, type GatheredBody } from './body-gathering.ts'
import type { Context } from './context.ts'
import { Exchange } from './exchange.ts'
import type { Admission, Answer } from './gate.ts'
import { carriageReturn, Fault, lineFeed } from './grammar.ts'
import { HeadBuffer } from './head-buffer.ts'
import { headTooLarge, maxHeadBytes, type RequestHead, readRequestHead } from './request-head.ts'

const notAHead = new Fault(400, 'the head is not well formed')
const tooSlow = new Fault(408, 'the head did not come in time')

const continueHead = 'HTTP/1.1 100 Continue\r\n\r\n'

/** How much of a refused body is read before the connection is cut. */
const maxLingeringBytes = 1024 * 1024

/** One client: reads its requests in order, each when the answer before it is complete. */
export class ClientConnection {
  readonly socket: Socket
  paused = false
  private readonly context: Context
  private readonly peer: string | undefined
  private exchange: Exchange | BodyGathering | undefined
  /** Received and not yet read: what follows the present request. */
  private rest: Buffer | undefined
  private gathering: HeadBuffer | undefined
  private emptyLineSeen = false
  private reading = false
  /** The last answer has been sent; what still comes is thrown away. */
  private closing = false
  private peerEnded = false
  private lingeringBytes = 0
  /** When waiting for the client ends, in the ticker's milliseconds; not in force during an exchange. */
  private deadline: number

  constructor(context: Context, socket: Socket) {
    this.context = context
    this.socket = socket
    this.peer = socket.remoteAddress
    this.deadline = context.ticker.now + context.limits.headSeconds * 1000
    socket.on('data', (bytes: Buffer) => {
      try {
        this.receive(bytes)
      } catch (error) {
        this.crash(error)
      }
    })
    socket.on('drain', () => {
      if (this.exchange === undefined) this.readOn()
      else this.exchange.clientDrained()
    })
    socket.on('end', () => this.receiveEnd())
    // What went wrong shows in `close`, which always follows.
    socket.on('error', () => {})
    socket.on('close', () => this.exchange?.abandon())
  }

  /** Keeps what was received behind the present request for later, and receives no more until then. */
  keep(bytes: Buffer): void {
    this.rest = bytes
    this.pause()
  }

  pause(): void {
    if (this.paused) return
    this.paused = true
    this.socket.pause()
  }

  resume(): void {
    if (!this.paused) return
    this.paused = false
    this.socket.resume()
  }

  /** The answer of the present exchange has been sent. */
  exchangeEnded(close: boolean): void {
    const askedForUpgrade = this.exchange?.head.asksForUpgrade === true
    this.exchange = undefined
    if (close || this.context.draining || (askedForUpgrade && this.rest !== undefined)) this.close()
    else this.awaitNext()
  }

  /** The body has been received, and the request may pass. */
  proceed(head: RequestHead, admission: Admission, body: GatheredBody): void {
    const exchange = new Exchange(this.context, this, head, admission, body)
    this.exchange = exchange
    exchange.begin(body.bytes, body.bytes.length)
  }

  writeContinue(): void {
    this.context.outbox.write(this.socket, continueHead)
  }

  /** Sends an answer of our own. Without a head, or with a body that is not read, it is the last. */
  answer(answer: Answer, head: RequestHead | undefined, close: boolean): void {
    this.exchange = undefined
    const last = close || head === undefined || head.close || this.context.draining
    const connection = last ? 'Connection: close\r\n' : ''
    const framing = `Date: ${this.context.ticker.date}\r\nContent-Length: ${answer.body.length}\r\n`
    const text = `HTTP/1.1 ${answer.status} ${answer.reason}\r\n${answer.fieldLines}${framing}${connection}\r\n`
    this.context.outbox.write(this.socket, head?.method === 'HEAD' ? text : text + answer.body)
    if (last) {
      this.close()
      return
    }
    this.awaitNext()
  }

  /** Ends in a way that no client takes for the end of an answer. */
  abort(): void {
    this.exchange = undefined
    this.closing = true
    this.socket.resetAndDestroy()
  }

  /** A defect of ours: it ends this connection and no other, and lets nothing through. */
  crash(error: unknown): void {
    this.context.log.error('A request was aborted by an unexpected error', { error })
    this.exchange?.abandon()
    this.abort()
  }

  /** Closes now where nothing is in progress; else the present answer will be the last. */
  drain(): void {
    if (this.exchange === undefined && this.gathering === undefined) this.close()
  }

  /** @param byTimeAlone nothing but time has passed since the last call */
  tick(now: number, byTimeAlone: boolean): void {
    if (this.exchange !== undefined) {
      this.exchange.tick(now, byTimeAlone)
      return
    }
    if (now < this.deadline) return
    if (this.gathering === undefined) this.socket.destroy()
    else this.refuse(tooSlow)
  }

  private receive(bytes: Buffer): void {
    if (this.closing) {
      this.discard(bytes)
      return
    }
    if (this.exchange === undefined) {
      this.rest = bytes
      this.readOn()
    } else if (this.exchange.requestComplete) {
      this.keep(this.rest === undefined ? bytes : Buffer.concat([this.rest, bytes]))
    } else {
      this.exchange.receiveBody(bytes)
    }
  }

  private awaitNext(): void {
    this.deadline = this.context.ticker.now + this.context.limits.idleSeconds * 1000
    // Nearly always there is nothing: pipelining is rare, and off the fast path.
    if (this.rest !== undefined || this.paused || this.peerEnded) this.readOn()
  }

  /** Reads requests until one is in progress, or nothing is left, or the client does not take its answers. */
  private readOn(): void {
    if (this.reading) return
    this.reading = true
    while (this.rest !== undefined && this.exchange === undefined && !this.closing) {
      if (this.socket.writableNeedDrain) {
        this.pause()
        break
      }
      const bytes = this.rest
      this.rest = undefined
      this.readHead(bytes)
    }
    this.reading = false
    if (this.rest !== undefined || this.exchange?.requestComplete === false) return
    if (this.peerEnded && this.exchange === undefined) this.close()
    else this.resume()
  }

  private readHead(received: Buffer): void {
    if (this.gathering !== undefined) {
      const state = this.gathering.add(received)
      if (state === 'complete') {
        const bytes = this.gathering.take()
        this.begin(readRequestHead(bytes, 0, bytes.length) ?? notAHead, bytes)
      } else if (state !== 'incomplete') {
        this.refuse(state === 'tooLarge' ? headTooLarge : notAHead)
      }
      return
    }
    let start = 0
    if (received[0] === carriageReturn && received[1] === lineFeed && !this.emptyLineSeen) {
      // RFC 9112 §2.2: one empty line before a request is forgiven, as old clients send it behind a body.
      this.emptyLineSeen = true
      start = 2
      if (received.length === 2) return
    }
    const head = readRequestHead(received, start, received.length)
    if (head !== undefined) {
      this.begin(head, received)
      return
    }
    this.deadline = this.context.ticker.now + this.context.limits.headSeconds * 1000
    this.gathering = new HeadBuffer(maxHeadBytes)
    const state = this.gathering.add(received.subarray(start))
    if (state !== 'incomplete') this.refuse(state === 'tooLarge' ? headTooLarge : notAHead)
  }

  private begin(head: RequestHead | Fault, bytes: Buffer): void {
    if (head instanceof Fault) {
      this.refuse(head)
      return
    }
    this.gathering = undefined
    this.emptyLineSeen = false
    const admission = this.context.gate.admit(head, this.peer)
    if (admission.allow !== false) {
      const exchange = admission.allow
        ? new Exchange(this.context, this, head, admission, undefined)
        : new BodyGathering(this.context, this, head, admission)
      this.exchange = exchange
      exchange.begin(bytes, head.end)
      return
    }
    const hasBody = head.bodyLength !== undefined && head.bodyLength !== 0
    if (head.end < bytes.length && !hasBody && !head.asksForUpgrade) this.rest = bytes.subarray(head.end)
    this.answer(admission, head, hasBody)
  }

  private refuse(fault: Fault): void {
    this.gathering = undefined
    this.answer(this.context.gate.unreadable(fault.status, fault.detail), undefined, true)
  }

  private receiveEnd(): void {
    this.peerEnded = true
    if (this.exchange === undefined) {
      this.closing = true
      this.context.outbox.flush()
      this.socket.end()
    } else if (!this.exchange.requestComplete) {
      this.exchange.abandon()
      this.abort()
    }
  }

  /**
   * Says that no more will be sent, and waits a little for the client to close: closing at once, with bytes unread, would
   * make the kernel reset the connection, and the client could lose the answer.
   */
  private close(): void {
    this.closing = true
    this.rest = undefined
    this.deadline = this.context.ticker.now + this.context.limits.lingerSeconds * 1000
    this.context.outbox.flush()
    this.socket.end()
    this.resume()
  }

  private discard(bytes: Buffer): void {
    this.lingeringBytes += bytes.length
    if (this.lingeringBytes > maxLingeringBytes) this.socket.destroy()
  }
}
