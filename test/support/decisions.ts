/** A desk that decides by a set in memory, for tests of what gateways are answered. */

import { decide } from '../../src/core/authorize/decide.ts'
import type { Authorizer } from '../../src/core/authorize/decision.ts'
import { openSet, type VerificationSet } from '../../src/core/authorize/set.ts'
import type { Policy } from '../../src/core/policy.ts'
import { createLog } from '../../src/runtime/log.ts'
import { createMetrics } from '../../src/runtime/metrics.ts'
import { DecisionDesk } from '../../src/sidecar/decisions/desk.ts'
import { SidecarMetrics } from '../../src/sidecar/policy-metrics.ts'
import { PolicyGate } from '../../src/sidecar/proxy.ts'
import { RefusalLog } from '../../src/sidecar/refusal-log.ts'
import { filesOf, published, signer, type TestKey } from './verification.ts'

export interface DeskInMemory {
  readonly desk: DecisionDesk
  /** Reasons of what was answered without asking a policy. */
  readonly unanswerable: string[]
  /** What was logged, as JSON. */
  readonly lines: string[]
}

/** @param sets keys by policy; undefined where nothing was loaded yet */
export function deskOf(
  sets: readonly { readonly policy: Policy; readonly keys: readonly TestKey[] | undefined }[],
): DeskInMemory {
  const lines: string[] = []
  const unanswerable: string[] = []
  const log = createLog({ level: 'debug', sink: { write: (line) => lines.push(line) } })
  const metrics = new SidecarMetrics(createMetrics({ process: false }))
  let time = 0
  // Every refusal is logged: none is left out for being like another.
  const clock = () => (time += 60_000)
  const gates = new Map(
    sets.map(({ policy, keys }) => {
      const name = `${policy.namespace}/${policy.name}`
      const set = keys && open(policy, keys)
      const judge: Authorizer['decide'] = (facts, body) => decide(set, facts, 1_780_000_000, { body })
      const gate = new PolicyGate({
        authorizer: { decide: judge, consider: judge, stillAllowed: () => true },
        currentSet: () => set,
        metrics: metrics.ofPolicy(name),
        refusalLog: new RefusalLog(log, clock),
        clock,
      })
      return [name, gate] as const
    }),
  )
  const desk = new DecisionDesk({
    gates,
    unanswerable: (reason) => unanswerable.push(reason),
    refusalLog: new RefusalLog(log, clock),
    log,
  })
  return { desk, unanswerable, lines }
}

function open(policy: Policy, keys: readonly TestKey[]): VerificationSet {
  const expected = { namespace: policy.namespace, policy: policy.name, publicKeys: new Set([signer.publicKey]) }
  const steps = openSet(filesOf(published(policy, keys)), expected)
  for (;;) {
    const step = steps.next()
    if (step.done !== true) continue
    if (step.value.outcome !== 'opened') throw new Error(JSON.stringify(step.value))
    return step.value.set
  }
}
