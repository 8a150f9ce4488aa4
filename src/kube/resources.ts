import { accessPolicies, apiKeys, configMaps, namespaces, secrets } from '../api/names.ts'
import { type KubeObject, nameKey, type ObjectName, type Resource } from '../api/object.ts'
import { ClusterError } from './cluster.ts'

/** The kinds that Postern reads or writes. */
export const ownResources: readonly Resource[] = [apiKeys, accessPolicies, secrets, configMaps, namespaces]

/** The resource that serves an object of this kind, or Invalid where the object lacks a name or a namespace. */
export const resourceOf = (resources: readonly Resource[], object: KubeObject): Resource => {
  const { apiVersion, kind, metadata } = object
  const found = resources.find((resource) => resource.kind === kind && resource.apiVersion === apiVersion)
  if (found === undefined) throw new ClusterError('Invalid', `${kind} of ${apiVersion} is not a kind known here`)
  checkName(found, metadata)
  return found
}

/** Invalid where a name is missing, or a namespace is missing or too much. */
export const checkName = (resource: Resource, { namespace, name }: ObjectName): void => {
  const { kind, namespaced } = resource
  if (!name) throw new ClusterError('Invalid', `${kind}: metadata.name: a name is needed`)
  if (namespaced !== Boolean(namespace)) {
    const problem = namespaced ? 'a namespace is needed' : 'objects of this kind have no namespace'
    throw new ClusterError('Invalid', `${kind} ${name}: metadata.namespace: ${problem}`)
  }
}

/** How messages name an object: `ApiKey billing/exporter`. */
export const describe = (kind: string, name: ObjectName): string => `${kind} ${nameKey(name)}`

/**
 * Refuses preconditions that the API server would pass over: an apply with a version but no uid makes the object again
 * where it is gone, and the uid of a status is not looked at, while its version is.
 */
export const checkPreconditions = (what: 'Object' | 'Status', { kind, metadata }: KubeObject): void => {
  const [given, needed] =
    what === 'Object' ? (['resourceVersion', 'uid'] as const) : (['uid', 'resourceVersion'] as const)
  if (metadata[given] === undefined || metadata[needed] !== undefined) return
  throw new ClusterError('Invalid', `${describe(kind, metadata)}: metadata.${given}: is of no use without ${needed}`)
}
