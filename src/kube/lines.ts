/** Cuts a stream of bytes into lines at line feeds alone, whatever else a text may hold that looks like one. */
export class LineSplitter {
  private readonly longestBytes: number
  private pieces: Buffer[] = []
  private pieceBytes = 0

  constructor(longestBytes: number) {
    this.longestBytes = longestBytes
  }

  /** Whether the last line so far is complete. */
  get isAtLineStart(): boolean {
    return this.pieceBytes === 0
  }

  /** Lines that end within this chunk, without their ends; throws where one is longer than allowed. */
  *split(chunk: Buffer): Generator<string> {
    let start = 0
    for (let end = chunk.indexOf(0x0a); end >= 0; end = chunk.indexOf(0x0a, start)) {
      this.keep(chunk.subarray(start, end))
      start = end + 1
      const line = this.pieces.length === 1 ? this.pieces[0]! : Buffer.concat(this.pieces)
      this.pieces = []
      this.pieceBytes = 0
      yield line.toString('utf8')
    }
    if (start < chunk.length) this.keep(chunk.subarray(start))
  }

  private keep(piece: Buffer): void {
    this.pieceBytes += piece.length
    if (this.pieceBytes > this.longestBytes) throw new Error(`a line is longer than ${this.longestBytes} bytes`)
    this.pieces.push(piece)
  }
}
