import { ChunkedReader } from './chunked-reader.ts'
import { chunked } from './request-head.ts'

/** Finds the end of a message's body in the bytes as they come, and which of them are data. */
export interface BodyReader {
  /** Of the bytes read last: where data starts and ends, alternating. Good until the next call. */
  readonly ranges: readonly number[]
  /** Everything that belongs to the body has been read. */
  readonly complete: boolean
  /**
   * Reads on from `start`.
   *
   * @returns the offset behind what belongs to the body, or -1 where the body is malformed
   */
  read(bytes: Uint8Array, start: number): number
}

/** A body of so many bytes. */
export class LengthReader implements BodyReader {
  readonly ranges: number[] = []
  private remaining: number

  constructor(length: number) {
    this.remaining = length
  }

  get complete(): boolean {
    return this.remaining === 0
  }

  read(bytes: Uint8Array, start: number): number {
    const end = Math.min(bytes.length, start + this.remaining)
    this.ranges.length = 0
    if (end > start) this.ranges.push(start, end)
    this.remaining -= end - start
    return end
  }
}

/** A body that was received before its request went on. */
export class WholeBody implements BodyReader {
  readonly ranges: readonly number[]
  readonly complete = true

  constructor(length: number) {
    this.ranges = [0, length]
  }

  read(_bytes: Uint8Array, start: number): number {
    return start
  }
}

/** A body that goes on until its sender closes the connection. */
export class UntilCloseReader implements BodyReader {
  readonly ranges: number[] = []
  readonly complete = false

  read(bytes: Uint8Array, start: number): number {
    this.ranges.length = 0
    if (bytes.length > start) this.ranges.push(start, bytes.length)
    return bytes.length
  }
}

/** For the body of a request; undefined where there is none. */
export function bodyReader(bodyLength: number | undefined): BodyReader | undefined {
  if (bodyLength === undefined || bodyLength === 0) return undefined
  return bodyLength === chunked ? new ChunkedReader() : new LengthReader(bodyLength)
}
