/** An application that records what reaches it, byte by byte, and answers 200 to every request that is complete. */

import { createServer, type Server, type Socket } from 'node:net'
import { eventually } from '../support/wait.ts'

export interface RecordedRequest {
  /** Request line and field lines as received, one character per byte. */
  readonly head: string
  readonly method: string
  readonly path: string
  /** Without `?`; empty where there is none. */
  readonly query: string
  /** Data without chunk framing. */
  body: string
  /** The whole message has been received. */
  terminated: boolean
}

/** The reading is its own and forgiving: what got through is to be seen, not to be judged a second time. */
export class RecordingUpstream {
  requests: RecordedRequest[] = []
  private readonly server: Server
  private readonly sockets = new Set<Socket>()
  /** Messages that have begun and are neither complete nor aborted. */
  private open = 0

  constructor() {
    this.server = createServer((socket) => this.serve(socket))
  }

  async listen(): Promise<number> {
    await new Promise<void>((resolve) => {
      this.server.listen(0, '127.0.0.1', resolve)
    })
    const address = this.server.address()
    if (address === null || typeof address === 'string') throw new Error('no port')
    return address.port
  }

  /** Everything since the last call, when nothing is under way any more. */
  async take(): Promise<readonly RecordedRequest[]> {
    await eventually('messages to end at the application', () => this.open === 0)
    const { requests } = this
    this.requests = []
    return requests
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy()
    await new Promise((resolve) => this.server.close(resolve))
  }

  private serve(socket: Socket): void {
    this.sockets.add(socket)
    let received = ''
    let current: RecordedRequest | undefined
    let bodyStart = 0
    socket.setEncoding('latin1')
    socket.on('error', () => {})
    socket.on('close', () => {
      this.sockets.delete(socket)
      if (current !== undefined) this.open -= 1
    })
    socket.on('data', (text: string) => {
      received += text
      for (;;) {
        if (current === undefined) {
          const end = received.indexOf('\r\n\r\n')
          if (end < 0) return
          current = begin(received.slice(0, end + 2))
          bodyStart = end + 4
          this.requests.push(current)
          this.open += 1
        }
        const read = readBody(current.head, received.slice(bodyStart))
        current.body = read.body
        if (read.length === undefined) return
        current.terminated = true
        this.open -= 1
        received = received.slice(bodyStart + read.length)
        const content = current.method === 'HEAD' ? '' : 'ok'
        current = undefined
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n${content}`, 'latin1')
      }
    })
  }
}

function begin(head: string): RecordedRequest {
  const [method = '', target = ''] = head.slice(0, head.indexOf('\r\n')).split(' ')
  const mark = target.indexOf('?')
  return {
    head,
    method,
    path: mark < 0 ? target : target.slice(0, mark),
    query: mark < 0 ? '' : target.slice(mark + 1),
    body: '',
    terminated: false,
  }
}

/** `length`: bytes of the message's body with its framing; undefined while it is not complete. */
function readBody(head: string, text: string): { readonly body: string; readonly length: number | undefined } {
  if (!/^transfer-encoding:/im.test(head)) {
    const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0)
    return { body: text.slice(0, length), length: text.length >= length ? length : undefined }
  }
  let body = ''
  for (let at = 0; ; ) {
    const lineEnd = text.indexOf('\r\n', at)
    if (lineEnd < 0) return { body, length: undefined }
    const size = Number.parseInt(text.slice(at, lineEnd), 16)
    body += text.slice(lineEnd + 2, lineEnd + 2 + size)
    at = lineEnd + 2 + size + 2
    if (text.length < at) return { body, length: undefined }
    if (size === 0) return { body, length: at }
  }
}
