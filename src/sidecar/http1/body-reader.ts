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
