import { describe, expect, test } from 'vitest'
import { decide } from '../src/core/authorize/decide.ts'
import type { Authorizer, RequestFacts } from '../src/core/authorize/decision.ts'
import { createLog } from '../src/runtime/log.ts'
import { createMetrics } from '../src/runtime/metrics.ts'
import { originalRequest } from '../src/sidecar/decisions/original-request.ts'
import type { RequestHead } from '../src/sidecar/http1/request-head.ts'
import { SidecarMetrics } from '../src/sidecar/policy-metrics.ts'
import { PolicyGate } from '../src/sidecar/proxy.ts'
import { RefusalLog } from '../src/sidecar/refusal-log.ts'
import { setOf } from './support/asked.ts'
import { keyOf } from './support/verification.ts'

const resources = [{ name: 'model', from: { bodyPointer: '/model' }, required: false }]
const keys = [{ key: keyOf(1), access: [{ interfaces: [0], resources: [[0, ['m']] as const] }] }]

/** The request as a gateway tells of it: without a word on its body. */
const told = originalRequest(
  {
    fields: ['X-Method', 'POST', 'X-Uri', '/chat', 'Host', 'a', 'X-API-Key', keyOf(1)],
  } as unknown as RequestHead,
  { method: 'x-method', target: 'x-uri', host: 'host', scheme: undefined },
) as RequestFacts

function gateOf(spec: object) {
  const set = setOf({ resources, ...spec }, keys)
  const judge: Authorizer['decide'] = (facts, body) => decide(set, facts, 1_780_000_000, { body })
  const metrics = new SidecarMetrics(createMetrics({ process: false }))
  const gate = new PolicyGate({
    authorizer: { decide: judge, consider: judge, stillAllowed: () => true },
    currentSet: () => set,
    metrics: metrics.ofPolicy('shop/orders'),
    refusalLog: new RefusalLog(createLog({ level: 'silent' }), () => 0),
    clock: () => 0,
  })
  return { gate, metrics }
}

describe('a gateway that shows no body', () => {
  test('is answered with no where something hangs on the body', async () => {
    const { gate, metrics } = gateOf({})
    expect(gate.judge(told)).toMatchObject({ allow: false, reason: 'BodyNotInspectable' })
    const json = { ...told, fields: [...told.fields, 'Content-Type', 'application/json'] }
    expect(gate.judge(json)).toMatchObject({ allow: false, reason: 'BodyNotInspectable', status: 403 })
    expect(gate.judge(json)).not.toHaveProperty('body')
    expect(await metrics.text()).toContain('decision="refuse",reason="BodyNotInspectable"} 3')
  })

  test('is answered with yes where it has the body and shows it', () => {
    const json = { ...told, fields: [...told.fields, 'Content-Type', 'application/json'] }
    expect(gateOf({}).gate.judge(json, new Map([['/model', 'm']]))).toMatchObject({ allow: true })
  })

  test('is answered with yes in mode Audit, and counted', async () => {
    const { gate, metrics } = gateOf({ mode: 'Audit' })
    expect(gate.judge(told)).toMatchObject({ allow: true, audited: { reason: 'BodyNotInspectable' } })
    expect(await metrics.text()).toContain('decision="audit",reason="BodyNotInspectable"} 1')
  })
})
