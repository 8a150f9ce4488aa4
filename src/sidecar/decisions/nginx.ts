import { type Dialect, forbidden, isNoPath } from './dialect.ts'
import { identityLines } from './identity.ts'
import { originalRequest } from './original-request.ts'

const toldBy = { method: 'x-original-method', target: 'x-original-uri', host: 'host', scheme: undefined }

/**
 * nginx `auth_request`. It takes 2xx for yes, and 401 and 403 for no; anything else makes it answer 500. Of a refusal it
 * passes on nothing but WWW-Authenticate, and a 401 with a body would cost it its connection.
 */
export const nginx: Dialect = {
  read: (head, rest) => (isNoPath(rest) ? originalRequest(head, toldBy) : undefined),
  passesDisguises: true,
  allowLines: identityLines,
  refusal(answer, refused) {
    if (answer.status === 401 || answer.status === 403) return { ...answer, body: '' }
    // For `auth_request_set` and `error_page`, where somebody wants the client to see more than 403.
    const reason = refused === undefined ? '' : `X-Postern-Reason: ${refused.reason}\r\n`
    return { ...forbidden, fieldLines: `Cache-Control: no-store\r\n${reason}`, body: '' }
  },
}
