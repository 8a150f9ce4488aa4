import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { RecentlyUsed } from '../src/core/recently-used.ts'

test('what was used last is remembered, and never more than twice the limit', () => {
  const step = fc.record({ key: fc.nat(30).map(String), set: fc.boolean() })
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 8 }), fc.array(step, { maxLength: 100 }), (limit, steps) => {
      const memory = new RecentlyUsed<number>(limit)
      const model = new Map<string, number>()
      const used: string[] = []
      for (const [at, { key, set }] of steps.entries()) {
        const found = set ? undefined : memory.get(key)
        if (found !== undefined) expect(found).toBe(model.get(key))
        if (set) {
          memory.set(key, at)
          model.set(key, at)
        }
        if (set || found !== undefined) used.push(key)
        const last = [...new Set(used.toReversed())].slice(0, limit)
        // Looking would itself be a use: so the model is asked of a copy of what happened, at the end alone.
        if (at === steps.length - 1)
          expect(last.map((name) => memory.get(name))).toEqual(last.map((name) => model.get(name)))
      }
      expect(
        Array.from({ length: 31 }, (_, name) => memory.get(String(name))).filter(Boolean).length,
      ).toBeLessThanOrEqual(2 * limit)
    }),
    { numRuns: 200 },
  )
})

test('a key that is longer than any in use is not remembered', () => {
  const memory = new RecentlyUsed<number>(10)
  memory.set('x'.repeat(256), 1)
  memory.set('x'.repeat(257), 2)
  expect([memory.get('x'.repeat(256)), memory.get('x'.repeat(257))]).toEqual([1, undefined])
})

test('a key that was cut out of a text does not keep the text', () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const memory = new RecentlyUsed<number>(1000)
  collect()
  const before = process.memoryUsage().heapUsed
  for (let number = 0; number < 1000; number++) {
    const head = Buffer.alloc(50_000, `${number}/`).toString('latin1')
    memory.set(head.slice(100, 140), number)
  }
  collect()
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(10_000_000)
  expect(memory.get(Buffer.alloc(40, '999/').toString('latin1'))).toBe(999)
})
