import type { Socket } from 'node:net'
import { Fault } from '../http1/grammar.ts'
import { HeadBuffer } from '../http1/head-buffer.ts'
import type { Limits } from '../http1/limits.ts'
import { maxHeadBytes, type RequestHead, readRequestHead } from '../http1/request-head.ts'
import type { Ticker } from '../http1/ticker.ts'
import { noReply, type Reply } from './http-answers.ts'

/** What all connections of one listener share. */
export interface HttpContext {
  answer(head: RequestHead, peer: string | undefined): Reply
  /** Notes that what came is no question. */
  unreadable(peer: string | undefined): void
  untrusted(peer: string | undefined): void
  readonly limits: Limits
  readonly ticker: Ticker
  draining: boolean
}

/**
 * Longer than gateways keep idle connections themselves (Envoy: an hour), so that they close first: a question sent while
 * we close would be an error to them, which some let pass.
 */
const idleSeconds = 3900

/** One gateway: its questions are answered in order, each as soon as its head is complete. Bodies are never read. */
export class HttpDecisionConnection {
  private readonly context: HttpContext
  private readonly socket: Socket
  private readonly peer: string | undefined
  private readonly trusted: boolean
  private gathering: HeadBuffer | undefined
  private output = ''
  private closing = false
  private deadline: number

  constructor(context: HttpContext, socket: Socket, trusted: boolean) {
    this.context = context
    this.socket = socket
    this.peer = socket.remoteAddress
    this.trusted = trusted
    this.deadline = this.after(context.limits.headSeconds)
    socket.on('data', (bytes: Buffer) => this.receive(bytes))
    socket.on('drain', () => socket.resume())
    // What went wrong shows in `close`, which always follows.
    socket.on('error', () => {})
  }

  tick(now: number): void {
    if (now >= this.deadline) this.socket.destroy()
  }

  /** Closes now where no head has begun; else the present answer will be the last. */
  drain(): void {
    if (this.gathering === undefined) this.close()
  }

  abort(): void {
    this.socket.destroy()
  }

  private receive(received: Buffer): void {
    if (this.closing) return
    let bytes = received
    if (this.gathering !== undefined) {
      const state = this.gathering.add(received)
      if (state === 'incomplete') return
      bytes = this.gathering.take()
      this.gathering = undefined
      if (state !== 'complete') this.refuse()
    }
    this.readHeads(bytes)
    this.flush()
  }

  private readHeads(bytes: Buffer): void {
    for (let at = 0; at < bytes.length && !this.closing; ) {
      const head = readRequestHead(bytes, at, bytes.length)
      if (head instanceof Fault) this.refuse()
      else if (head === undefined) {
        this.gather(bytes.subarray(at))
        return
      } else {
        at = head.end
        this.answer(head)
      }
    }
  }

  private gather(bytes: Buffer): void {
    this.gathering = new HeadBuffer(maxHeadBytes)
    this.deadline = this.after(this.context.limits.headSeconds)
    if (this.gathering.add(bytes) !== 'incomplete') this.refuse()
  }

  private answer(head: RequestHead): void {
    if (!this.trusted) {
      this.context.untrusted(this.peer)
      this.reply(noReply, true)
      return
    }
    const reply = this.context.answer(head, this.peer)
    // A body would be read as the next question: what a gateway sends one for is not known here.
    const hasBody = head.bodyLength !== undefined && head.bodyLength !== 0
    this.reply(reply, head.close || hasBody || this.context.draining, head.method === 'HEAD')
    this.deadline = this.after(this.closing ? this.context.limits.lingerSeconds : idleSeconds)
  }

  private refuse(): void {
    if (this.trusted) this.context.unreadable(this.peer)
    else this.context.untrusted(this.peer)
    this.reply(noReply, true)
  }

  private reply({ status, reason, fieldLines, body }: Reply, last: boolean, withoutBody = false): void {
    const framing = `Date: ${this.context.ticker.date}\r\nContent-Length: ${body.length}\r\n`
    const connection = last ? 'Connection: close\r\n' : ''
    const text = withoutBody ? '' : body
    this.output += `HTTP/1.1 ${status} ${reason}\r\n${fieldLines}${framing}${connection}\r\n${text}`
    if (last) this.closing = true
  }

  /** All answers to what was received at once go out in one write; a gateway that does not take them is not read from. */
  private flush(): void {
    const { output } = this
    this.output = ''
    if (output !== '' && !this.socket.write(output, 'latin1')) this.socket.pause()
    if (this.closing) this.close()
  }

  /** Says that no more will be sent, and lets the gateway close: bytes of it that are unread would make it lose the answer. */
  private close(): void {
    this.closing = true
    this.deadline = this.after(this.context.limits.lingerSeconds)
    this.socket.end()
    this.socket.resume()
  }

  private after(seconds: number): number {
    return this.context.ticker.now + seconds * 1000
  }
}
