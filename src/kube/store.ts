import { type KubeObject, nameKey, type ObjectName } from '../api/object.ts'
import type { WatchSink } from './cluster.ts'

export interface StoreOptions<Value, Index extends string> {
  /** What to keep of an object; undefined keeps nothing of it. */
  readonly transform: (object: KubeObject) => Value | undefined
  /** By name of the index: under which keys a value is found. */
  readonly indexes: Readonly<Record<Index, (value: Value) => Iterable<string>>>
}

/** One object before and after; undefined where there is none. */
export interface StoreChange<Value> {
  readonly name: ObjectName
  readonly before: Value | undefined
  readonly after: Value | undefined
}

interface Kept<Value> {
  readonly name: ObjectName
  readonly uid: string
  readonly version: bigint
  readonly value: Value
  readonly keys: ReadonlyMap<string, ReadonlySet<string>>
}

/**
 * What a watch has told, by namespace and name, and by indexes whose look-ups cost what they find. Versions that are
 * not newer than what is kept change nothing. Where a transform, an index or a listener throws, the error goes to the
 * watch, and the store is as before or as after, never in between.
 */
export class Store<Value = KubeObject, Index extends string = never> implements WatchSink {
  private readonly options: StoreOptions<Value, Index>
  private readonly kept = new Map<string, Kept<Value>>()
  private readonly indexed = new Map<string, Map<string, Map<string, Kept<Value>>>>()
  private readonly listeners: ((change: StoreChange<Value>) => void)[] = []
  private readonly syncing = Promise.withResolvers<void>()
  private hasSynced = false

  constructor(options: StoreOptions<Value, Index>) {
    this.options = options
    for (const index of Object.keys(options.indexes)) this.indexed.set(index, new Map())
  }

  get(name: ObjectName): Value | undefined {
    return this.kept.get(nameKey(name))?.value
  }

  *list(): IterableIterator<Value> {
    for (const { value } of this.kept.values()) yield value
  }

  /** Values that the index finds under a key. */
  by(index: Index, key: string): readonly Value[] {
    return [...(this.indexed.get(index)?.get(key)?.values() ?? [])].map(({ value }) => value)
  }

  get size(): number {
    return this.kept.size
  }

  get isSynced(): boolean {
    return this.hasSynced
  }

  /** Resolves when everything that was there at first is here. */
  whenSynced(): Promise<void> {
    return this.syncing.promise
  }

  /** Hears of every change from now on, when the store has made it. */
  onChange(listener: (change: StoreChange<Value>) => void): void {
    this.listeners.push(listener)
  }

  put(object: KubeObject): void {
    const { namespace, name, uid = '', resourceVersion = '0' } = object.metadata
    const key = nameKey(object.metadata)
    const before = this.kept.get(key)
    const version = BigInt(resourceVersion)
    if (before !== undefined && before.uid === uid && version <= before.version) return
    const value = this.options.transform(object)
    if (value === undefined) {
      this.drop(key)
      return
    }
    const keys = new Map<string, ReadonlySet<string>>()
    for (const index of this.indexed.keys()) keys.set(index, new Set(this.options.indexes[index as Index](value)))
    const after = {
      name: before?.name ?? { name, ...(namespace !== undefined && { namespace }) },
      uid,
      version,
      value,
      keys,
    }
    this.kept.set(key, after)
    this.unindex(key, before)
    this.index(key, after)
    this.tell({ name: after.name, before: before?.value, after: value })
  }

  gone(object: ObjectName & { readonly uid: string }): void {
    const key = nameKey(object)
    if (this.kept.get(key)?.uid === object.uid) this.drop(key)
  }

  read(names: ReadonlySet<string>, resourceVersion: string): void {
    const version = BigInt(resourceVersion || 0)
    for (const [key, kept] of this.kept) if (kept.version <= version && !names.has(key)) this.drop(key)
  }

  synced(): void {
    this.hasSynced = true
    this.syncing.resolve()
  }

  private drop(key: string): void {
    const before = this.kept.get(key)
    if (before === undefined) return
    this.kept.delete(key)
    this.unindex(key, before)
    this.tell({ name: before.name, before: before.value, after: undefined })
  }

  private index(key: string, kept: Kept<Value>): void {
    for (const [index, keys] of kept.keys) {
      const byKey = this.indexed.get(index)!
      for (const indexKey of keys) byKey.set(indexKey, (byKey.get(indexKey) ?? new Map()).set(key, kept))
    }
  }

  private unindex(key: string, kept: Kept<Value> | undefined): void {
    for (const [index, keys] of kept?.keys ?? []) {
      const byKey = this.indexed.get(index)!
      for (const indexKey of keys) {
        const found = byKey.get(indexKey)!
        found.delete(key)
        if (found.size === 0) byKey.delete(indexKey)
      }
    }
  }

  private tell(change: StoreChange<Value>): void {
    const errors: unknown[] = []
    for (const listener of this.listeners) {
      try {
        listener(change)
      } catch (error) {
        errors.push(error)
      }
    }
    if (errors.length === 1) throw errors[0]
    if (errors.length > 1) throw new AggregateError(errors, 'several listeners of a store failed')
  }
}
