/**
 * Remembers what was used of late: between so many entries and twice as many. Keys hold one character per byte, and long
 * ones are not remembered: whoever makes them up must not fill the memory with them.
 */
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
    if (old !== undefined) this.keep(key, old)
    return old
  }

  set(key: string, value: Value): void {
    if (key.length <= longestKey) this.keep(key, value)
  }

  private keep(key: string, value: Value): void {
    if (this.recent.size >= this.limit) {
      this.older = this.recent
      this.recent = new Map()
    }
    this.recent.set(copyOf(key), value)
  }
}

const longestKey = 256

/** A text that was cut out of another keeps all of that alive; a copy does not. */
export const copyOf = (text: string): string => Buffer.from(text, 'latin1').toString('latin1')
