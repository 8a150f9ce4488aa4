/** A client of `envoy.service.auth.v3.Authorization`, as far as an endpoint can tell. */

import { type ClientHttp2Session, connect } from 'node:http2'
import { type CheckResponse, decodeCheckResponse, encodeCheckRequest } from './check-messages.ts'

export interface CheckAnswer {
  readonly httpStatus: number | undefined
  readonly grpcStatus: string | undefined
  /** Undefined where none came. */
  readonly response: CheckResponse | undefined
  /** From the request to the end of the answer. */
  readonly milliseconds: number
}

export class CheckClient {
  private readonly session: ClientHttp2Session

  constructor(port: number) {
    this.session = connect(`http://127.0.0.1:${port}`)
    this.session.on('error', () => {})
  }

  check(request: object): Promise<CheckAnswer> {
    return this.send(framed(encodeCheckRequest(request)))
  }

  /** @param bytes what follows the head, with or without the prefix that a message should have */
  send(bytes: Buffer, options: { readonly path?: string; readonly leaveOpen?: boolean } = {}): Promise<CheckAnswer> {
    const begun = performance.now()
    const { path = '/envoy.service.auth.v3.Authorization/Check', leaveOpen = false } = options
    const stream = this.session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
    })
    let httpStatus: number | undefined
    let grpcStatus: string | undefined
    const received: Buffer[] = []
    stream.on('response', (headers) => {
      httpStatus = headers[':status']
      grpcStatus = headers['grpc-status']?.toString()
    })
    stream.on('trailers', (headers) => {
      grpcStatus = headers['grpc-status']?.toString()
    })
    stream.on('data', (chunk: Buffer) => received.push(chunk))
    if (leaveOpen) stream.write(bytes)
    else stream.end(bytes)
    return new Promise((resolve, reject) => {
      stream.on('error', reject)
      stream.on('end', () => {
        const message = Buffer.concat(received)
        const response = message.length === 0 ? undefined : decodeCheckResponse(message.subarray(5))
        const milliseconds = performance.now() - begun
        stream.on('close', () => resolve({ httpStatus, grpcStatus, response, milliseconds }))
        stream.close()
      })
    })
  }

  close(): void {
    this.session.destroy()
  }
}

export function framed(message: Buffer): Buffer {
  const prefix = Buffer.alloc(5)
  prefix.writeUInt32BE(message.length, 1)
  return Buffer.concat([prefix, message])
}
