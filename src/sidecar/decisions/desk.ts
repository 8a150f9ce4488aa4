import type { Refused, RequestFacts } from '../../core/authorize/decision.ts'
import type { Log } from '../../runtime/log.ts'
import type { PolicyGate } from '../proxy.ts'
import type { RefusalLog } from '../refusal-log.ts'

/** Why a question is answered with no before any policy is asked. The same words in logs and metrics. */
export type Unanswerable = 'PeerNotTrusted' | 'QuestionMalformed' | 'PolicyUnknown'

export interface DeskOptions {
  /** By `namespace/name`. */
  readonly gates: ReadonlyMap<string, PolicyGate>
  readonly unanswerable: (reason: Unanswerable) => void
  readonly refusalLog: RefusalLog
  readonly log: Log
}

/** Where questions of gateways come together: finds the policy that is meant, and keeps account of what is none. */
export class DecisionDesk {
  private readonly options: DeskOptions

  constructor(options: DeskOptions) {
    this.options = options
  }

  /** @param policy `namespace/name`; undefined for the only one there is */
  gateOf(policy: string | undefined): PolicyGate | undefined {
    const { gates } = this.options
    if (policy !== undefined) return gates.get(policy)
    return gates.size === 1 ? [...gates.values()][0] : undefined
  }

  note(reason: Unanswerable, peer: string | undefined): void {
    this.options.unanswerable(reason)
    this.options.refusalLog.note({ reason, keyId: undefined, method: undefined, target: undefined, peer })
  }

  /** A defect of ours: whoever asked is answered with no. */
  crashed(error: unknown): void {
    this.options.log.error('A decision was refused because of an unexpected error', { error })
  }
}

/** A request that a policy is not asked about, for what it looks like to others. */
export function refuseMalformed(gate: PolicyGate, facts: RequestFacts): Refused {
  const refused: Refused = { allow: false, reason: 'RequestMalformed' }
  gate.note(refused, facts)
  return refused
}
