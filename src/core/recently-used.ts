/** Remembers what was used of late: between so many entries and twice as many. */
export class RecentlyUsed<Value> {
  private readonly limit: number
  private recent = new Map<string, Value>()
  private older = new Map<string, Value>()

  constructor(limit: number) {
    this.limit = limit
  }

  get(key: string): Value | undefined {
    const value = this.recent.get(key)
    if (value !== undefined) return value
    const old = this.older.get(key)
    if (old !== undefined) this.set(key, old)
    return old
  }

  set(key: string, value: Value): void {
    if (this.recent.size >= this.limit) {
      this.older = this.recent
      this.recent = new Map()
    }
    this.recent.set(key, value)
  }
}
