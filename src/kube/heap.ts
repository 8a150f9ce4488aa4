/** Keeps the earliest of many times at hand: adding and taking cost the logarithm of how many there are. */
export class TimeHeap<T> {
  private readonly nodes: { readonly time: number; readonly value: T }[] = []

  get size(): number {
    return this.nodes.length
  }

  /** The earliest time, where there is one. */
  get earliest(): number | undefined {
    return this.nodes[0]?.time
  }

  push(time: number, value: T): void {
    const { nodes } = this
    let at = nodes.push({ time, value }) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (nodes[parent]!.time <= nodes[at]!.time) return
      this.swap(at, parent)
      at = parent
    }
  }

  /** Takes the value with the earliest time. */
  pop(): { readonly time: number; readonly value: T } | undefined {
    const { nodes } = this
    const first = nodes[0]
    const last = nodes.pop()
    if (first === undefined || last === undefined || nodes.length === 0) return first
    nodes[0] = last
    for (let at = 0; ; ) {
      const left = 2 * at + 1
      const smaller = left + 1 < nodes.length && nodes[left + 1]!.time < nodes[left]!.time ? left + 1 : left
      if (smaller >= nodes.length || nodes[at]!.time <= nodes[smaller]!.time) return first
      this.swap(at, smaller)
      at = smaller
    }
  }

  private swap(a: number, b: number): void {
    const kept = this.nodes[a]!
    this.nodes[a] = this.nodes[b]!
    this.nodes[b] = kept
  }
}
