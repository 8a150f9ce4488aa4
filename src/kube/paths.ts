/** Where the API server keeps what, and in which form to ask for it. */

import type { ObjectName, Resource } from '../api/object.ts'
import type { WatchScope } from './cluster.ts'

export const collectionPath = ({ apiVersion, plural }: Resource, namespace?: string): string => {
  const group = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`
  return namespace === undefined
    ? `${group}/${plural}`
    : `${group}/namespaces/${encodeURIComponent(namespace)}/${plural}`
}

export const objectPath = (resource: Resource, { namespace, name }: ObjectName): string =>
  `${collectionPath(resource, namespace)}/${encodeURIComponent(name)}`

export type Query = Readonly<Record<string, string | number | boolean | undefined>>

/** The path of everything in a scope. */
export const scopePath = (resource: Resource, { namespace, labels = {} }: WatchScope, query: Query): string => {
  const labelSelector = Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .join(',')
  return withQuery(collectionPath(resource, namespace), { ...query, labelSelector: labelSelector || undefined })
}

export const withQuery = (path: string, query: Query): string => {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) if (value !== undefined) search.append(name, String(value))
  return search.size === 0 ? path : `${path}?${search.toString()}`
}

/** The media type of objects, or of their metadata alone. */
export const acceptFor = ({ metadataOnly }: WatchScope, what: 'Object' | 'List'): string => {
  const kind = what === 'List' ? 'PartialObjectMetadataList' : 'PartialObjectMetadata'
  return metadataOnly ? `application/json;as=${kind};g=meta.k8s.io;v=v1` : 'application/json'
}

/** `ApiKey in billing`, for messages about many objects. */
export const describeScope = ({ kind }: Resource, { namespace }: WatchScope): string =>
  `${kind} in ${namespace ?? 'all namespaces'}`
