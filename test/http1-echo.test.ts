import { Agent, createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { proxied } from './support/proxied.ts'

interface Exchange {
  readonly method: 'GET' | 'POST' | 'PUT'
  /** Bytes that are sent, in these pieces. */
  readonly pieces: readonly number[]
  readonly sendsChunks: boolean
  /** How often the application says what it received, each time in one write. */
  readonly echoes: number
  readonly answersChunks: boolean
  /** The client does not read for a while: answers pile up in all buffers between. */
  readonly isSlow: boolean
}

const exchange: fc.Arbitrary<Exchange> = fc.record({
  method: fc.constantFrom('GET', 'POST', 'PUT'),
  pieces: fc.array(fc.oneof(fc.nat({ max: 20 }), fc.nat({ max: 20_000 }), fc.nat({ max: 150_000 })), { maxLength: 4 }),
  sendsChunks: fc.boolean(),
  echoes: fc.oneof(fc.nat({ max: 3 }), fc.nat({ max: 40 })),
  answersChunks: fc.boolean(),
  isSlow: fc.boolean(),
})

/** Bytes that tell where they belong. */
const bytesOf = (length: number, seed: number) =>
  Buffer.from(Uint8Array.from({ length }, (_, index) => (index * 31 + seed * 7) % 251))

const laterTurn = async (turns: number) => {
  for (let turn = 0; turn < turns; turn += 1) await new Promise((resolve) => setImmediate(resolve))
}

test('whatever is sent in whatever way arrives whole and in order, with many clients at once', async () => {
  const application = createServer((incoming, outgoing) => {
    const received: Buffer[] = []
    incoming.on('data', (piece: Buffer) => received.push(piece))
    incoming.on('end', () => {
      const body = Buffer.concat(received)
      const [, echoes, chunks] = incoming.url!.split('/')
      if (chunks === 'false') outgoing.setHeader('Content-Length', body.length * Number(echoes))
      for (let count = 0; count < Number(echoes); count += 1) outgoing.write(body)
      outgoing.end()
    })
  })
  await new Promise<void>((resolve) => {
    application.listen(0, '127.0.0.1', resolve)
  })
  const on = await proxied({}, (application.address() as AddressInfo).port)
  const agent = new Agent({ keepAlive: true, maxSockets: 12 })

  const play = ({ method, pieces, sendsChunks, echoes, answersChunks, isSlow }: Exchange, seed: number) =>
    new Promise<void>((resolve, reject) => {
      const body = pieces.map((length) => bytesOf(length, seed))
      const size = pieces.reduce((sum, length) => sum + length, 0)
      const framing = sendsChunks ? { 'Transfer-Encoding': 'chunked' } : { 'Content-Length': size }
      const path = `/${echoes}/${answersChunks}`
      const sent = request({ agent, host: '127.0.0.1', port: on.port, method, path, headers: framing }, (response) => {
        const received: Buffer[] = []
        response.on('data', (piece: Buffer) => received.push(piece))
        if (isSlow) {
          response.pause()
          void laterTurn(200).then(() => response.resume())
        }
        response.on('error', reject)
        response.on('end', () => {
          const expected = Buffer.concat(Array.from({ length: echoes }, () => Buffer.concat(body)))
          if (Buffer.concat(received).equals(expected)) resolve()
          else reject(new Error(`${path}: ${Buffer.concat(received).length} bytes came back of ${expected.length}`))
        })
      })
      sent.on('error', reject)
      for (const piece of body) sent.write(piece)
      sent.end()
    })

  try {
    await fc.assert(
      fc.asyncProperty(fc.array(exchange, { minLength: 1, maxLength: 24 }), async (exchanges) => {
        await Promise.all(exchanges.map(play))
      }),
      { numRuns: 40 },
    )
    expect(on.counts.retries).toBe(0)
    expect(on.gate.failures).toEqual([])
  } finally {
    agent.destroy()
    await on.stop()
    application.closeAllConnections()
    application.close()
  }
})
