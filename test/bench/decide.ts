import { randomBytes } from 'node:crypto'
import { decide } from '../../src/core/authorize/decide.ts'
import type { RequestFacts } from '../../src/core/authorize/decision.ts'
import { mintKey } from '../../src/core/key.ts'
import { loadSet, makeSet } from './sets.ts'

const spec = {
  interfaces: [
    { name: 'read', match: [{ methods: ['GET'], paths: ['/orders', '/orders/{id}'] }] },
    { name: 'write', match: [{ methods: ['POST', 'PUT', 'DELETE'], paths: ['/orders/**'] }] },
  ],
}
const rounds = 5
const decisionsPerRound = 100_000

/** What a decision costs, by the number of keys, and what loading them costs. */
export async function decideBench(): Promise<object[]> {
  const rows = []
  let oneKey: number | undefined
  for (const count of [1, 100, 10_000, 100_000]) {
    const made = makeSet(count, spec)
    globalThis.gc?.()
    const before = process.memoryUsage()
    const { set, totalMilliseconds, longestStepMilliseconds } = loadSet(made)
    globalThis.gc?.()
    const after = process.memoryUsage()
    const bytes = after.heapUsed + after.external - before.heapUsed - before.external
    const now = Date.now() / 1000
    const facts = (key: string): RequestFacts => ({
      method: 'GET',
      target: '/orders/4711',
      fields: ['Host', 'orders.shop.svc', 'User-Agent', 'bench/1.0', 'Accept', '*/*', 'Authorization', `Bearer ${key}`],
      peer: '10.1.2.3',
    })
    const measure = (keys: readonly string[], allow: boolean): number => {
      const inquiries = keys.map(facts)
      for (const inquiry of inquiries)
        if (decide(set, inquiry, now).allow !== allow) throw new Error('the decision is wrong')
      const costs = Array.from({ length: rounds }, () => {
        const begun = performance.now()
        for (let index = 0; index < decisionsPerRound; index++) decide(set, inquiries[index % inquiries.length]!, now)
        return ((performance.now() - begun) * 1000) / decisionsPerRound
      })
      return costs.sort((a, b) => a - b)[Math.floor(rounds / 2)]!
    }
    const one = measure([made.keys[count >> 1]!], true)
    oneKey ??= one
    rows.push({
      keys: count,
      'hit, one key (µs)': round(one),
      'of 1 key': round(one / oneKey),
      'hit, 5000 keys (µs)': round(measure(made.keys.slice(0, 5000), true)),
      'miss (µs)': round(
        measure(
          Array.from({ length: 1000 }, () => mintKey('pstn', randomBytes)),
          false,
        ),
      ),
      'expired (µs)': round(measure([made.expiredKey], false)),
      'load (ms)': round(totalMilliseconds),
      'longest step (ms)': round(longestStepMilliseconds),
      'bytes a key': Math.round(bytes / count),
    })
  }
  return rows
}

const round = (value: number): number => Math.round(value * 100) / 100
