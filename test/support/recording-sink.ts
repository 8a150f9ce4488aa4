import { type KubeObject, nameKey, type ObjectName } from '../../src/api/object.ts'
import type { WatchSink } from '../../src/kube/cluster.ts'

/** Keeps what a watch delivers: the calls in order, and the objects as they are now. */
export class RecordingSink implements WatchSink {
  readonly calls: string[] = []
  readonly objects = new Map<string, KubeObject>()
  readonly puts: KubeObject[] = []
  isSynced = false

  put(object: KubeObject): void {
    this.calls.push(`put ${object.metadata.name}`)
    this.puts.push(object)
    this.objects.set(nameKey(object.metadata), object)
  }

  gone(object: ObjectName & { readonly uid: string }): void {
    this.calls.push(`gone ${object.name}`)
    this.objects.delete(nameKey(object))
  }

  synced(): void {
    this.calls.push('synced')
    this.isSynced = true
  }

  /** Names of the objects that are there now. */
  names(): string[] {
    return [...this.objects.values()].map(({ metadata }) => metadata.name).sort()
  }
}
