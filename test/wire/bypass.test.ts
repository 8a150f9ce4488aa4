import { readFile } from 'node:fs/promises'
import { beforeAll, describe, expect, test } from 'vitest'
import { defaultLimits } from '../../src/sidecar/http1/limits.ts'
import { type BypassResults, playCases } from './bypass.ts'
import { contexts, contextsToCome } from './bypass-contexts.ts'
import type { BypassCase } from './bypass-judge.ts'
import { decisionContexts } from './decision-contexts.ts'

const data = async (name: string) =>
  JSON.parse(await readFile(new URL(`../data/${name}.json`, import.meta.url), 'utf8')) as unknown
const cases = (await data('bypass-cases')) as readonly BypassCase[]
const described = (await data('bypass-contexts')) as { contexts: Readonly<Record<string, string>> }

// What is judged here are decisions; how long they take on a busy machine is not.
const allowanceMilliseconds = 10_000

describe('the bypass cases', () => {
  let results: BypassResults
  beforeAll(async () => {
    results = await playCases(cases, { allowanceMilliseconds })
  })

  test('find no way around the sidecar', () => {
    expect(results.failed).toEqual([])
  })

  test('are played, but for those that need what is not there yet', () => {
    expect(results.passed).toHaveLength(243)
    expect(new Set(results.skipped.map(({ needs }) => needs))).toEqual(
      new Set(['upgrades', 'rules on bodies', 'the PROXY protocol', 'h2']),
    )
    expect(Object.keys({ ...contexts, ...decisionContexts, ...contextsToCome }).toSorted()).toEqual(
      Object.keys(described.contexts).toSorted(),
    )
  })

  test('wait for deadlines that are as long as they should be', () => {
    // The runner shortens them: slow-001 asks for 15 seconds, slow-005 for 75.
    expect(defaultLimits.headSeconds).toBeLessThan(15)
    expect(defaultLimits.idleSeconds).toBeLessThan(75)
  })
})

describe('the runner', () => {
  const one = (more: Partial<BypassCase>): BypassCase => ({
    id: 'x-001',
    class: 'control',
    transport: 'http1',
    raw_request: 'GET /app/x HTTP/1.1\r\nHost: {HOST}\r\nX-API-Key: {KEY}\r\nConnection: close\r\n\r\n',
    policy_context: 'P_SCOPED',
    expected: 'allow',
    ...more,
  })
  const admin = 'GET /admin/x HTTP/1.1\r\nHost: {HOST}\r\nX-API-Key: {KEY}\r\nConnection: close\r\n\r\n'

  test('sees what differs', async () => {
    const differing = [
      one({ id: 'status', expected: '401' }),
      one({ id: 'deny', expected: 'deny' }),
      one({ id: 'two', expected: 'allow,allow' }),
      one({ id: 'close', expected: 'close' }),
      one({ id: 'allow', raw_request: admin }),
      one({ id: 'path', assert: { upstream_path: '/app/y' } }),
      one({ id: 'absent', assert: { upstream_absent_headers: ['HOST'] } }),
      one({ id: 'present', assert: { upstream_present_headers: ['x-other'] } }),
      one({ id: 'equals', assert: { upstream_header_equals: { 'x-auth-subject': 'admin' } } }),
      one({ id: 'containing', assert: { upstream_header_not_containing: { 'x-auth-subject': '{SUBJECT}' } } }),
      one({ id: 'count', assert: { upstream_requests: 0 } }),
      one({ id: 'to', assert: { no_request_to: '/app' } }),
      one({ id: 'terminated', assert: { upstream_body_terminated: false } }),
      one({ id: 'response', assert: { response_headers: ['www-authenticate'] } }),
      one({ id: 'time', assert: { max_ms: -allowanceMilliseconds } }),
    ]
    const results = await playCases([...differing, one({})], { allowanceMilliseconds })
    expect(results.failed.map(({ id }) => id)).toEqual(differing.map(({ id }) => id))
    expect(results.passed).toEqual(['x-001'])
  })

  test.each<[string, Partial<BypassCase>]>([
    ['unknown policy_context P_NONE', { policy_context: 'P_NONE' }],
    ['unknown assert upstream_colour', { assert: { upstream_colour: 'red' } }],
    ['unknown action PRAY', { raw_request: '<<<PRAY>>>' }],
  ])('refuses an %s', async (message, more) => {
    await expect(playCases([one(more)])).rejects.toThrow(message)
  })
})
