import { describe, expect, test } from 'vitest'
import type { Refused } from '../src/core/authorize/decision.ts'
import { createLog } from '../src/runtime/log.ts'
import { plainAnswer, refusalsOf } from '../src/sidecar/refusal.ts'
import { RefusalLog } from '../src/sidecar/refusal-log.ts'
import { policyOf } from './support/verification.ts'

const { document } = policyOf({})
const refuse = (reason: Refused['reason'], more: Partial<Refused> = {}): Refused => ({ allow: false, reason, ...more })
const key = { keyId: 'k', name: 'n', namespace: 's', roles: [], notBefore: 0, notAfter: 0, enabled: true }

describe('a refusal on the wire', () => {
  test.each<[Refused['reason'], number]>([
    ['RequestMalformed', 400],
    ['PolicyUnavailable', 503],
    ['HostUnknown', 421],
    ['PathDenied', 403],
    ['KeyMissing', 401],
    ['KeyAmbiguous', 401],
    ['KeyMalformed', 401],
    ['KeyUnknown', 401],
    ['PolicySuspended', 403],
    ['KeyDisabled', 401],
    ['KeyExpired', 401],
    ['KeyNotYetValid', 401],
    ['AddressUnknown', 403],
    ['AddressNotAllowed', 403],
    ['InterfaceUnknown', 403],
    ['InterfaceNotAllowed', 403],
    ['ResourceMissing', 403],
    ['ResourceNotAllowed', 403],
    ['BodyNotInspectable', 403],
    ['RateLimited', 429],
  ])('for %s is %d', (reason, status) => {
    const answer = refusalsOf(document).answerTo(refuse(reason, { credentialPresented: true, key }))
    expect(answer.status).toBe(status)
    expect(JSON.parse(answer.body)).toEqual({ type: 'about:blank', title: answer.reason, status })
    expect(answer.fieldLines).toContain('Content-Type: application/problem+json\r\nCache-Control: no-store\r\n')
  })

  test('is the same for whatever is wrong with a key', () => {
    const refusals = refusalsOf(document)
    const reasons = [
      'KeyAmbiguous',
      'KeyMalformed',
      'KeyUnknown',
      'KeyDisabled',
      'KeyExpired',
      'KeyNotYetValid',
    ] as const
    const answers = reasons.map((reason) => refusals.answerTo(refuse(reason, { credentialPresented: true })))
    expect(new Set(answers.map((answer) => JSON.stringify(answer)))).toHaveLength(1)
  })

  test('challenges at the places where the policy looks', () => {
    const refusals = refusalsOf(document)
    const common =
      'Basic realm="postern", charset="UTF-8"\r\nWWW-Authenticate: ApiKey realm="postern"\r\nVary: Authorization, X-API-Key\r\n'
    expect(refusals.answerTo(refuse('KeyMissing')).fieldLines).toContain(
      `WWW-Authenticate: Bearer realm="postern"\r\nWWW-Authenticate: ${common}`,
    )
    expect(refusals.answerTo(refuse('KeyUnknown', { credentialPresented: true })).fieldLines).toContain(
      `WWW-Authenticate: Bearer realm="postern", error="invalid_token"\r\nWWW-Authenticate: ${common}`,
    )
    const query = refusalsOf(policyOf({ credentials: [{ type: 'Query', name: 'api_key' }] }).document)
    const { fieldLines } = query.answerTo(refuse('KeyMissing'))
    expect(fieldLines).toContain('WWW-Authenticate: ApiKey realm="postern"\r\n')
    expect(fieldLines).not.toMatch(/Bearer|Basic|Vary/)
  })

  test('says when to come again, and which methods there are', () => {
    expect(refusalsOf(undefined).answerTo(refuse('PolicyUnavailable')).fieldLines).toContain('Retry-After: 1\r\n')
    const { status, fieldLines } = refusalsOf(document).answerTo(refuse('RequestMalformed', { status: 405 }))
    expect(status).toBe(405)
    expect(fieldLines).toContain('Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS,')
    expect(plainAnswer(400).fieldLines).not.toMatch(/Retry-After|Allow/)
  })
})

describe('refusals in the log', () => {
  const recorded = () => {
    const lines: string[] = []
    const time = { now: 0 }
    const log = createLog({ level: 'info', sink: { write: (line) => lines.push(line) } })
    return { lines, time, refusals: new RefusalLog(log, () => time.now) }
  }
  const unknown = {
    reason: 'KeyUnknown',
    keyId: undefined,
    method: 'GET',
    target: '/a?api_key=secret',
    peer: '10.0.0.1',
  }

  test('are written without query and control characters', () => {
    const { lines, refusals } = recorded()
    refusals.note({ ...unknown, target: `/\x1b[2J\n\xe9${'a'.repeat(999)}?b=secret` })
    const line = JSON.parse(lines[0]!)
    expect(line).toMatchObject({ message: 'Refused a request', reason: 'KeyUnknown', method: 'GET', peer: '10.0.0.1' })
    expect(line.path).toBe(`/?[2J??${'a'.repeat(249)}`)
    expect(lines.join()).not.toContain('secret')
  })

  test('are one in ten seconds for each key and reason, with the number left out', () => {
    const { lines, time, refusals } = recorded()
    for (let count = 0; count < 5; count += 1) refusals.note(unknown)
    refusals.note({ ...unknown, reason: 'KeyMissing' })
    refusals.note({ ...unknown, keyId: 'other' })
    expect(lines).toHaveLength(3)
    time.now = 10_000
    refusals.note(unknown)
    expect(lines).toHaveLength(4)
    expect(JSON.parse(lines[3]!)).toMatchObject({ omitted: 4 })
  })

  test('tell of an application that fails, as seldom', () => {
    const { lines, refusals } = recorded()
    for (let count = 0; count < 5; count += 1) refusals.noteFailure('Malformed', 'the status line is not well formed')
    refusals.noteFailure('Closed', 'ECONNRESET')
    expect(lines.map((line) => JSON.parse(line).failure)).toEqual(['Malformed', 'Closed'])
    expect(JSON.parse(lines[0]!)).toMatchObject({ level: 'warn', detail: 'the status line is not well formed' })
  })

  test('do not grow without bound', () => {
    const { lines, refusals } = recorded()
    for (let count = 0; count < 5000; count += 1) refusals.note({ ...unknown, keyId: String(count) })
    refusals.note({ ...unknown, keyId: '4999' })
    expect(lines).toHaveLength(5000)
  })
})
