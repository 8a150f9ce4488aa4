/** Objects for tests, as the API server stores them: `apiKey('a', asking('orders'), expiring('2026-06-01T00:00:00Z'))`. */

import type { AccessPolicy } from '../../src/api/access-policy.ts'
import type { ApiKey } from '../../src/api/api-key.ts'
import { accessPolicies, apiKeys } from '../../src/api/names.ts'
import type { KubeObject, ObjectMeta } from '../../src/api/object.ts'

/** The moment at which tests take place, unless they say otherwise. */
export const noon = new Date('2026-06-01T12:00:00Z')

/** So many seconds after noon; before it where negative. */
export const afterNoon = (seconds: number): Date => new Date(noon.getTime() + seconds * 1000)

/** Unix seconds, as sets and decisions count. */
export const secondsOf = (moment: Date): number => Math.floor(moment.getTime() / 1000)

interface Draft extends KubeObject {
  readonly metadata: ObjectMeta & { readonly namespace: string }
  readonly spec: Readonly<Record<string, unknown>>
}

/** One way in which an object differs from the plainest of its kind. */
export type Change = (draft: Draft) => Draft

const build =
  (kind: { readonly apiVersion: string; readonly kind: string }, spec: Draft['spec']) =>
  (name: string, ...changes: readonly Change[]): Draft =>
    changes.reduce<Draft>((draft, change) => change(draft), {
      apiVersion: kind.apiVersion,
      kind: kind.kind,
      metadata: {
        name,
        namespace: 'shop',
        uid: `uid-of-${name}`,
        resourceVersion: '1',
        generation: 1,
        creationTimestamp: '2026-01-01T00:00:00Z',
      },
      spec,
    })

/** An ApiKey in namespace shop that asks for nothing. */
export const apiKey = build(apiKeys, {}) as (name: string, ...changes: readonly Change[]) => Draft & ApiKey

/** An AccessPolicy in namespace shop that guards port 8080 of the pods named like it. */
export const accessPolicy = (name: string, ...changes: readonly Change[]): Draft & AccessPolicy =>
  build(accessPolicies, { workloadSelector: { matchLabels: { app: name } }, ports: [{ port: 8080 }] })(
    name,
    ...changes,
  ) as Draft & AccessPolicy

/** The part of an object that a person writes. */
export const manifestOf = ({ apiVersion, kind, metadata: { name, namespace }, spec }: Draft): KubeObject => ({
  apiVersion,
  kind,
  metadata: { name, namespace },
  spec,
})

export const withMeta =
  (metadata: Partial<ObjectMeta>): Change =>
  (draft) => ({ ...draft, metadata: { ...draft.metadata, ...metadata } as Draft['metadata'] })

export const withSpec =
  (spec: Readonly<Record<string, unknown>>): Change =>
  (draft) => ({ ...draft, spec: { ...draft.spec, ...spec } })

export const withStatus =
  (status: object): Change =>
  (draft) => ({ ...draft, status })

export const inNamespace = (namespace: string): Change => withMeta({ namespace })
export const created = (creationTimestamp: string): Change => withMeta({ creationTimestamp })

/** Asks for one more policy, `name` or `namespace/name`. */
export const asking =
  (
    policy: string,
    entry: { readonly roles?: readonly string[]; readonly interfaces?: readonly string[] } = {},
  ): Change =>
  (draft) => {
    const [name, namespace] = policy.split('/').reverse() as [string, string | undefined]
    const reference = { name, ...(namespace !== undefined && { namespace }) }
    const before = (draft.spec.access ?? []) as readonly unknown[]
    return { ...draft, spec: { ...draft.spec, access: [...before, { policy: reference, ...entry }] } }
  }

export const disabled = (): Change => withSpec({ enabled: false })
export const expiring = (expiresTime: string): Change => withSpec({ expiresTime })
export const lasting = (lifetimeSeconds: number): Change => withSpec({ lifetimeSeconds })
export const notBefore = (notBeforeTime: string): Change => withSpec({ notBeforeTime })
export const allowing = (...allowedAddresses: readonly string[]): Change => withSpec({ allowedAddresses })
export const adopting = (name: string, key: string): Change =>
  withSpec({ source: { existing: { secretRef: { name, key } } } })
export const knownBy = (digest: string): Change => withSpec({ source: { digest } })
export const granting = (...grants: readonly object[]): Change => withSpec({ grants })
export const guarding = (labels: Readonly<Record<string, string>>, ...ports: readonly number[]): Change =>
  withSpec({ workloadSelector: { matchLabels: labels }, ports: ports.map((port) => ({ port })) })
