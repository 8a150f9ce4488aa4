import type { KubeObject } from '../api/object.ts'

/** Who exists, and who is owned by whom: what a garbage collector needs to know. */
export class OwnerGraph {
  private readonly live = new Set<string>()
  /** Keys of objects by the uid of an owner. */
  private readonly dependants = new Map<string, Set<string>>()

  add(key: string, { metadata }: KubeObject): void {
    this.live.add(metadata.uid!)
    for (const { uid } of metadata.ownerReferences ?? []) {
      this.dependants.set(uid, (this.dependants.get(uid) ?? new Set()).add(key))
    }
  }

  remove(key: string, { metadata }: KubeObject): void {
    this.live.delete(metadata.uid!)
    for (const { uid } of metadata.ownerReferences ?? []) {
      const keys = this.dependants.get(uid)
      keys?.delete(key)
      if (keys?.size === 0) this.dependants.delete(uid)
    }
  }

  /** Keys of the objects that name an owner which does not exist. */
  withLostOwners(): string[] {
    const lost = [...this.dependants].filter(([uid]) => !this.live.has(uid))
    return [...new Set(lost.flatMap(([, keys]) => [...keys]))]
  }

  dependantsOf(uid: string): string[] {
    return [...(this.dependants.get(uid) ?? [])]
  }

  isOrphan({ metadata: { ownerReferences = [] } }: KubeObject): boolean {
    return ownerReferences.length > 0 && ownerReferences.every(({ uid }) => !this.live.has(uid))
  }

  /** The object's owners that exist. */
  ownersOf({ metadata: { ownerReferences = [] } }: KubeObject): NonNullable<KubeObject['metadata']['ownerReferences']> {
    return ownerReferences.filter(({ uid }) => this.live.has(uid))
  }
}
