import { type Dialect, isNoPath } from './dialect.ts'
import { identityLines } from './identity.ts'
import { originalRequest } from './original-request.ts'
import { withStatuses } from './statuses.ts'

const toldBy = {
  method: 'x-forwarded-method',
  target: 'x-forwarded-uri',
  host: 'x-forwarded-host',
  scheme: { name: 'x-forwarded-proto', required: true },
}

/** Traefik `forwardAuth`. It takes 2xx for yes, and passes any other answer on to the client with its body. */
export const traefik: Dialect = {
  read: (head, rest) => (isNoPath(rest) ? originalRequest(head, toldBy) : undefined),
  passesDisguises: true,
  allowLines: identityLines,
  refusal: withStatuses([401, 403, 429, 503]),
}
