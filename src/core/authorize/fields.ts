import type { PolicyDocument } from '../../api/verification.ts'
import { copyOf } from '../recently-used.ts'

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

/** Hop-by-hop (RFC 9110 §7.6.1) and framing fields: our own connection to the application has its own. */
const ofThisHop = [
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-authentication-info',
  'te',
  'trailer',
  'transfer-encoding',
  'content-length',
  'upgrade',
  'http2-settings',
  'expect',
]

/** Names under which applications are told a client's identity, its address, or another request line. */
const spoofable = [
  'x-real-ip',
  'remote-user',
  'remote-addr',
  'x-rewrite-url',
  'x-http-method-override',
  'x-http-method',
  'x-method-override',
  '-method',
]
const spoofablePrefixes = ['x-forwarded-', 'x-original-', 'x-envoy-', 'x-postern-']

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

/** Names of clients are remembered up to this many and this long: real ones use a few dozen. */
const rememberedNames = 1000
const rememberedLength = 64

/** Tells what to do with a field by its name. */
export type ClassifyField = (name: string) => FieldClass

export function fieldClassifier({
  credentials,
  identityHeaders,
}: Pick<PolicyDocument, 'credentials' | 'identityHeaders'>): ClassifyField {
  const classes = new Map<string, FieldClass>(known)
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
