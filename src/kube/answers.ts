/** What the API server's answers mean. */

import type { KubeObject, Resource } from '../api/object.ts'
import { ClusterError, type ClusterErrorCode } from './cluster.ts'
import { deepFreeze } from './freeze.ts'
import type { Answer } from './transport.ts'

/** The API server's own description of what went wrong; any field may be missing. */
export interface Status {
  readonly kind?: string
  readonly code?: number
  readonly reason?: string
  readonly message?: string
  readonly metadata?: { readonly continue?: string }
  readonly details?: {
    readonly name?: string
    readonly causes?: readonly { readonly reason?: string; readonly field?: string }[]
    readonly retryAfterSeconds?: number
  }
}

/** The object in an answer, frozen, without `managedFields`; of metadata alone, with its own kind again. */
export const readObject = (raw: unknown, { apiVersion, kind }: Resource, metadataOnly = false): KubeObject => {
  const object = raw as KubeObject
  if (typeof object?.metadata?.name !== 'string') throw new Error(`not a ${kind}: it has no metadata.name`)
  const metadata: Record<string, unknown> = { ...object.metadata }
  delete metadata.managedFields
  const identity = { apiVersion, kind, metadata: metadata as unknown as KubeObject['metadata'] }
  return deepFreeze(metadataOnly ? identity : { ...object, ...identity })
}

/** Parses what must be JSON. The error of the parser is not kept, for it quotes the text. */
export const readJson = (text: string, about: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    throw new ClusterError('Unavailable', `${about}: the API server sent what is not JSON`)
  }
}

/** The Status in an answer, or an empty one where there is none, as where a path is not served at all. */
export const readStatus = ({ body }: Answer): Status => {
  try {
    const status: unknown = JSON.parse(body)
    return typeof status === 'object' && status !== null ? status : {}
  } catch {
    return {}
  }
}

/** The error that an answer other than success stands for. */
export const errorOf = (answer: Answer, about: string, kind: string): ClusterError => {
  const status = readStatus(answer)
  const code = codeOf(answer.status, status)
  const retryAfterSeconds = answer.retryAfterSeconds ?? status.details?.retryAfterSeconds
  return new ClusterError(code, `${about}: ${messageOf(answer.status, status, code, kind)}`, { retryAfterSeconds })
}

/** The version that was asked for is no longer kept (or not yet known, after a restore): only a full reading helps. */
export const isExpired = ({ code, reason, details }: Status, httpStatus = code): boolean =>
  httpStatus === 410 ||
  reason === 'Expired' ||
  reason === 'Gone' ||
  (details?.causes ?? []).some((cause) => cause.reason === 'ResourceVersionTooLarge')

const codeOf = (httpStatus: number, { reason, message = '', details }: Status): ClusterErrorCode => {
  if (reason === 'AlreadyExists') return 'AlreadyExists'
  // An object of that name with another uid: the server says that the uid cannot be changed.
  const causes = details?.causes ?? []
  if (httpStatus === 422 && causes.length > 0 && causes.every(({ field }) => field === 'metadata.uid'))
    return 'Conflict'
  if (/etcdserver: request is too large|message larger than max/.test(message)) return 'TooLarge'
  if (isInvalid.test(message)) return 'Invalid'
  return codes[httpStatus] ?? (httpStatus < 500 ? 'Invalid' : 'Unavailable')
}

/** An object that does not fit its schema is the caller's fault, though the server calls it its own. */
const isInvalid = /^failed to (create typed patch|convert new) object/

/** Whether a failed call may succeed when it is made again as it is. */
export const isPassing = (answer: Answer): boolean =>
  [502, 503, 504].includes(answer.status) ||
  (answer.status === 500 && codeOf(answer.status, readStatus(answer)) === 'Unavailable')

const codes: Readonly<Record<number, ClusterErrorCode>> = {
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  409: 'Conflict',
  410: 'Unavailable',
  413: 'TooLarge',
  429: 'TooManyRequests',
}

/** What the server says, save where it might quote a value from a Secret. */
const messageOf = (httpStatus: number, status: Status, code: ClusterErrorCode, kind: string): string => {
  const { message, details, reason = 'the API server failed' } = status
  if (status.kind !== 'Status') return httpStatus === 404 ? `${kind} is not served` : `status ${httpStatus}`
  const mayQuote = kind === 'Secret' && (code === 'Invalid' || code === 'Unavailable')
  if (!mayQuote) return message ?? `${reason} (${httpStatus})`
  const fields = new Set((details?.causes ?? []).flatMap(({ field }) => field ?? []))
  return `${code === 'Invalid' ? 'Invalid' : reason} (${httpStatus})${fields.size > 0 ? `: ${[...fields].join(', ')}` : ''}`
}
