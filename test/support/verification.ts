/** Verification sets for tests, made by the same code that the operator publishes with. */

import type { ConfigMap } from '../../src/api/object.ts'
import type { RateLimit } from '../../src/api/rate-limit.ts'
import type { AccessDocument } from '../../src/api/verification.ts'
import { digestOf, mintKey } from '../../src/core/key.ts'
import { compilePolicy, type Policy } from '../../src/core/policy.ts'
import { type AdmittedKey, type Edition, writeConfigMaps, writeContent } from '../../src/core/reconcile/publish.ts'
import { type SigningKey, signingKey } from '../../src/core/signature.ts'

export const keyPrefix = 'pstn'
export const signer: SigningKey = signingKey(Buffer.alloc(32, 1))
export const nextSigner: SigningKey = signingKey(Buffer.alloc(32, 2))

/** A key that is the same in every run: its randomness is the number. */
export const keyOf = (number: number): string => {
  let state = number * 2654435761 + 1
  return mintKey(keyPrefix, (count) =>
    Uint8Array.from({ length: count }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return state >>> 24
    }),
  )
}

export const keyIdOf = (key: string): string => key.split('_')[1]!

/** A policy `shop/orders` with this spec, compiled. */
export function policyOf(spec: object, name = 'orders', namespace = 'shop'): Policy {
  const compiled = compilePolicy(
    {
      apiVersion: 'postern.dev/v1alpha1',
      kind: 'AccessPolicy',
      metadata: { name, namespace, uid: `uid-of-${name}` },
      spec: { workloadSelector: { matchLabels: { app: name } }, ports: [{ port: 8080 }], ...spec },
    },
    keyPrefix,
  )
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.problems))
  return compiled.value
}

export interface TestKey {
  readonly key: string
  /** Of a key that was made elsewhere. */
  readonly keyId?: string
  readonly name?: string
  readonly enabled?: boolean
  readonly roles?: readonly string[]
  /** Names of interfaces; all where absent. */
  readonly interfaces?: readonly string[]
  /** In place of `interfaces`: by index, with limits of resources. */
  readonly access?: readonly AccessDocument[]
  readonly rateLimit?: RateLimit
  readonly addresses?: readonly string[]
  /** Unix seconds. */
  readonly notBefore?: number
  readonly notAfter?: number
}

function admitted(policy: Policy, { key, interfaces, access, ...rest }: TestKey): AdmittedKey {
  const indexes = interfaces?.map((name) => policy.interfaces.get(name)!) ?? [...policy.interfaces.values()]
  return {
    namespace: 'billing',
    name: rest.name ?? 'exporter',
    keyId: rest.keyId ?? keyIdOf(key),
    enabled: rest.enabled ?? true,
    createdTime: '2026-01-01T00:00:00Z',
    roles: rest.roles ?? [],
    access: access ?? [{ interfaces: indexes }],
    rateLimit: rest.rateLimit,
    addresses: rest.addresses ?? [],
    values: [
      {
        digest: digestOf(key).toString('base64url'),
        notBefore: rest.notBefore ?? 0,
        notAfter: rest.notAfter ?? 0,
      },
    ],
  }
}

/** The ConfigMaps of a published set. */
export function published(
  policy: Policy,
  keys: readonly TestKey[],
  edition: Partial<Edition> = {},
  now = new Date('2026-06-01T00:00:00Z'),
): ConfigMap[] {
  const content = writeContent(
    policy,
    keys.map((key) => admitted(policy, key)),
    new Set(),
    now,
  )
  return writeConfigMaps(policy, content, {
    epoch: 1,
    sequence: 1,
    publishedTime: now,
    signingKey: signer,
    nextPublicKey: nextSigner.publicKey,
    ...edition,
  })
}

/** The files of all ConfigMaps, as a mounted directory holds them. */
export const filesOf = (configMaps: readonly ConfigMap[]): Map<string, Buffer> =>
  new Map(
    configMaps.flatMap(({ data = {} }) =>
      Object.entries(data).map(([name, text]) => [name, Buffer.from(text)] as const),
    ),
  )
