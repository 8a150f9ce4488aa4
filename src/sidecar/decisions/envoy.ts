import type { Dialect } from './dialect.ts'
import { identityFields, identityLines } from './identity.ts'
import { clientOfGateway } from './original-request.ts'
import { headersToRemove } from './removals.ts'
import { withStatuses } from './statuses.ts'

/**
 * Envoy's HTTP `ext_authz`. It sends the original method, Host and, behind its `path_prefix`, target. It takes 200 for yes,
 * and passes any other answer on; but a 5xx is an error to it, which `failure_mode_allow` lets pass.
 */
export const envoy: Dialect = {
  // Cut off byte by byte, before anything is made of dots in it.
  read: ({ method, fields }, rest) =>
    rest.startsWith('/') ? { method, target: rest, fields, peer: clientOfGateway(fields) } : undefined,
  passesDisguises: false,
  allowLines(allowed, guard) {
    const identity = identityFields(allowed, guard.document)
    const removed = headersToRemove(allowed, guard.document, guard.classify, identity)
    const removal = removed.length === 0 ? '' : `x-envoy-auth-headers-to-remove: ${removed.join(', ')}\r\n`
    return identityLines(allowed, guard) + removal
  },
  refusal: withStatuses([401, 403, 429]),
}
