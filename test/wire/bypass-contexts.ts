/** The policy contexts of the bypass cases, as AccessPolicies and keys. */

import { createHash } from 'node:crypto'
import { keyOf, type TestKey } from '../support/verification.ts'

export const key = keyOf(1)
const otherKey = keyOf(2)
const expiredKey = keyOf(3)
const futureKey = keyOf(4)
const unknownKey = keyOf(99)
const subject = 'team-a'

const base64 = (text: string) => Buffer.from(text, 'latin1').toString('base64')

const placeholders: Readonly<Record<string, string>> = {
  '{KEY}': key,
  '{KEY2}': otherKey,
  '{BADKEY}': unknownKey,
  '{EXPIRED_KEY}': expiredKey,
  '{FUTURE_KEY}': futureKey,
  '{HASH_OF_KEY}': createHash('sha256').update(key).digest('hex'),
  '{KEY:-1}': key.slice(0, -1),
  '{KEY:upper}': key.toUpperCase(),
  '{BASE64(:KEY)}': base64(`:${key}`),
  '{B64(KEY)}': base64(key),
  '{B64(BADKEY)}': base64(unknownKey),
  '{HOST}': 'api.example.test',
  '{ADMINHOST}': 'admin.example.test',
  '{SUBJECT}': subject,
}

export const fillIn = (text: string): string =>
  text.replaceAll(/\{[A-Z][A-Z0-9_]*(?::[a-z0-9-]+|\(:?[A-Z]+\))?\}/g, (name) => placeholders[name] ?? name)

export interface Context {
  readonly spec: object
  readonly keys: readonly TestKey[]
}

const identityHeaders = [
  { name: 'X-Auth-Subject', value: 'KeyName' },
  { name: 'X-Auth-Scopes', value: 'Roles' },
  { name: 'X-Auth-Key-Id', value: 'KeyId' },
]
const credentials = [{ type: 'Header', name: 'X-API-Key' }, { type: 'Bearer' }]
const app = { name: 'app', match: [{ methods: ['GET', 'POST', 'PUT', 'DELETE'], paths: ['/app/**'] }] }
const admin = { name: 'admin', match: [{ paths: ['/admin/**'] }] }

const spec = { credentials, interfaces: [app, admin], upstream: { identityHeaders } }

const keys = (addresses: readonly string[] = []): readonly TestKey[] => [
  { key, name: subject, roles: ['app'], interfaces: ['app'], addresses },
  { key: otherKey, name: 'team-b', interfaces: ['admin'], addresses },
  { key: expiredKey, name: 'past', interfaces: ['app'], notAfter: 1_700_000_000 },
  { key: futureKey, name: 'future', interfaces: ['app'], notBefore: 4_000_000_000 },
]

const privateNetwork = keys(['10.0.0.0/8'])

export const contexts: Readonly<Record<string, Context>> = {
  P_SCOPED: { spec, keys: keys() },
  P_ANON_PUBLIC: { spec: { ...spec, public: [{ methods: ['GET'], paths: ['/public/**'] }] }, keys: keys() },
  P_BLACKLIST: {
    spec: {
      ...spec,
      interfaces: [{ name: 'app', match: [{ paths: ['/**'] }] }, admin],
      denied: [{ paths: ['/admin', '/admin/**', '/secret/**'] }],
    },
    keys: keys(),
  },
  P_METHOD: {
    spec: { ...spec, interfaces: [{ name: 'app', match: [{ methods: ['GET'], paths: ['/app/ro'] }] }, admin] },
    keys: keys(),
  },
  P_HOST: { spec: { ...spec, hosts: ['api.example.test'] }, keys: keys() },
  P_QUERYKEY: { spec: { ...spec, credentials: [...credentials, { type: 'Query', name: 'api_key' }] }, keys: keys() },
  P_PROBE: { spec: { ...spec, public: [{ methods: ['GET'], paths: ['/app/healthz'] }] }, keys: keys() },
  // The other end of every connection is loopback here, which is as much outside of 10.0.0.0/8 as 192.0.2.10 is.
  P_IP: { spec, keys: privateNetwork },
  P_IP_1HOP: { spec: { ...spec, clientAddress: { source: 'XForwardedFor', trustedHops: 1 } }, keys: privateNetwork },
}

/** Contexts that the sidecar has no feature for yet. */
export const contextsToCome: Readonly<Record<string, string>> = {
  P_CORS: 'answering preflight requests',
  P_WS: 'upgrades',
  P_WS_ORIGIN: 'upgrades',
  P_IP_PROXYPROTO: 'the PROXY protocol',
  EA_GRPC_BODY: 'rules on bodies',
}
