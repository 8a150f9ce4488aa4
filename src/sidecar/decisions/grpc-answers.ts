import type { RequestFacts } from '../../core/authorize/decision.ts'
import { type CheckRequest, readCheckRequest } from './check-request.ts'
import { writeDenied, writeOk } from './check-response.ts'
import type { DecisionDesk } from './desk.ts'
import { forbidden } from './dialect.ts'
import { identityFields } from './identity.ts'
import { headersToRemove, queryParametersToRemove } from './removals.ts'
import { withStatuses } from './statuses.ts'

/** What anything but a question is answered with, as a CheckResponse. */
export const deniedResponse = writeDenied(forbidden)

const refusal = withStatuses([401, 403, 429])

/**
 * Answers one `envoy.service.auth.v3.Authorization/Check`. Whatever the request holds, the answer is a CheckResponse: an
 * error of gRPC lets it pass where the gateway says `failure_mode_allow`.
 *
 * @returns the message, one character per byte
 */
export function answerCheck(desk: DecisionDesk, bytes: Buffer, peer: string | undefined): string {
  const request = readCheckRequest(bytes)
  const facts = request && factsOf(request)
  if (request === undefined || facts === undefined) {
    desk.note('QuestionMalformed', peer)
    return deniedResponse
  }
  const gate = desk.gateOf(request.policy)
  if (gate === undefined) {
    desk.note('PolicyUnknown', peer)
    return deniedResponse
  }
  const decision = gate.judge(facts)
  if (!decision.allow) return writeDenied(refusal(gate.answerTo(decision), decision))

  const { document, classify } = gate.guard!
  const { key } = decision
  const identity = identityFields(decision, document)
  return writeOk({
    headers: identity,
    headersToRemove: headersToRemove(decision, document, classify, identity),
    queryParametersToRemove: queryParametersToRemove(decision),
    metadata: key && { subject: key.name, namespace: key.namespace, keyId: key.keyId, scopes: key.roles },
  })
}

const fieldName = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
const controlCharacter = /[\x00-\x08\x0a-\x1f\x7f]/

/** The request that is asked about; undefined where the message says two things of it, or too little. */
function factsOf({ method, path, host, headers, sourceAddress }: CheckRequest): RequestFacts | undefined {
  if (method === undefined || host === undefined || path?.charCodeAt(0) !== 0x2f) return undefined
  const pseudo = new Map([
    [':method', method],
    [':path', path],
    [':authority', host],
    ['host', host],
  ])
  const fields = ['host', host]
  for (let index = 0; index < headers.length; index += 2) {
    const name = headers[index]!
    const text = headers[index + 1]!
    const told = pseudo.get(name.toLowerCase())
    if (told !== undefined) {
      if (text !== told) return undefined
    } else if (name.startsWith(':')) {
      if (!fieldName.test(name.slice(1))) return undefined
    } else {
      if (!fieldName.test(name) || controlCharacter.test(text)) return undefined
      fields.push(name, text)
    }
  }
  // There is no way to say that no body follows.
  return { method, target: path, fields, peer: sourceAddress, hasBody: true }
}
