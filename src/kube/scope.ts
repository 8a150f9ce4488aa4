import type { KubeObject } from '../api/object.ts'
import type { Scope } from './cluster.ts'

/** Whether an object is in the namespace, and has all the labels, that a scope asks for. */
export const inScope = ({ metadata }: KubeObject, { namespace, labels }: Scope): boolean =>
  (namespace === undefined || metadata.namespace === namespace) &&
  Object.entries(labels ?? {}).every(([name, value]) => metadata.labels?.[name] === value)

/** What a metadata-only watch delivers of an object. */
export const metadataOf = ({ apiVersion, kind, metadata }: KubeObject): KubeObject => ({ apiVersion, kind, metadata })
