/** The parts of an object that are written apart: what users and Postern say, the status, and what the server says. */

import { isDeepStrictEqual } from 'node:util'
import type { KubeObject, ObjectMeta, ObjectName } from '../api/object.ts'

/** A copy as it would arrive in JSON, without fields that are undefined. */
export const plain = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T

/** Everything but the status and what the server alone decides. */
export const mainPart = (object: KubeObject): object => {
  const content = contentOf(object)
  const metadata = Object.fromEntries(Object.entries(object.metadata).filter(([name]) => said.has(name)))
  return Object.keys(metadata).length === 0 ? content : { ...content, metadata }
}

/** The server keeps no empty labels, annotations, owners or finalizers. */
export const withMainPart = (object: KubeObject, main: unknown): KubeObject => {
  const { apiVersion, kind, metadata, status } = object
  const system = Object.fromEntries(Object.entries(metadata).filter(([name]) => !said.has(name)))
  const { metadata: ours, ...content } = main as { readonly metadata?: Partial<ObjectMeta> | null }
  const filled = Object.fromEntries(
    Object.entries(ours ?? {}).filter(([, value]) => Object.keys(value ?? {}).length > 0),
  )
  const whole = { apiVersion, kind, metadata: { ...system, ...filled } as ObjectMeta, ...content }
  return status === undefined ? whole : { ...whole, status }
}

/** An object with nothing but its name and what is ours to say of it. */
export const mainOnly = (object: KubeObject): KubeObject => {
  const { apiVersion, kind } = object
  return withMainPart({ apiVersion, kind, metadata: nameOf(object) }, mainPart(object))
}

/** An object with nothing but its name and its status. */
export const statusOnly = (object: KubeObject): KubeObject => {
  const { apiVersion, kind } = object
  return withStatusPart({ apiVersion, kind, metadata: nameOf(object) }, statusPart(object))
}

/** The object, to be written only where what is stored has the uid and version that `asked` names. */
export const withPreconditions = (object: KubeObject, { metadata: asked }: KubeObject): KubeObject => {
  const { uid, resourceVersion } = asked
  const given = { ...(uid !== undefined && { uid }), ...(resourceVersion !== undefined && { resourceVersion }) }
  return { ...object, metadata: { ...object.metadata, ...given } }
}

export const nameOf = ({ metadata: { namespace, name } }: KubeObject): ObjectName =>
  namespace === undefined ? { name } : { namespace, name }

/** Nothing where the status is empty: the API server refuses an empty status in place of one that was not. */
export const statusPart = ({ status }: KubeObject): object =>
  status === undefined || isDeepStrictEqual(status, {}) ? {} : { status }

export const withStatusPart = (object: KubeObject, part: unknown): KubeObject => {
  const { status, ...rest } = object
  return { ...rest, ...(part as { readonly status?: typeof status }) }
}

/** Whether nothing differs but metadata and status: then the generation stays. */
export const sameContent = (before: KubeObject, after: KubeObject): boolean =>
  isDeepStrictEqual(contentOf(before), contentOf(after))

export const raiseGeneration = (object: KubeObject): KubeObject => {
  const { generation, ...metadata } = object.metadata
  return generation === undefined ? object : { ...object, metadata: { ...metadata, generation: generation + 1 } }
}

/** What clients say in an object's metadata; the rest is the server's. */
const said = new Set(['labels', 'annotations', 'ownerReferences', 'finalizers'])

const notContent = new Set(['apiVersion', 'kind', 'metadata', 'status'])

const contentOf = (object: KubeObject): object =>
  Object.fromEntries(Object.entries(object).filter(([name]) => !notContent.has(name)))

export const withoutNulls = (value: object): object =>
  Object.fromEntries(Object.entries(value).filter(([, child]) => child !== null))

/** The path of the first null outside of metadata, where the server knows how to deal with it. */
export const firstNull = (value: object, path = ''): string | undefined => {
  for (const [name, child] of Object.entries(value)) {
    const at = Array.isArray(value) ? `${path}[${name}]` : path === '' ? name : `${path}.${name}`
    if (at === 'metadata') continue
    const found = child === null ? at : typeof child === 'object' ? firstNull(child as object, at) : undefined
    if (found !== undefined) return found
  }
  return undefined
}
