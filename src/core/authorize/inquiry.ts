import type { Target } from '../path.ts'
import type { Candidate } from './credential.ts'
import type { BodyFindings, RequestFacts } from './decision.ts'
import type { Guard, Route } from './guard.ts'
import type { Allowance, Limiter } from './limit.ts'
import type { FoundKey, VerificationSet } from './set.ts'

/** What has been found out about a request so far. Each check may rely on those before it. */
export class Inquiry {
  readonly facts: RequestFacts
  readonly set: VerificationSet | undefined
  readonly now: number
  guard!: Guard
  target!: Target
  host!: string
  route!: Route
  /** Fields that the Connection field names as being for this hop only, in lower case. */
  nominated: readonly string[] | undefined
  candidates: readonly Candidate[] = []
  place: 'none' | 'header' | 'authorization' | 'query' = 'none'
  key: FoundKey | undefined
  interface: string | undefined
  readonly body: BodyFindings | undefined
  readonly limiter: Limiter | undefined
  allowance: Allowance | undefined

  constructor(
    facts: RequestFacts,
    set: VerificationSet | undefined,
    now: number,
    { body, limiter }: { readonly body?: BodyFindings | undefined; readonly limiter?: Limiter | undefined },
  ) {
    this.facts = facts
    this.set = set
    this.now = now
    this.body = body
    this.limiter = limiter
  }
}
