import type { Answer } from '../http1/gate.ts'
import type { RequestHead } from '../http1/request-head.ts'
import { caddy } from './caddy.ts'
import { type DecisionDesk, refuseMalformed } from './desk.ts'
import { type Dialect, forbidden } from './dialect.ts'
import { envoy } from './envoy.ts'
import { hasDisguisedIdentity } from './identity.ts'
import { nginx } from './nginx.ts'
import { traefik } from './traefik.ts'

const dialects: ReadonlyMap<string, Dialect> = new Map(Object.entries({ nginx, traefik, caddy, envoy }))
const place = /^\/authz\/([a-z]+)\/([a-z0-9-]+\/[a-z0-9-]+)(.*)$/s

/** What is answered to a gateway. */
export interface Reply {
  readonly status: number
  readonly reason: string
  readonly fieldLines: string
  readonly body: string
}

export const noReply: Reply = { ...forbidden, body: '' }

/** Answers `/authz/<dialect>/<namespace>/<policy>`. Whatever is not understood is answered with 403. */
export function answerOverHttp(desk: DecisionDesk, head: RequestHead, peer: string | undefined): Reply {
  const [, dialectName = '', policy = '', rest = ''] = place.exec(head.target) ?? []
  const dialect = dialects.get(dialectName)
  if (dialect === undefined) return unanswerable(desk, peer, undefined)
  const gate = desk.gateOf(policy)
  if (gate === undefined) {
    desk.note('PolicyUnknown', peer)
    return dialect.refusal(forbidden, undefined)
  }
  const facts = dialect.read(head, rest)
  if (facts === undefined) return unanswerable(desk, peer, dialect)

  const disguised = dialect.passesDisguises && gate.guard && hasDisguisedIdentity(facts.fields, gate.guard.document)
  const decision = disguised ? refuseMalformed(gate, facts) : gate.judge(facts)
  if (!decision.allow) return dialect.refusal(gate.answerTo(decision), decision)
  return { status: 200, reason: 'OK', fieldLines: dialect.allowLines(decision, gate.guard!), body: '' }
}

function unanswerable(desk: DecisionDesk, peer: string | undefined, dialect: Dialect | undefined): Answer | Reply {
  desk.note('QuestionMalformed', peer)
  return dialect?.refusal(forbidden, undefined) ?? noReply
}
