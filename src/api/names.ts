/** Every fixed string that people or other programs may see: group, kinds, labels, annotations, conditions, reasons. */

import type { Resource } from './object.ts'

export const group = 'postern.dev'
export const version = 'v1alpha1'
export const apiVersion = `${group}/${version}` as const

/** Field manager, event source and user agent. */
export const managerName = 'postern'

export const apiKeys = { apiVersion, kind: 'ApiKey', plural: 'apikeys', namespaced: true } as const satisfies Resource
export const accessPolicies = {
  apiVersion,
  kind: 'AccessPolicy',
  plural: 'accesspolicies',
  namespaced: true,
} as const satisfies Resource
export const secrets = {
  apiVersion: 'v1',
  kind: 'Secret',
  plural: 'secrets',
  namespaced: true,
} as const satisfies Resource
export const configMaps = {
  apiVersion: 'v1',
  kind: 'ConfigMap',
  plural: 'configmaps',
  namespaced: true,
} as const satisfies Resource
export const namespaces = {
  apiVersion: 'v1',
  kind: 'Namespace',
  plural: 'namespaces',
  namespaced: false,
} as const satisfies Resource

export const labels = {
  /** Value `true` on every object that Postern made and keeps. */
  managed: `${group}/managed`,
  /** On verification ConfigMaps: the AccessPolicy's name. */
  policy: `${group}/policy`,
} as const

export const annotations = {
  /** On a managed Secret: revision, digest and times of its live values, under an HMAC. */
  values: `${group}/values`,
} as const

/** Data names in a key's Secret, where no template says otherwise. */
export const secretData = { key: 'key', keyId: 'keyId', secret: 'secret' } as const

/** Condition types; what each says is told in the message of the condition. */
export const conditionTypes = {
  ready: 'Ready',
  /** Abnormal, present only while true: work goes on, or waits for something that may come by itself. */
  reconciling: 'Reconciling',
  /** Abnormal, present only while true: nothing will change until somebody acts. */
  stalled: 'Stalled',
  secretReady: 'SecretReady',
  accepted: 'Accepted',
  published: 'Published',
  /** Abnormal, present only while true. */
  capacityLow: 'CapacityLow',
} as const

/** The data of the operator's own Secret, in its own namespace: each 32 random bytes. */
export const operatorKeys = {
  secretName: 'postern-keys',
  /** Seeds of the Ed25519 keys that sign verification sets: the one in use, and the one after it. */
  current: 'signing-current',
  next: 'signing-next',
  /** HMAC key over what managed Secrets say of themselves. */
  seal: 'seal',
} as const
