import { randomUUID } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { KubeObject } from '../../src/api/object.ts'
import { ClusterError } from '../../src/kube/cluster.ts'
import { MemoryCluster } from '../../src/kube/memory.ts'
import { mainPart } from '../../src/kube/parts.ts'
import { ownResources } from '../../src/kube/resources.ts'
import type { ControlPlane } from '../controlplane/access.ts'
import { whyNoControlPlane } from '../controlplane/find.ts'
import { useControlPlane } from '../controlplane/use.ts'
import type { World } from './contract.ts'
import { gadgetSchema, gadgets } from './gadget.ts'
import { realWorld } from './real-world.ts'

const reason = whyNoControlPlane()
const plane = reason === undefined ? await useControlPlane() : (undefined as unknown as ControlPlane)

const few = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined, freq: 2 })
const text = fc.constantFrom('1', '2')
const names = fc.subarray(['a', 'b', 'c'])
const map = fc.dictionary(fc.constantFrom('a', 'b', 'c'), text, { minKeys: 1, maxKeys: 3 })
const conditions = names.chain((types) =>
  fc.tuple(...types.map((type) => fc.record({ type: fc.constant(type), status: few(text), message: few(text) }))),
)
const spec = fc.record({ size: few(fc.constantFrom(1, 2)), color: few(text), tags: few(names), steps: few(names) })
/** With a label always: what nobody owns anything of is treated oddly by the API server, and is nothing to rely on. */
const main = fc.record({ metadata: fc.record({ labels: map, annotations: few(map) }), spec: few(spec) })
const status = fc.record({ seen: few(fc.constantFrom(1, 2)), conditions: few(conditions) })

type Step =
  | {
      readonly act: 'apply' | 'put' | 'replace' | 'create'
      readonly main: { metadata: object; spec: object | undefined }
    }
  | { readonly act: 'status'; readonly status: object }
  | { readonly act: 'remove' }
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ act: fc.constantFrom('apply' as const, 'put' as const), main }) },
  { weight: 1, arbitrary: fc.record({ act: fc.constantFrom('replace' as const, 'create' as const), main }) },
  { weight: 3, arbitrary: fc.record({ act: fc.constant('status' as const), status }) },
  { weight: 1, arbitrary: fc.constant({ act: 'remove' as const }) },
)

/** What came of a step, as far as it must be the same everywhere. */
interface Outcome {
  readonly code: string
  readonly object: unknown
  readonly isChanged: boolean
}

const take = async (world: World, namespace: string, step: Step): Promise<Outcome> => {
  const { cluster } = world
  const name = { namespace, name: 'a' }
  const before = await cluster.get(gadgets, name)
  const object = (rest: object, metadata: object = {}): KubeObject =>
    JSON.parse(
      JSON.stringify({
        apiVersion: gadgets.apiVersion,
        kind: gadgets.kind,
        ...rest,
        metadata: { ...name, ...metadata },
      }),
    ) as KubeObject
  const act = async (): Promise<unknown> => {
    if (step.act === 'remove') return cluster.remove(gadgets, name)
    if (step.act === 'status') return cluster.applyStatus(object({ status: step.status }))
    const whole = object(step.main, step.main.metadata)
    if (step.act === 'replace') return before && world.replace(whole)
    return step.act === 'put' ? world.put(whole) : cluster[step.act](whole)
  }
  const isTheirs = step.act === 'put' || step.act === 'replace'
  const code = await act().then(
    () => 'ok',
    (error: unknown) => (error instanceof ClusterError && !isTheirs ? error.code : 'refused'),
  )
  const after = await cluster.get(gadgets, name)
  return {
    code,
    object: after && inOrder({ ...mainPart(after), status: after.status, generation: after.metadata.generation }),
    isChanged: before?.metadata.resourceVersion !== after?.metadata.resourceVersion,
  }
}

/** Lists that merge have no order that anybody relies on. */
const inOrder = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map((item) => JSON.stringify(inOrder(item))).sort()
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((name) => [name, inOrder((value as Record<string, unknown>)[name])]),
  )
}

const memoryWorld = (): World => {
  const resources = [...ownResources, gadgets]
  const cluster = new MemoryCluster({ now: () => new Date(), newUid: randomUUID, resources, schemas: [gadgetSchema] })
  return {
    cluster,
    newNamespace: async () => 'n',
    put: (object) => cluster.put(object),
    replace: (object) => cluster.replace(object),
    delete: (resource, name) => cluster.delete(resource, name),
    notes: async () => [],
    collectsGarbage: true,
  }
}

describe.skipIf(reason !== undefined)(`a cluster in memory and a real API server${reason ? `: ${reason}` : ''}`, () => {
  test('do the same, whatever is done', async () => {
    const real = await realWorld(plane)
    try {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 12 }), async (steps) => {
          const memory = memoryWorld()
          const namespace = await real.newNamespace()
          for (const step of steps) {
            const expected = await take(real, namespace, step)
            const actual = await take(memory, 'n', step)
            if (!isDeepStrictEqual(actual, expected)) expect(actual, JSON.stringify(step)).toEqual(expected)
          }
        }),
        { numRuns: 8, interruptAfterTimeLimit: 60_000 },
      )
    } finally {
      await real.cluster.close()
    }
  }, 120_000)
})
