import type { Answer } from '../http1/gate.ts'
import type { IdentityField } from './identity.ts'
import { delimited, whole } from './protobuf.ts'

/** Who was let in, for filters and access logs behind the authorizer. */
export interface CheckMetadata {
  readonly subject: string
  readonly namespace: string
  readonly keyId: string
  readonly scopes: readonly string[]
}

export interface OkResponse {
  readonly headers: readonly IdentityField[]
  readonly headersToRemove: readonly string[]
  readonly queryParametersToRemove: readonly string[]
  readonly metadata: CheckMetadata | undefined
}

// Numbers of fields, by message.
const checkResponse = { status: 1, deniedResponse: 2, okResponse: 3, dynamicMetadata: 4 }
const status = { code: 1 }
const okResponse = { headers: 2, headersToRemove: 5, queryParametersToRemove: 8 }
const deniedResponse = { status: 1, headers: 2, body: 3 }
const httpStatus = { code: 1 }
const headerValueOption = { header: 1, append: 2, appendAction: 3 }
const headerValue = { key: 1, value: 2 }
const boolValue = { value: 1 }
const struct = { fields: 1 }
const mapEntry = { key: 1, value: 2 }
const value = { string: 3, list: 6 }
const listValue = { values: 1 }

const appendIfExistsOrAdd = 0
const overwriteIfExistsOrAdd = 2

/** By HTTP status: codes of gRPC for what a client did. */
const grpcCodes: Readonly<Record<number, number>> = { 401: 16, 403: 7, 429: 8 }

/** An `envoy.service.auth.v3.CheckResponse` that lets the request pass. One character per byte. */
export function writeOk({ headers, headersToRemove, queryParametersToRemove, metadata }: OkResponse): string {
  const ok =
    headers.map((header) => delimited(okResponse.headers, headerOption(header, false))).join('') +
    headersToRemove.map((name) => delimited(okResponse.headersToRemove, name)).join('') +
    queryParametersToRemove.map((name) => delimited(okResponse.queryParametersToRemove, name)).join('')
  return (
    delimited(checkResponse.status, '') +
    delimited(checkResponse.okResponse, ok) +
    (metadata === undefined ? '' : delimited(checkResponse.dynamicMetadata, writeMetadata(metadata)))
  )
}

/** An `envoy.service.auth.v3.CheckResponse` that refuses, with the answer for the client. One character per byte. */
export function writeDenied({ status: code, fieldLines, body }: Answer): string {
  const seen = new Set<string>()
  const headers = fieldLines
    .split('\r\n')
    .filter((line) => line !== '')
    .map((line) => {
      const colon = line.indexOf(':')
      const name = line.slice(0, colon)
      // Several challenges are several lines of one name: the first takes the place of what is there, the rest join it.
      const isRepeated = seen.size === seen.add(name).size
      return delimited(
        deniedResponse.headers,
        headerOption({ name, value: line.slice(colon + 1).trimStart() }, isRepeated),
      )
    })
  const denied =
    delimited(deniedResponse.status, whole(httpStatus.code, code)) +
    headers.join('') +
    (body === '' ? '' : delimited(deniedResponse.body, body))
  return (
    delimited(checkResponse.status, whole(status.code, grpcCodes[code] ?? grpcCodes[403]!)) +
    delimited(checkResponse.deniedResponse, denied)
  )
}

/**
 * Says twice over whether a header is added to those that are there. `append` is sent even where it is false, as a
 * message that is empty: some versions of Envoy go by its presence, and append what has neither.
 */
const headerOption = ({ name, value: text }: IdentityField, append: boolean): string =>
  delimited(headerValueOption.header, delimited(headerValue.key, name) + delimited(headerValue.value, text)) +
  delimited(headerValueOption.append, append ? whole(boolValue.value, 1) : '') +
  whole(headerValueOption.appendAction, append ? appendIfExistsOrAdd : overwriteIfExistsOrAdd)

function writeMetadata({ subject, namespace, keyId, scopes }: CheckMetadata): string {
  const field = (name: string, content: string): string =>
    delimited(struct.fields, delimited(mapEntry.key, name) + delimited(mapEntry.value, content))
  const text = (content: string): string => delimited(value.string, inUtf8(content))
  const list = scopes.map((scope) => delimited(listValue.values, text(scope))).join('')
  return (
    field('subject', text(subject)) +
    field('namespace', text(namespace)) +
    field('keyId', text(keyId)) +
    field('scopes', delimited(value.list, list))
  )
}

const inUtf8 = (text: string): string => (/^[ -~]*$/.test(text) ? text : Buffer.from(text).toString('latin1'))
