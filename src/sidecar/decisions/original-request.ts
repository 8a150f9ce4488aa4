import type { RequestFacts } from '../../core/authorize/decision.ts'
import { membersOf } from '../../core/authorize/members.ts'
import type { RequestHead } from '../http1/request-head.ts'

/** Where a gateway tells of the request that it asks about: names of fields, in lower case. */
export interface ToldBy {
  readonly method: string
  readonly target: string
  /** `host` where the gateway sends the original Host on. */
  readonly host: string
  /** Undefined where the gateway is not asked to tell it. */
  readonly scheme: { readonly name: string; readonly required: boolean } | undefined
}

const schemes = /^(?:https?|wss?)$/

/**
 * The request that a gateway tells of in fields. Undefined where it leaves something out, says it twice or says what
 * cannot be: nothing is made up for it, least of all from the gateway's own request line.
 */
export function originalRequest({ fields }: RequestHead, toldBy: ToldBy): RequestFacts | undefined {
  const told = new Map<string, string>()
  const scheme = toldBy.scheme?.name
  const original: string[] = []
  for (let index = 0; index < fields.length; index += 2) {
    const name = fields[index]!.toLowerCase()
    const value = fields[index + 1]!
    if (name === toldBy.method || name === toldBy.target || name === toldBy.host || name === scheme) {
      if (told.has(name)) return undefined
      told.set(name, value)
    } else if (name !== 'host') {
      original.push(fields[index]!, value)
    }
  }
  const method = told.get(toldBy.method)
  const target = told.get(toldBy.target)
  const host = told.get(toldBy.host)
  if (method === undefined || host === undefined) return undefined
  // Gateways tell paths. A URL would be one of a request to a proxy, whose authority the gateway may not have looked at.
  if (target?.charCodeAt(0) !== 0x2f) return undefined
  if (toldBy.scheme !== undefined) {
    const value = told.get(toldBy.scheme.name)
    if (value === undefined ? toldBy.scheme.required : !schemes.test(value)) return undefined
  }
  original.push('Host', host)
  // Gateways do not say whether a body follows, and do not show it.
  return { method, target, fields: original, peer: clientOfGateway(fields), hasBody: true }
}

/**
 * The address that the gateway itself was spoken to from: the last that it added to X-Forwarded-For. Undefined where it
 * adds none. What stands before is judged by the policy's rule for client addresses, as it would be behind the gateway.
 */
export function clientOfGateway(fields: readonly string[]): string | undefined {
  for (let index = fields.length - 2; index >= 0; index -= 2) {
    if (fields[index]!.length !== 15 || fields[index]!.toLowerCase() !== 'x-forwarded-for') continue
    return membersOf(fields[index + 1]!).at(-1)
  }
  return undefined
}
