import type { BodyFindings, BodyWanted, Decision, RequestFacts } from '../core/authorize/decision.ts'
import { JsonScanner } from '../core/authorize/json-scanner.ts'
import type { Admission, Answer, BodyInspection } from './http1/gate.ts'
import { plainAnswer } from './refusal.ts'

/** What an inspection needs of whoever decides. */
export interface Judge {
  decide(facts: RequestFacts, body: BodyFindings): Decision
  /** Decides without spending anything. */
  consider(facts: RequestFacts, body: BodyFindings): Decision
  /** Counts and logs a decision, and makes of it what is to be done. */
  conclude(decision: Decision, facts: RequestFacts): Admission | Answer
}

/** Looks for resources in a JSON body while it comes. */
export class JsonInspection implements BodyInspection {
  readonly allow = undefined
  readonly maxBytes: number
  private readonly judge: Judge
  private readonly facts: RequestFacts
  private readonly scanner: JsonScanner
  private isReadable = true

  constructor(judge: Judge, facts: RequestFacts, { pointers, maxBytes }: BodyWanted) {
    this.judge = judge
    this.facts = facts
    this.maxBytes = maxBytes
    this.scanner = new JsonScanner(pointers)
  }

  read(bytes: Buffer, start: number, end: number): Answer | undefined {
    if (!this.isReadable) return undefined
    const known = this.scanner.values.size
    this.isReadable = this.scanner.read(bytes, start, end)
    if (!this.isReadable) return this.foreseen('Unreadable')
    return this.scanner.values.size > known ? this.foreseen(this.scanner.values) : undefined
  }

  finish(body: Buffer): Admission | Answer {
    let decision = this.judge.decide(
      this.facts,
      this.isReadable && this.scanner.finish() ? this.scanner.values : 'Unreadable',
    )
    // Another policy is in force since the body began, and looks elsewhere.
    if (!decision.allow && decision.body !== undefined)
      decision = this.judge.decide(this.facts, scan(body, decision.body.pointers))
    return this.judge.conclude(decision, this.facts)
  }

  tooLarge(): Answer {
    const decision = this.judge.decide(this.facts, 'TooLarge')
    const outcome = decision.allow ? undefined : this.judge.conclude(decision, this.facts)
    return outcome?.allow === false ? outcome : plainAnswer(413)
  }

  /** The refusal that is certain whatever else is in the body. */
  private foreseen(findings: BodyFindings): Answer | undefined {
    const decision = this.judge.consider(this.facts, findings)
    if (decision.allow || decision.body !== undefined) return undefined
    const outcome = this.judge.conclude(decision, this.facts)
    return outcome.allow ? undefined : outcome
  }
}

/** What is at the pointers of a whole body. */
export function scan(body: Buffer, pointers: readonly string[]): BodyFindings {
  const scanner = new JsonScanner(pointers)
  return scanner.read(body) && scanner.finish() ? scanner.values : 'Unreadable'
}
