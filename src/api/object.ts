/** The shapes that every Kubernetes object shares, as far as Postern reads them. */

export interface OwnerReference {
  readonly apiVersion: string
  readonly kind: string
  readonly name: string
  readonly uid: string
  readonly controller?: boolean
  readonly blockOwnerDeletion?: boolean
}

export interface ObjectMeta {
  readonly name: string
  readonly namespace?: string
  readonly uid?: string
  /** Opaque; of one resource type, larger numbers are newer. */
  readonly resourceVersion?: string
  readonly generation?: number
  /** RFC 3339, to the second. */
  readonly creationTimestamp?: string
  readonly deletionTimestamp?: string
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
  readonly ownerReferences?: readonly OwnerReference[]
  readonly finalizers?: readonly string[]
}

export interface KubeObject {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: ObjectMeta
  readonly spec?: unknown
  readonly status?: unknown
}

/** Values are base64, as the API server stores them. */
export interface Secret extends KubeObject {
  readonly type?: string
  readonly data?: Readonly<Record<string, string>>
}

export interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>
}

/** A kind as the API server serves it. */
export interface Resource {
  /** `v1` or `group/version`. */
  readonly apiVersion: string
  readonly kind: string
  /** The name in URLs. */
  readonly plural: string
  readonly namespaced: boolean
}

/** Names one object of a known kind; cluster-scoped objects have no namespace. */
export interface ObjectName {
  readonly namespace?: string
  readonly name: string
}

/** `namespace/name`, or the name alone where there is no namespace. */
export const nameKey = ({ namespace, name }: ObjectName): string =>
  namespace === undefined ? name : `${namespace}/${name}`

export interface Condition {
  readonly type: string
  readonly status: 'True' | 'False' | 'Unknown'
  /** CamelCase, for machines. */
  readonly reason: string
  /** A sentence, for people. */
  readonly message: string
  readonly lastTransitionTime: string
  readonly observedGeneration?: number
}
