import type { Allowed, Authorizer, BodyFindings, Decision, Refused, RequestFacts } from '../core/authorize/decision.ts'
import type { Guard } from '../core/authorize/guard.ts'
import type { VerificationSet } from '../core/authorize/set.ts'
import type { Admission, Answer, BodyInspection, Failure, Gate } from './http1/gate.ts'
import type { RequestHead } from './http1/request-head.ts'
import { JsonInspection, type Judge } from './json-inspection.ts'
import type { PolicyMetrics } from './policy-metrics.ts'
import { rateLimitLines } from './rate-limit-fields.ts'
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
export class PolicyGate implements Gate, Judge {
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

  admit({ method, target, fields }: RequestHead, peer: string | undefined): Admission | Answer | BodyInspection {
    const facts: RequestFacts = { method, target, fields, peer }
    const decision = this.decide(facts)
    if (!decision.allow && decision.body !== undefined) return new JsonInspection(this, facts, decision.body)
    return this.conclude(decision, facts)
  }

  /**
   * Decides, counts and logs.
   *
   * @param body what was found where the set wanted to look; by default, there is no body to show
   */
  judge(facts: RequestFacts, body: BodyFindings = 'Unavailable'): Decision {
    const decision = this.decide(facts, body)
    this.record(decision, facts)
    return decision
  }

  decide(facts: RequestFacts, body?: BodyFindings): Decision {
    const { authorizer, metrics, clock } = this.options
    const startedAt = clock()
    const decision = authorizer.decide(facts, body)
    metrics.decisionSeconds.observe((clock() - startedAt) / 1000)
    return decision
  }

  consider(facts: RequestFacts, body?: BodyFindings): Decision {
    return this.options.authorizer.consider(facts, body)
  }

  conclude(decision: Decision, facts: RequestFacts): Admission | Answer {
    this.record(decision, facts)
    if (!decision.allow) return this.answerTo(decision)
    return decision.allowance === undefined
      ? decision
      : { ...decision, answerLines: rateLimitLines(decision.allowance) }
  }

  private record(decision: Decision, facts: RequestFacts): void {
    if (!decision.allow) this.note(decision, facts)
    else if (decision.audited !== undefined) this.noteAudited(decision.audited, facts)
    else this.options.metrics.allowed(decision.key === undefined)
  }

  private noteAudited({ reason, key }: Refused, { method, target, peer }: RequestFacts): void {
    const { metrics, refusalLog } = this.options
    metrics.audited(reason)
    refusalLog.note({ reason, keyId: key?.keyId, method, target, peer, audited: true })
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
    const decision = authorizer.consider(allowed.facts, allowed.body)
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
