import type { Socket } from 'node:net'
import type { Outbox } from './outbox.ts'

/**
 * So many received bytes are passed on as one string, which is the cheapest write there is: up to 16 KiB, Node writes from
 * the stack and at once. The rest is left for the head.
 */
export const smallBytes = 14 * 1024

/**
 * Sends a head (or nothing) and the data ranges of a body in one write: of more than `smallBytes` received bytes as views
 * on them, without copying.
 *
 * @param asChunks frame the data as one chunk
 * @param last the body ends with this
 * @returns false where the sender should wait for `drain`
 */
export function send(
  outbox: Outbox,
  socket: Socket,
  head: string,
  bytes: Buffer,
  ranges: readonly number[],
  asChunks: boolean,
  last: boolean,
): boolean {
  let size = 0
  for (let index = 0; index < ranges.length; index += 2) size += ranges[index + 1]! - ranges[index]!

  const before = asChunks && size > 0 ? `${head}${size.toString(16)}\r\n` : head
  const after = asChunks ? `${size > 0 ? '\r\n' : ''}${last ? '0\r\n\r\n' : ''}` : ''
  if (bytes.length <= smallBytes) {
    let text = before
    for (let index = 0; index < ranges.length; index += 2) {
      text += bytes.toString('latin1', ranges[index], ranges[index + 1])
    }
    text += after
    return text === '' || outbox.write(socket, text)
  }

  outbox.flush()
  socket.cork()
  let ready = true
  if (before !== '') ready = socket.write(before, 'latin1')
  for (let index = 0; index < ranges.length; index += 2) {
    ready = socket.write(bytes.subarray(ranges[index], ranges[index + 1]))
  }
  if (after !== '') ready = socket.write(after, 'latin1')
  socket.uncork()
  return ready
}
