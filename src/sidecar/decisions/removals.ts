import type { PolicyDocument } from '../../api/verification.ts'
import type { Allowed } from '../../core/authorize/decision.ts'
import type { ClassifyField } from '../../core/authorize/fields.ts'
import type { IdentityField } from './identity.ts'

/** What the gateway itself reads, writes or answers for; taking it away would break the request. */
const ofGateway =
  /^(?:host|connection|keep-alive|proxy-connection|te|trailer|transfer-encoding|content-length|upgrade|http2-settings|expect|forwarded|x-forwarded-for|x-forwarded-proto|x-envoy-.*)$/

/**
 * Names, in lower case, that a gateway must take off an allowed request: those that a guarded port would not forward. None
 * of them is an identity header that is set, for Envoy removes last.
 */
export function headersToRemove(
  allowed: Allowed,
  document: PolicyDocument,
  classify: ClassifyField,
  identity: readonly IdentityField[],
): readonly string[] {
  const set = new Set(identity.map(({ name }) => name.toLowerCase()))
  const removed = new Set<string>()
  for (const { name } of document.identityHeaders) if (!set.has(name.toLowerCase())) removed.add(name.toLowerCase())
  const { fields } = allowed.facts
  for (let index = 0; index < fields.length; index += 2) {
    const kind = classify(fields[index]!)
    if (kind === 'pass') continue
    const name = fields[index]!.toLowerCase()
    if (set.has(name) || ofGateway.test(name) || isForwarded(kind, name, allowed, document)) continue
    removed.add(name)
  }
  return [...removed]
}

/** Whether a guarded port would send the field on. */
function isForwarded(
  kind: ReturnType<ClassifyField>,
  name: string,
  { fieldLines }: Allowed,
  { forwardCredential, mode }: PolicyDocument,
): boolean {
  if (kind === 'credential') return forwardCredential || mode === 'Audit'
  // Of the others it depends on what they hold, and on who sent them.
  return kind !== 'drop' && `\r\n${fieldLines.toLowerCase()}`.includes(`\r\n${name}:`)
}

/** Names of query parameters, as they are spelt in the request, that the decision takes off because a key is in them. */
export function queryParametersToRemove({ facts, target }: Allowed): readonly string[] {
  const before = parametersOf(facts.target)
  const after = parametersOf(target)
  if (before.length === after.length) return []
  const kept = new Set(after)
  return [...new Set(before.filter((part) => !kept.has(part)).map((part) => part.split('=', 1)[0]!))]
}

function parametersOf(target: string): string[] {
  const mark = target.indexOf('?')
  return mark === -1 ? [] : target.slice(mark + 1).split('&')
}
