/** A client that sends what it is told and reads answers forgivingly. */

import { connect, type Socket } from 'node:net'
import { eventually } from '../support/wait.ts'

export interface ReceivedAnswer {
  readonly status: number
  /** Status line and field lines as received. */
  readonly head: string
  readonly body: string
}

export class RawClient {
  closed = false
  private readonly socket: Socket
  private received = ''
  private readonly connectedAt: number
  private answeredAt: number | undefined
  private closedAt: number | undefined
  /** Methods of the requests, to know which answers have no body. */
  private readonly isHead: boolean

  private constructor(socket: Socket, isHead: boolean) {
    this.socket = socket
    this.isHead = isHead
    this.connectedAt = performance.now()
    socket.setEncoding('latin1')
    socket.on('data', (text: string) => {
      this.received += text
      if (this.answeredAt === undefined && this.answers().length > 0) this.answeredAt = performance.now()
    })
    socket.on('end', () => socket.end())
    socket.on('error', () => {})
    socket.on('close', () => {
      this.closed = true
      this.closedAt = performance.now()
    })
  }

  static async open(port: number, isHead: boolean): Promise<RawClient> {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    return new RawClient(socket, isHead)
  }

  send(text: string): void {
    if (text !== '') this.socket.write(text, 'latin1')
  }

  async firstAnswer(seconds: number): Promise<void> {
    await eventually('an answer, or the end', () => this.closed || this.finalAnswers().length > 0, seconds)
  }

  /** Says that no more will be sent, and waits for the other side to say so too. */
  async finish(seconds: number): Promise<void> {
    if (!this.closed) this.socket.end()
    await this.untilClosed(seconds)
  }

  async untilClosed(seconds: number): Promise<void> {
    await eventually('the connection to be closed', () => this.closed, seconds)
  }

  destroy(): void {
    this.socket.destroy()
  }

  get millisecondsToAnswer(): number | undefined {
    const end = this.answeredAt ?? this.closedAt
    return end === undefined ? undefined : end - this.connectedAt
  }

  get millisecondsFromAnswerToClose(): number | undefined {
    if (this.closedAt === undefined || this.answeredAt === undefined) return undefined
    return this.closedAt - this.answeredAt
  }

  finalAnswers(): readonly ReceivedAnswer[] {
    return this.answers().filter(({ status }) => status >= 200 || status === 101)
  }

  interimAnswers(): readonly ReceivedAnswer[] {
    return this.answers().filter(({ status }) => status < 200 && status !== 101)
  }

  private answers(): readonly ReceivedAnswer[] {
    const found: ReceivedAnswer[] = []
    let rest = this.received
    for (;;) {
      const end = rest.indexOf('\r\n\r\n')
      if (end < 0) return found
      const head = rest.slice(0, end + 2)
      const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1])
      if (!(status > 0)) throw new Error(`what came is no answer: ${JSON.stringify(rest.slice(0, 200))}`)
      const withoutBody = status < 200 || status === 204 || status === 304 || this.isHead
      const length = withoutBody ? 0 : Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0)
      const body = rest.slice(end + 4, end + 4 + length)
      if (body.length < length) return found
      found.push({ status, head, body })
      rest = rest.slice(end + 4 + length)
    }
  }
}
