import type { Credential } from '../../api/access-policy.ts'
import { hasKeyPrefix } from '../key.ts'
import type { ClassifyField } from './fields.ts'

/** Where a policy lets keys stand. */
export interface CredentialPlaces {
  readonly bearer: boolean
  readonly basic: boolean
  readonly headers: readonly string[]
  readonly queries: readonly string[]
}

/** A credential as presented: the texts that the key may be. */
export type Presented =
  | { readonly place: 'none' }
  | { readonly place: 'several' }
  | { readonly place: 'header' | 'authorization' | 'query'; readonly candidates: readonly Candidate[] }

export interface Candidate {
  readonly key: string
  /** The entry must have this key id: what stood beside the key in Basic. */
  readonly keyId?: string
}

export const compilePlaces = (credentials: readonly Credential[]): CredentialPlaces => {
  const named = (type: Credential['type']): string[] =>
    credentials.flatMap((credential) => (credential.type === type ? [credential.name!] : []))
  return {
    bearer: credentials.some(({ type }) => type === 'Bearer'),
    basic: credentials.some(({ type }) => type === 'Basic'),
    headers: named('Header'),
    queries: named('Query'),
  }
}

const none: Presented = { place: 'none' }
const several: Presented = { place: 'several' }

/** Finds the one credential of a request: two of them, even equal ones, might be read differently by others. */
export function findCredential(
  places: CredentialPlaces,
  fields: readonly string[],
  query: string,
  classify: ClassifyField,
  keyPrefix: string,
): Presented {
  let found = none
  for (let index = 0; index < fields.length; index += 2) {
    const kind = classify(fields[index]!)
    if (kind !== 'credential' && kind !== 'authorization') continue
    const value = fields[index + 1]!
    const presented: Presented =
      kind === 'credential'
        ? { place: 'header', candidates: [{ key: value }] }
        : fromAuthorization(places, value, keyPrefix)
    if (presented.place === 'none') continue
    if (found !== none) return several
    found = presented
  }
  if (query === '' || places.queries.length === 0) return found
  const values = queryParameters(query).filter(({ name }) => places.queries.includes(name))
  if (values.length === 0) return found
  return found !== none || values.length > 1 ? several : { place: 'query', candidates: [{ key: values[0]!.value }] }
}

/** The query without the parameters that may hold a key; all other bytes stay. */
export function withoutQueryCredential(places: CredentialPlaces, query: string): string {
  if (query === '' || places.queries.length === 0) return query
  const parts = query.slice(1).split('&')
  const kept = parts.filter((part) => !places.queries.includes(parameter(part).name))
  if (kept.length === parts.length) return query
  return kept.length === 0 ? '' : `?${kept.join('&')}`
}

const scheme = /^([A-Za-z]+) +(.*)$/
const noCandidates: readonly Candidate[] = [{ key: '' }]

function fromAuthorization(places: CredentialPlaces, value: string, keyPrefix: string): Presented {
  const match = scheme.exec(value)
  const name = (match?.[1] ?? value).toLowerCase()
  if (name === 'bearer' && places.bearer)
    return { place: 'authorization', candidates: match ? [{ key: match[2]! }] : noCandidates }
  if (name === 'basic' && places.basic)
    return { place: 'authorization', candidates: match ? fromBasic(match[2]!, keyPrefix) : noCandidates }
  return none
}

/** RFC 7617. The password is the whole key, or what follows the key id in a generated one. */
function fromBasic(encoded: string, keyPrefix: string): readonly Candidate[] {
  const bytes = Buffer.from(encoded, 'base64')
  // Buffer ignores what is not base64; a strict reader elsewhere would not.
  if (bytes.toString('base64').replace(/=+$/, '') !== encoded.replace(/=+$/, '')) return noCandidates
  const text = bytes.toString('latin1')
  const colon = text.indexOf(':')
  if (colon === -1) return noCandidates
  const keyId = text.slice(0, colon)
  const password = text.slice(colon + 1)
  if (hasKeyPrefix(password, keyPrefix)) return [{ key: password, keyId }]
  return [{ key: `${keyPrefix}_${keyId}_${password}` }, { key: password, keyId }]
}

interface Parameter {
  readonly name: string
  readonly value: string
}

const queryParameters = (query: string): Parameter[] => query.slice(1).split('&').map(parameter)

function parameter(part: string): Parameter {
  const equals = part.indexOf('=')
  return equals === -1
    ? { name: decode(part), value: '' }
    : { name: decode(part.slice(0, equals)), value: decode(part.slice(equals + 1)) }
}

const decode = (text: string): string =>
  text.replace(/%([0-9A-Fa-f]{2})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)))
