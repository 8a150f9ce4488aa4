import fc from 'fast-check'
import { expect, test } from 'vitest'
import { WorkQueue, type WorkQueueOptions } from '../../src/kube/queue.ts'
import { ManualTimers, settled } from '../support/manual-timers.ts'

/** A queue whose handlers end when the test says so. */
const makeQueue = (options: Partial<WorkQueueOptions> = {}) => {
  const timers = new ManualTimers()
  const started: string[] = []
  const failures: string[] = []
  const open = new Map<string, PromiseWithResolvers<void>>()
  const queue = new WorkQueue({
    handle: (key) => {
      started.push(key)
      if (open.has(key)) throw new Error(`${key} is handled twice at a time`)
      const work = Promise.withResolvers<void>()
      open.set(key, work)
      return work.promise
    },
    onFailure: (key, error, count) => failures.push(`${key} ${count} ${(error as Error).message}`),
    timers,
    random: () => 0,
    backoff: { firstMilliseconds: 100, longestMilliseconds: 1000 },
    ...options,
  })
  const end = async (key: string, error?: Error) => {
    const work = open.get(key)!
    open.delete(key)
    if (error) work.reject(error)
    else work.resolve()
    await settled()
  }
  return { queue, timers, started, failures, end, open }
}

const failing = (failures: string[] = []) =>
  makeQueue({
    handle: async (key) => {
      failures.push(key)
      throw new Error('no')
    },
  })

test('nothing is handled before the start', async () => {
  const { queue, started } = makeQueue()
  queue.add('a')
  queue.addAfter('b', 0)
  expect(started).toEqual([])
  queue.start()
  expect(started).toEqual(['a'])
})

test('a key that waits is not queued again', async () => {
  const { queue, started, end } = makeQueue()
  queue.start()
  for (const key of ['a', 'b', 'b', 'c', 'b']) queue.add(key)
  for (const key of ['a', 'b', 'c']) await end(key)
  expect(started).toEqual(['a', 'b', 'c'])
})

test('a key that is added while it is handled is handled once more, afterwards', async () => {
  const { queue, started, end } = makeQueue({ workers: 4 })
  queue.start()
  queue.add('a')
  queue.add('a')
  queue.add('a')
  expect(started).toEqual(['a'])
  await end('a')
  expect(started).toEqual(['a', 'a'])
  await end('a')
  expect(started).toEqual(['a', 'a'])
})

test('no more keys are handled at a time than there are workers', async () => {
  const { queue, open, end } = makeQueue({ workers: 2 })
  queue.start()
  for (const key of ['a', 'b', 'c']) queue.add(key)
  expect([...open.keys()]).toEqual(['a', 'b'])
  await end('b')
  expect([...open.keys()]).toEqual(['a', 'c'])
})

test('what is for now comes before what is for later, also when it was for later first', async () => {
  const { queue, started, end } = makeQueue()
  for (const key of ['a', 'b', 'c']) queue.add(key, 'Later')
  queue.add('d')
  queue.add('c')
  queue.add('c', 'Later')
  queue.start()
  for (const key of ['d', 'c', 'a', 'b']) await end(key)
  expect(started).toEqual(['d', 'c', 'a', 'b'])
})

test('of two times the earlier counts, whichever came first', async () => {
  const { queue, timers, started } = makeQueue({ workers: 4 })
  queue.start()
  queue.addAfter('a', 500)
  queue.addAfter('a', 200)
  queue.addAfter('b', 200)
  queue.addAfter('b', 500)
  await timers.pass(199)
  expect(started).toEqual([])
  await timers.pass(1)
  expect(started).toEqual(['a', 'b'])
  await timers.pass(1000)
  expect(timers.pending).toBe(0)
})

test('a time further away than one timer can wait is kept', async () => {
  const { queue, timers, started } = makeQueue()
  queue.start()
  const year = 365 * 24 * 3600 * 1000
  queue.addAfter('a', year)
  await timers.pass(year - 1)
  expect(started).toEqual([])
  await timers.pass(1)
  expect(started).toEqual(['a'])
})

test('a handler that fails is called again, later and later, up to a bound', async () => {
  const handled: string[] = []
  const { queue, timers, failures } = failing(handled)
  queue.start()
  queue.add('a')
  const waits: number[] = []
  for (let last = 0; waits.length < 6; ) {
    const before = handled.length
    await timers.pass(1)
    if (handled.length > before) waits.push(timers.now() - last)
    if (handled.length > before) last = timers.now()
  }
  expect(waits.slice(1)).toEqual([200, 400, 800, 1000, 1000])
  expect(failures.slice(0, 2)).toEqual(['a 1 no', 'a 2 no'])
})

test('half of the wait at most is random', async () => {
  const { queue, timers, started } = makeQueue({
    handle: () => Promise.reject(new Error('no')),
    random: () => 0.999,
  })
  queue.start()
  queue.add('a')
  await timers.pass(49)
  expect(queue.statistics().retriesTotal).toBe(1)
  await timers.pass(2)
  expect(queue.statistics().retriesTotal).toBe(2)
  expect(started).toEqual([])
})

test('after a success the waits are short again', async () => {
  let fails = true
  const handled: number[] = []
  const { queue, timers } = makeQueue({
    handle: async () => {
      handled.push(timers.now())
      if (fails) throw new Error('no')
    },
  })
  queue.start()
  queue.add('a')
  await timers.pass(700)
  fails = false
  await timers.pass(1000)
  fails = true
  handled.length = 0
  queue.add('a')
  await timers.pass(100)
  expect(handled.map((time) => time - handled[0]!)).toEqual([0, 100])
})

