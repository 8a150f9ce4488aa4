import { connect, createServer, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Outbox } from '../src/sidecar/http1/outbox.ts'
import { send, smallBytes } from '../src/sidecar/http1/send.ts'
import { RawSocket } from './support/proxied.ts'
import { eventually } from './support/wait.ts'

let sender: Socket
let receiver: RawSocket
let busy = 0
const outbox = new Outbox(() => busy)
const server = createServer((socket) => {
  receiver = new RawSocket(socket)
})

beforeEach(async () => {
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  sender = connect((server.address() as { port: number }).port, '127.0.0.1')
  await new Promise((resolve) => sender.once('connect', resolve))
  await eventually('the receiver', () => receiver)
})
afterEach(() => {
  sender.destroy()
  receiver.socket.destroy()
  server.close()
})

const large = Buffer.alloc(smallBytes + 1, 'l')
const small = Buffer.from('small')
const whole = (bytes: Buffer) => [0, bytes.length]

test('writes at once while there is little to do', () => {
  busy = 1
  outbox.write(sender, 'now')
  expect(sender.bytesWritten).toBe(3)
})

test('puts small writes off to the end of the turn when there is much to do', async () => {
  busy = 10
  outbox.write(sender, 'a')
  outbox.write(sender, 'b')
  expect(sender.bytesWritten).toBe(0)
  await receiver.receives('ab')
})

test('keeps the order of small and large writes to a socket', async () => {
  busy = 10
  send(outbox, sender, 'head|', small, whole(small), false, false)
  send(outbox, sender, '', large, whole(large), true, false)
  send(outbox, sender, '', small, whole(small), true, true)
  const size = large.length.toString(16)
  expect(await receiver.receives('0\r\n\r\n')).toBe(
    `head|small${size}\r\n${large.toString()}\r\n5\r\nsmall\r\n0\r\n\r\n`,
  )
})

test('says when a socket should be waited for', async () => {
  busy = 10
  receiver.socket.pause()
  let ready = true
  for (let count = 0; count < 2000 && ready; count += 1) {
    ready = send(outbox, sender, 'x'.repeat(14_000), small, whole(small), false, false)
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(ready).toBe(false)
})

test('forgets what was for a socket that is gone', async () => {
  busy = 10
  outbox.write(sender, 'a')
  sender.destroy()
  outbox.flush()
  await receiver.closes()
  expect(receiver.received).toBe('')
})
