import type { PolicyDocument } from '../../api/verification.ts'
import { copyOf } from '../recently-used.ts'
import { ofThisHop, spoofable, spoofablePrefixes } from '../special-fields.ts'

/** What is done with a header field of a request. */
export type FieldClass =
  /** Goes on as it is. */
  | 'pass'
  /** Never goes on: framing and hop-by-hop fields, and names by which an application is told what only we or a trusted proxy may say. */
  | 'drop'
  | 'host'
  | 'connection'
  | 'authorization'
  /** A configured place of the key. */
  | 'credential'
  | 'x-forwarded-for'
  | 'forwarded'
  /** Told by a trusted proxy of the request as it reached it; believed from nobody else. */
  | 'from-proxy'
  /** Decisions hang on it: goes on as it is, but neither in disguise nor taken away by Connection. */
  | 'inspected'

const known: readonly (readonly [string, FieldClass])[] = [
  ...ofThisHop.map((name) => [name, 'drop'] as const),
  ...spoofable.map((name) => [name, 'drop'] as const),
  ['host', 'host'],
  ['connection', 'connection'],
  ['authorization', 'authorization'],
  ['x-forwarded-for', 'x-forwarded-for'],
  ['forwarded', 'forwarded'],
  ['x-forwarded-proto', 'from-proxy'],
  ['x-forwarded-host', 'from-proxy'],
  ['x-forwarded-port', 'from-proxy'],
]

/** What says how a body is to be read. */
const fieldsOfContent = ['content-type', 'content-encoding']

/** Names of clients are remembered up to this many and this long: real ones use a few dozen. */
const rememberedNames = 1000
const rememberedLength = 64

/** Tells what to do with a field by its name. */
export type ClassifyField = (name: string) => FieldClass

export function fieldClassifier({
  credentials,
  identityHeaders,
  resources,
}: Pick<PolicyDocument, 'credentials' | 'identityHeaders' | 'resources'>): ClassifyField {
  const classes = new Map<string, FieldClass>(known)
  for (const { from } of resources) {
    if (from.header !== undefined) classes.set(from.header.toLowerCase(), 'inspected')
    if (from.bodyPointer !== undefined) for (const name of fieldsOfContent) classes.set(name, 'inspected')
  }
  for (const credential of credentials)
    if (credential.type === 'Header') classes.set(credential.name!.toLowerCase(), 'credential')
  for (const header of identityHeaders) classes.set(header.name.toLowerCase(), 'drop')

  const classify: ClassifyField = (name) => {
    const lower = name.toLowerCase()
    // Many servers cannot tell `X_Api_Key` or `X.Api.Key` from `X-Api-Key`: a protected name in disguise is dropped.
    const normal = lower.replace(/[^a-z0-9]/g, '-')
    const found =
      classes.get(normal) ?? (spoofablePrefixes.some((prefix) => normal.startsWith(prefix)) ? 'drop' : 'pass')
    return found === 'pass' || normal === lower ? found : 'drop'
  }
  const remembered = new Map<string, FieldClass>()
  return (name) => {
    let found = remembered.get(name)
    if (found === undefined) {
      found = classify(name)
      if (remembered.size < rememberedNames && name.length <= rememberedLength) remembered.set(copyOf(name), found)
    }
    return found
  }
}
