import type { Allowed, Authorizer, Decision, Refused, RequestFacts } from '../core/authorize/decision.ts'
import type { Guard } from '../core/authorize/guard.ts'
import type { VerificationSet } from '../core/authorize/set.ts'
import type { Answer, Failure, Gate } from './http1/gate.ts'
import type { RequestHead } from './http1/request-head.ts'
import type { PolicyMetrics } from './policy-metrics.ts'
import { plainAnswer, type Refusals, refusalsOf } from './refusal.ts'
import type { RefusalLog } from './refusal-log.ts'

const statusOfFailure: Readonly<Record<Failure, number>> = {
  BodyMalformed: 400,
  BodyStalled: 408,
  Unreachable: 503,
  Overloaded: 503,
  Closed: 502,
  Malformed: 502,
  TimedOut: 504,
}

/** Before there is a set: what the data path needs to know of the application, though nothing is let through. */
const upstreamBeforeSet = { timeoutSeconds: 60, maxConnections: 1 }

export interface PolicyGateOptions {
  readonly authorizer: Authorizer
  /** The set by which the authorizer decides at the moment. */
  readonly currentSet: () => VerificationSet | undefined
  readonly metrics: PolicyMetrics
  readonly refusalLog: RefusalLog
  /** Milliseconds of a monotonic clock. */
  readonly clock: () => number
}

/** One request before one policy: facts, decision, and what becomes of it on the wire. */
export class PolicyGate implements Gate {
  private readonly options: PolicyGateOptions
  private refusals: Refusals = refusalsOf(undefined)
  private refusalsFor: VerificationSet | undefined

  constructor(options: PolicyGateOptions) {
    this.options = options
  }

  get upstream(): Gate['upstream'] {
    return this.options.currentSet()?.guard.document.upstream ?? upstreamBeforeSet
  }

  /** The policy as it decides at the moment; undefined as long as no set was loaded. */
  get guard(): Guard | undefined {
    return this.options.currentSet()?.guard
  }

  admit({ method, target, fields }: RequestHead, peer: string | undefined): Allowed | Answer {
    const decision = this.judge({ method, target, fields, peer })
    return decision.allow ? decision : this.answerTo(decision)
  }

  /** Decides, counts and logs. */
  judge(facts: RequestFacts): Decision {
    const { authorizer, metrics, clock } = this.options
    const startedAt = clock()
    const decision = authorizer.decide(facts)
    metrics.decisionSeconds.observe((clock() - startedAt) / 1000)
    if (decision.allow) {
      metrics.allowed(decision.key === undefined)
      return decision
    }
    this.note(decision, facts)
    return decision
  }

  /** Counts and logs a refusal. */
  note({ reason, key }: Refused, { method, target, peer }: RequestFacts): void {
    const { metrics, refusalLog } = this.options
    metrics.refused(reason)
    refusalLog.note({ reason, keyId: key?.keyId, method, target, peer })
  }

  answerTo(refused: Refused): Answer {
    return this.currentRefusals().answerTo(refused)
  }

  review(allowed: Allowed, byTimeAlone: boolean): Answer | undefined {
    const { authorizer } = this.options
    // Expiry is all that time can bring: the many streams of keys without one cost nothing.
    if (byTimeAlone && (allowed.key?.notAfter ?? 0) === 0) return undefined
    if (authorizer.stillAllowed(allowed)) return undefined
    const decision = authorizer.decide(allowed.facts)
    // It may be that another key, or none, would do now; this exchange was not begun with that.
    return decision.allow ? plainAnswer(403) : this.currentRefusals().answerTo(decision)
  }

  unreadable(status: number, detail: string): Answer {
    const { metrics, refusalLog } = this.options
    const reason = 'RequestMalformed'
    metrics.refused(reason)
    refusalLog.note({ reason, detail, keyId: undefined, method: undefined, target: undefined, peer: undefined })
    return plainAnswer(status)
  }

  failed(failure: Failure, detail: string): Answer {
    const { metrics, refusalLog } = this.options
    metrics.failed(failure)
    refusalLog.noteFailure(failure, detail)
    return plainAnswer(statusOfFailure[failure])
  }

  private currentRefusals(): Refusals {
    const set = this.options.currentSet()
    if (set !== this.refusalsFor) {
      this.refusalsFor = set
      this.refusals = refusalsOf(set?.guard.document)
    }
    return this.refusals
  }
}
