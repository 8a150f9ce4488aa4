import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { KubeObject } from '../../src/api/object.ts'
import { Mirror } from '../../src/kube/mirror.ts'
import { Store } from '../../src/kube/store.ts'
import { RecordingSink } from '../support/recording-sink.ts'

interface Happening {
  readonly type: 'Put' | 'Gone'
  readonly object: KubeObject
}

/** What happens on a server, with all of its past. */
class Server {
  readonly past: Happening[] = []
  readonly objects = new Map<string, KubeObject>()
  private last = 9_007_199_254_740_990n

  get version(): string {
    return String(this.last)
  }

  put(name: string): void {
    this.last += 1n
    const uid = this.objects.get(name)?.metadata.uid ?? `uid-${this.last}`
    const metadata = { namespace: 'n', name, uid, resourceVersion: this.version }
    const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata }
    this.objects.set(name, object)
    this.past.push({ type: 'Put', object })
  }

  remove(name: string): void {
    const object = this.objects.get(name)
    if (object === undefined) return
    this.last += 1n
    this.objects.delete(name)
    const metadata = { ...object.metadata, resourceVersion: this.version }
    this.past.push({ type: 'Gone', object: { ...object, metadata } })
  }
}

/** Fails where a sink is told what makes no sense. */
class StrictSink extends RecordingSink {
  override put(object: KubeObject): void {
    const before = this.objects.get(`n/${object.metadata.name}`)?.metadata
    if (before !== undefined) {
      expect(object.metadata.uid).toBe(before.uid)
      expect(BigInt(object.metadata.resourceVersion!)).toBeGreaterThan(BigInt(before.resourceVersion!))
    }
    super.put(object)
  }

  override gone(object: { name: string; namespace: string; uid: string }): void {
    expect(this.objects.get(`n/${object.name}`)?.metadata.uid).toBe(object.uid)
    super.gone(object)
  }

  override synced(): void {
    expect(this.isSynced).toBe(false)
    super.synced()
  }
}

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ act: fc.constant('put' as const), name: fc.constantFrom('a', 'b', 'c') }) },
  { weight: 3, arbitrary: fc.record({ act: fc.constant('remove' as const), name: fc.constantFrom('a', 'b', 'c') }) },
  {
    weight: 4,
    arbitrary: fc.record({ act: fc.constant('hear' as const), count: fc.nat({ max: 5 }), echoes: fc.nat({ max: 4 }) }),
  },
  { weight: 1, arbitrary: fc.record({ act: fc.constant('read' as const), breaksOffAfter: fc.nat({ max: 3 }) }) },
)

test('after any interruption a sink knows what the server knows, and has heard of it in an order that makes sense', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const server = new Server()
      const sink = new StrictSink()
      const problems: unknown[] = []
      const mirror = new Mirror(sink, (error) => problems.push(error))
      let heard = 0
      const tell = ({ type, object }: Happening) => (type === 'Put' ? mirror.put(object) : mirror.gone(object))
      const read = () => {
        mirror.beginReading()
        for (const object of server.objects.values()) mirror.put(object)
        mirror.endReading(server.version)
        heard = server.past.length
      }
      read()
      for (const step of steps) {
        if (step.act === 'put') server.put(step.name)
        else if (step.act === 'remove') server.remove(step.name)
        else if (step.act === 'hear') {
          const end = Math.min(heard + step.count, server.past.length)
          for (; heard < end; heard++) tell(server.past[heard]!)
          for (const echo of server.past.slice(Math.max(0, heard - step.echoes), heard)) tell(echo)
        } else {
          mirror.beginReading()
          for (const object of [...server.objects.values()].slice(0, step.breaksOffAfter)) mirror.put(object)
          read()
        }
      }
      for (; heard < server.past.length; heard++) tell(server.past[heard]!)
      expect(problems).toEqual([])
      expect([...sink.objects.values()].map(({ metadata }) => metadata).toSorted(byName)).toEqual(
        [...server.objects.values()].map(({ metadata }) => metadata).toSorted(byName),
      )
    }),
    { numRuns: 500 },
  )
})

const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1)

test('a store that learns from its own writes too loses what was gone before a watch could see it', () => {
  const store = new Store({ transform: (object: KubeObject) => object, indexes: {} })
  const mirror = new Mirror(store, () => {})
  const object = (name: string, version: number): KubeObject => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { namespace: 'n', name, uid: `uid-${name}`, resourceVersion: String(version) },
  })
  mirror.beginReading()
  mirror.put(object('seen', 1))
  mirror.endReading('1')
  store.put(object('missed', 5))
  store.put(object('later', 9))
  mirror.beginReading()
  mirror.put(object('seen', 1))
  mirror.endReading('7')
  expect([...store.list()].map(({ metadata }) => metadata.name)).toEqual(['seen', 'later'])
})
