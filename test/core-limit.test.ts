import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Limiter, type Spending, spend } from '../src/core/authorize/limit.ts'

const start = 1_780_000_000

/** Asks at these times, and says which were granted. */
function ask(limit: { requests: number; perSeconds: number; burst?: number }, times: readonly number[]): boolean[] {
  let spending: Spending | undefined
  return times.map((time) => {
    const verdict = spend(limit, spending, time)
    spending = verdict.spending
    return verdict.granted
  })
}

describe('a bucket', () => {
  test('grants a burst at once, and then one request at a time', () => {
    const limit = { requests: 2, perSeconds: 1, burst: 3 }
    expect(ask(limit, [0, 0, 0, 0, 0.4, 0.5, 0.5, 1])).toEqual([true, true, true, false, false, true, false, true])
  })

  test('grants as many at once as requests where no burst is said', () => {
    expect(ask({ requests: 2, perSeconds: 60 }, [0, 0, 0])).toEqual([true, true, false])
  })

  test('is not emptied by refusals', () => {
    const limit = { requests: 1, perSeconds: 10 }
    expect(ask(limit, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])).toEqual([true, ...Array(9).fill(false), true])
  })

  test('says what remains, and when to come again', () => {
    const limit = { requests: 1, perSeconds: 10, burst: 2 }
    const first = spend(limit, undefined, start)
    expect(first.allowance).toEqual({ limit, remaining: 1, resetSeconds: 10 })
    const second = spend(limit, first.spending, start + 1)
    expect(second.allowance).toEqual({ limit, remaining: 0, resetSeconds: 9 })
    const third = spend(limit, second.spending, start + 2.5)
    expect(third).toMatchObject({ granted: false, allowance: { remaining: 0, resetSeconds: 8 } })
    expect(spend(limit, third.spending, start + 2.5 + 8).granted).toBe(true)
  })

  const limits = fc.record({
    requests: fc.integer({ min: 1, max: 1000 }),
    perSeconds: fc.integer({ min: 1, max: 3600 }),
    burst: fc.integer({ min: 1, max: 1000 }),
  })
  const pauses = fc.array(fc.double({ min: 0, max: 10, noNaN: true }), { maxLength: 200 })

  test('never grants more than a burst and what time brings', () => {
    fc.assert(
      fc.property(limits, pauses, (limit, between) => {
        let now = start
        const granted: number[] = []
        let spending: Spending | undefined
        for (const pause of between) {
          now += pause
          const verdict = spend(limit, spending, now)
          spending = verdict.spending
          if (verdict.granted) granted.push(now)
        }
        for (const [first, from] of granted.entries()) {
          for (const [last, until] of granted.entries()) {
            if (last < first) continue
            const most = limit.burst + ((until - from) * limit.requests) / limit.perSeconds
            expect(last - first + 1).toBeLessThanOrEqual(most + 0.001)
          }
        }
      }),
      { numRuns: 50 },
    )
  })

  test('grants the next request when it said it would', () => {
    fc.assert(
      fc.property(limits, pauses, (limit, between) => {
        let now = start
        let spending: Spending | undefined
        for (const pause of between) {
          now += pause
          const verdict = spend(limit, spending, now)
          spending = verdict.spending
          if (!verdict.granted) expect(spend(limit, spending, now + verdict.allowance.resetSeconds).granted).toBe(true)
        }
      }),
    )
  })

  test('a clock that goes back locks nobody out, and brings no more than a burst', () => {
    const limit = { requests: 1, perSeconds: 1, burst: 5 }
    const before = Array.from({ length: 5 }, () => start)
    expect(ask(limit, [...before, start - 86_400, start - 86_399])).toEqual([...before.map(() => true), false, true])
  })

  test('a clock that goes back takes nothing away', () => {
    const limit = { requests: 1, perSeconds: 1, burst: 3 }
    expect(ask(limit, [start, start - 86_400, start - 86_400, start - 86_400])).toEqual([true, true, true, false])
  })

  test('a clock that goes ahead brings a burst and no more', () => {
    const limit = { requests: 1, perSeconds: 1, burst: 5 }
    const after = Array.from({ length: 7 }, () => start + 1e9)
    expect(ask(limit, [start, ...after]).filter(Boolean)).toHaveLength(6)
  })
})

describe('the buckets of all keys', () => {
  const limit = { requests: 1, perSeconds: 60 }

  test('are kept apart by key id', () => {
    const limiter = new Limiter()
    expect(['a', 'a', 'b'].map((keyId) => limiter.spend(keyId, limit, start).granted)).toEqual([true, false, true])
  })

  test('follow a limit that changes', () => {
    const limiter = new Limiter()
    expect(limiter.spend('a', { requests: 10, perSeconds: 1 }, start).granted).toBe(true)
    expect(limiter.spend('a', { requests: 1, perSeconds: 1 }, start).granted).toBe(false)
    expect(limiter.spend('a', { requests: 3, perSeconds: 1 }, start).granted).toBe(true)
  })

  test('are forgotten when they are full, and not before', () => {
    const limiter = new Limiter()
    for (let number = 0; number < 5000; number += 1) limiter.spend(`early ${number}`, limit, start)
    expect(limiter.size).toBe(5000)
    for (let number = 0; number < 20_000; number += 1) limiter.spend(`late ${number}`, limit, start + 60 + number)
    expect(limiter.size).toBeLessThan(5000)
    limiter.spend('kept', limit, start + 30_000)
    for (let number = 0; number < 20_000; number += 1) limiter.spend(`last ${number}`, limit, start + 30_001)
    expect(limiter.spend('kept', limit, start + 30_002).granted).toBe(false)
  })
})
