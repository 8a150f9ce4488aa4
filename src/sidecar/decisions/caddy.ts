import { type Dialect, isNoPath } from './dialect.ts'
import { identityLines } from './identity.ts'
import { originalRequest } from './original-request.ts'
import { withStatuses } from './statuses.ts'

// Host rather than X-Forwarded-Host: it is the one that Caddy chose a site by, while the other may be a client's of a proxy
// that Caddy trusts.
const toldBy = {
  method: 'x-forwarded-method',
  target: 'x-forwarded-uri',
  host: 'host',
  scheme: { name: 'x-forwarded-proto', required: false },
}

/** Caddy `forward_auth`. It takes 2xx for yes, and passes any other answer on to the client with its body. */
export const caddy: Dialect = {
  read: (head, rest) => (isNoPath(rest) ? originalRequest(head, toldBy) : undefined),
  passesDisguises: true,
  allowLines: identityLines,
  refusal: withStatuses([401, 403, 429, 503]),
}
