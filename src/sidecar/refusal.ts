import type { PolicyDocument } from '../api/verification.ts'
import type { Refused } from '../core/authorize/decision.ts'
import type { Answer } from './http1/gate.ts'
import { methods } from './http1/request-head.ts'
import { rateLimitLines } from './rate-limit-fields.ts'

const statusOfReason: Readonly<Record<Refused['reason'], number>> = {
  RequestMalformed: 400,
  PolicyUnavailable: 503,
  HostUnknown: 421,
  PathDenied: 403,
  KeyMissing: 401,
  KeyAmbiguous: 401,
  KeyMalformed: 401,
  KeyUnknown: 401,
  PolicySuspended: 403,
  KeyDisabled: 401,
  KeyExpired: 401,
  KeyNotYetValid: 401,
  AddressUnknown: 403,
  AddressNotAllowed: 403,
  InterfaceUnknown: 403,
  InterfaceNotAllowed: 403,
  ResourceMissing: 403,
  ResourceNotAllowed: 403,
  BodyNotInspectable: 403,
  RateLimited: 429,
}

const titles: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  413: 'Content Too Large',
  414: 'URI Too Long',
  415: 'Unsupported Media Type',
  417: 'Expectation Failed',
  421: 'Misdirected Request',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
  505: 'HTTP Version Not Supported',
}

const extraLines: Readonly<Record<number, string>> = {
  405: `Allow: ${methods.join(', ')}\r\n`,
  503: 'Retry-After: 1\r\n',
}

/** An answer that says its status and no more: a problem (RFC 9457) without detail, for details help attackers most. */
export function plainAnswer(status: number, fieldLines = ''): Answer {
  const title = titles[status] ?? 'Error'
  return {
    allow: false,
    status,
    reason: title,
    fieldLines: `Content-Type: application/problem+json\r\nCache-Control: no-store\r\n${extraLines[status] ?? ''}${fieldLines}`,
    body: `{"type":"about:blank","title":"${title}","status":${status}}\n`,
  }
}

/** How refusals by one policy look on the wire: made when its set is loaded. */
export interface Refusals {
  answerTo(refused: Refused): Answer
}

/**
 * Outwardly, all that can be wrong with a key is one and the same 401. It differs only in whether there was a key at all,
 * which the client knows (RFC 6750 §3.1). The challenge names the places where the policy looks for keys.
 *
 * @param document undefined as long as no set was loaded
 */
export function refusalsOf(document: PolicyDocument | undefined): Refusals {
  const answers = new Map<number, Answer>()
  const withoutKey = plainAnswer(401, challenges(document, false))
  const withKey = plainAnswer(401, challenges(document, true))
  return {
    answerTo({ reason, status = statusOfReason[reason], credentialPresented, allowance }) {
      if (allowance !== undefined)
        return plainAnswer(status, `Retry-After: ${allowance.resetSeconds}\r\n${rateLimitLines(allowance)}`)
      if (status === 401) return credentialPresented === true ? withKey : withoutKey
      const known = answers.get(status) ?? plainAnswer(status)
      answers.set(status, known)
      return known
    },
  }
}

function challenges(document: PolicyDocument | undefined, keyPresented: boolean): string {
  const places = document?.credentials ?? []
  const has = (type: string) => places.some((place) => place.type === type)
  const headers = places.flatMap(({ type, name }) => (type === 'Header' && name !== undefined ? [name] : []))
  const lines = [
    ...(has('Bearer') ? [`Bearer realm="postern"${keyPresented ? ', error="invalid_token"' : ''}`] : []),
    ...(has('Basic') ? ['Basic realm="postern", charset="UTF-8"'] : []),
    ...(has('Header') || has('Query') ? ['ApiKey realm="postern"'] : []),
  ]
  const varies = [...(has('Bearer') || has('Basic') ? ['Authorization'] : []), ...headers]
  return [
    ...lines.map((challenge) => `WWW-Authenticate: ${challenge}\r\n`),
    ...(varies.length > 0 ? [`Vary: ${varies.join(', ')}\r\n`] : []),
  ].join('')
}
