import { type KubeObject, nameKey, type ObjectName, type Resource } from '../api/object.ts'
import type { Scope } from './cluster.ts'
import type { Owners } from './fields.ts'
import { deepFreeze } from './freeze.ts'
import type { Change } from './memory-watch.ts'
import { OwnerGraph } from './owner-graph.ts'
import { plain } from './parts.ts'
import { inScope } from './scope.ts'

/** A stored object, with who owns which of its fields. */
export interface Entry {
  readonly resource: Resource
  readonly object: KubeObject
  readonly owners: Owners
}

/** The objects of a cluster in memory: gives each new state its version, and removes what has lost its owners. */
export class ObjectTable {
  private readonly changed: (change: Change) => void
  private readonly entries = new Map<string, Entry>()
  private readonly graph = new OwnerGraph()
  private version = 0

  /** @param changed hears of every change, in order */
  constructor(changed: (change: Change) => void) {
    this.changed = changed
  }

  get(resource: Resource, name: ObjectName): Entry | undefined {
    return this.entries.get(entryKey(resource, name))
  }

  /** Objects as the API server would list them. */
  list(resource: Resource, scope: Scope): KubeObject[] {
    const objects = [...this.entries.values()]
      .filter((entry) => isSame(entry.resource, resource) && inScope(entry.object, scope))
      .map(({ object }) => object)
    return objects.sort((a, b) => (nameKey(a.metadata) < nameKey(b.metadata) ? -1 : 1))
  }

  /** Stores a new state with the next version, in place of `old` where there was one. */
  store(entry: Entry, old: Entry | undefined): KubeObject {
    const { resource } = entry
    this.version = Math.max(this.version, Number(entry.object.metadata.resourceVersion ?? 0)) + 1
    const metadata = { ...entry.object.metadata, resourceVersion: String(this.version) }
    const object = deepFreeze(plain({ ...entry.object, metadata }))
    const key = entryKey(resource, metadata)
    if (old !== undefined) this.graph.remove(key, old.object)
    this.graph.add(key, object)
    this.entries.set(key, { ...entry, object })
    this.changed({ resource, before: old?.object, after: object })
    return object
  }

  drop(entry: Entry): void {
    const { resource, object } = entry
    const key = entryKey(resource, object.metadata)
    this.version += 1
    this.entries.delete(key)
    this.graph.remove(key, object)
    this.changed({ resource, before: object, after: undefined })
    this.collect(this.graph.dependantsOf(object.metadata.uid!))
  }

  /** Whether the object has owners, and none of them exists. */
  isOrphan(object: KubeObject): boolean {
    return this.graph.isOrphan(object)
  }

  collectGarbage(): void {
    this.collect(this.graph.withLostOwners())
  }

  /** Takes from objects the owners that are gone, and the objects that had no other. */
  private collect(keys: readonly string[]): void {
    for (const key of keys) {
      const entry = this.entries.get(key)
      if (entry === undefined) continue
      const { object } = entry
      const ownerReferences = this.graph.ownersOf(object)
      if (ownerReferences.length === 0) this.drop(entry)
      else this.store({ ...entry, object: { ...object, metadata: { ...object.metadata, ownerReferences } } }, entry)
    }
  }
}

const entryKey = ({ apiVersion, kind }: Resource, name: ObjectName): string => `${apiVersion} ${kind} ${nameKey(name)}`

const isSame = (a: Resource, b: Resource): boolean => a.kind === b.kind && a.apiVersion === b.apiVersion
