import type { Allowed, Refused, RequestFacts } from '../../core/authorize/decision.ts'
import type { Guard } from '../../core/authorize/guard.ts'
import type { Answer } from '../http1/gate.ts'
import type { RequestHead } from '../http1/request-head.ts'

/** How one kind of gateway asks over HTTP, and which answers it understands. */
export interface Dialect {
  /**
   * The request that is asked about; undefined where the gateway does not tell exactly one.
   *
   * @param rest what follows the policy's name in the request target, byte by byte as received
   */
  read(head: RequestHead, rest: string): RequestFacts | undefined
  /**
   * Whether the gateway passes on what merely looks like an identity header, with no way to have it removed: a request that
   * holds such a field is refused.
   */
  readonly passesDisguises: boolean
  /** Lines of the answer that lets a request pass, each with its CRLF. */
  allowLines(allowed: Allowed, guard: Guard): string
  /** What the gateway is answered in place of what a client of a guarded port would be. */
  refusal(answer: Answer, refused: Refused | undefined): Answer
}

/** A refusal whose status the gateway would misread becomes a plain 403. */
export const forbidden: Answer = {
  allow: false,
  status: 403,
  reason: 'Forbidden',
  fieldLines: 'Content-Type: application/problem+json\r\nCache-Control: no-store\r\n',
  body: '{"type":"about:blank","title":"Forbidden","status":403}\n',
}

/** What follows the policy's name where nothing should: Caddy leaves the client's query there. */
export const isNoPath = (rest: string): boolean => rest === '' || rest.startsWith('?')