test('what is forgotten waits no more and has no failures', async () => {
  const handled: string[] = []
  const { queue, timers } = failing(handled)
  queue.start()
  queue.add('a')
  queue.addAfter('b', 50)
  await settled()
  queue.forget('a')
  queue.forget('b')
  await timers.pass(10_000)
  expect(handled).toEqual(['a'])
})

test('a handler that throws at once, and a report that throws, end nothing', async () => {
  const handled: string[] = []
  const { queue, timers } = makeQueue({
    handle: (key) => {
      handled.push(key)
      throw new Error('at once')
    },
    onFailure: () => {
      throw new Error('the report too')
    },
  })
  queue.start()
  queue.add('a')
  queue.add('b')
  await timers.pass(150)
  expect(handled).toEqual(['a', 'b', 'a', 'b'])
})

test('stop waits for handlers at work and drops the rest', async () => {
  const { queue, timers, started, end } = makeQueue()
  queue.start()
  queue.add('a')
  queue.add('b')
  queue.addAfter('c', 10)
  let stopped = false
  const stopping = queue.stop().then(() => {
    stopped = true
  })
  queue.add('d')
  await timers.pass(1000)
  expect(stopped).toBe(false)
  await end('a')
  await stopping
  expect(started).toEqual(['a'])
  expect(timers.pending).toBe(0)
})

test('draining handles what is ready, and what was added while it was handled', async () => {
  const { queue, started, end } = makeQueue()
  queue.start()
  queue.add('a')
  queue.add('b')
  queue.add('a')
  queue.addAfter('c', 10)
  const stopping = queue.stop({ drain: true })
  queue.add('d')
  await end('a')
  await end('b')
  await end('a', new Error('fails at the end'))
  await stopping
  expect(started).toEqual(['a', 'b', 'a'])
})

test('statistics tell what waits and for how long', async () => {
  const { queue, timers, end } = makeQueue()
  queue.start()
  queue.add('a')
  queue.add('b', 'Later')
  await timers.pass(2000)
  queue.add('c')
  queue.addAfter('d', 60_000)
  await timers.pass(1000)
  expect(queue.statistics()).toEqual({
    depth: 2,
    oldestAgeSeconds: 3,
    processing: 1,
    delayed: 1,
    addedTotal: 3,
    handledTotal: 0,
    retriesTotal: 0,
    longestRunningSeconds: 3,
  })
  await end('a')
  expect(queue.statistics()).toMatchObject({ depth: 1, processing: 1, handledTotal: 1, longestRunningSeconds: 0 })
})

test('a hundred thousand keys go through in order', async () => {
  let next = 0
  const { queue } = makeQueue({
    workers: 10,
    handle: async (key) => {
      expect(key).toBe(String(next++))
    },
  })
  for (let i = 0; i < 100_000; i++) queue.add(String(i))
  queue.start()
  await queue.stop({ drain: true })
  expect(next).toBe(100_000)
})

/**
 * The promise that reconciling rests on: whatever happens, each key is handled at least once after it was last added
 * (or became due), and never twice at a time.
 */
test('nothing that was added is ever lost', async () => {
  const key = fc.constantFrom('a', 'b', 'c', 'd')
  const step = fc.oneof(
    fc.record({ act: fc.constant('add' as const), key, later: fc.boolean() }),
    fc.record({ act: fc.constant('addAfter' as const), key, milliseconds: fc.integer({ min: 0, max: 500 }) }),
    fc.record({ act: fc.constant('pass' as const), milliseconds: fc.integer({ min: 1, max: 300 }) }),
    fc.record({ act: fc.constant('end' as const), which: fc.nat(), fails: fc.boolean() }),
  )
  const steps = fc.array(step, { maxLength: 60 })
  await fc.assert(
    fc.asyncProperty(steps, fc.integer({ min: 1, max: 3 }), async (steps, workers) => {
      const { queue, timers, end, open, started } = makeQueue({ workers })
      queue.start()
      /** When each key must be handled again at the latest to be up to date. */
      const owed = new Map<string, number>()
      const owe = (key: string, time: number) => owed.set(key, Math.min(owed.get(key) ?? Infinity, time))
      let seen = 0
      const settle = () => {
        for (; seen < started.length; seen++) owed.delete(started[seen]!)
      }
      for (const step of steps) {
        if (step.act === 'add') {
          owed.set(step.key, 0)
          queue.add(step.key, step.later ? 'Later' : 'Now')
        } else if (step.act === 'addAfter') {
          owe(step.key, timers.now() + step.milliseconds)
          const before = started.length
          queue.addAfter(step.key, step.milliseconds)
          if (step.milliseconds > 0) expect(started.length).toBe(before)
        } else if (step.act === 'pass') await timers.pass(step.milliseconds)
        else {
          const key = [...open.keys()][step.which % Math.max(1, open.size)]
          if (key !== undefined) await end(key, step.fails ? new Error('no') : undefined)
          if (key !== undefined && step.fails) owe(key, timers.now() + 1000)
        }
        settle()
        expect(open.size).toBeLessThanOrEqual(workers)
        const isIdle = open.size < workers
        for (const [key, time] of owed) if (isIdle && !open.has(key)) expect(time).toBeGreaterThan(timers.now())
      }
      for (let round = 0; round < 200 && owed.size > 0; round++) {
        for (const key of open.keys().toArray()) await end(key)
        await timers.pass(100)
        settle()
      }
      expect([...owed.keys()]).toEqual([])
      for (const key of open.keys().toArray()) await end(key)
    }),
    { numRuns: 200 },
  )
})
