/** What the API server itself knows of the built-in kinds that Postern writes: enough to behave alike, no more. */

import type { KubeObject } from '../api/object.ts'
import { ClusterError } from './cluster.ts'
import type { MergeSchema } from './field-sets.ts'
import { describe } from './resources.ts'

const texts: MergeSchema = { type: 'object', additionalProperties: { type: 'string' } }

export const metadataSchema: MergeSchema = {
  properties: {
    labels: texts,
    annotations: texts,
    ownerReferences: { 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['uid'] },
    finalizers: { 'x-kubernetes-list-type': 'set' },
  },
}

const dataSchema: MergeSchema = {
  properties: { data: texts, binaryData: texts, immutable: { type: 'boolean' }, type: { type: 'string' } },
}

/** How the content of a built-in kind merges; one that is not known here takes anything. */
export const builtInSchema = (kind: string): MergeSchema =>
  kind === 'Secret' || kind === 'ConfigMap' ? dataSchema : {}

/** A Secret's or ConfigMap's values together. */
const dataLimitBytes = 1024 * 1024

/** Becomes the name of a file where it is mounted: neither the directory itself, nor one that begins like its parent. */
const dataName = /^(?![.]$|[.][.])[-._a-zA-Z0-9]{1,253}$/

/** A whole request. */
const requestLimitBytes = 3 * 1024 * 1024

/** A Secret with `stringData` moved into `data`; anything else as it came. */
export const withoutStringData = (object: KubeObject): KubeObject => {
  if (object.kind !== 'Secret' || !('stringData' in object)) return object
  const { stringData, ...rest } = object as KubeObject & { stringData: Record<string, string>; data?: object }
  const encoded = Object.entries(stringData).map(([name, text]) => [name, Buffer.from(text).toString('base64')])
  return { ...rest, data: { ...rest.data, ...Object.fromEntries(encoded) } } as KubeObject
}

/** Fills in the defaults of a built-in kind and rejects what the API server would. */
export const admitBuiltIn = (object: KubeObject, old: KubeObject | undefined): KubeObject => {
  const { kind } = object
  if (kind !== 'Secret' && kind !== 'ConfigMap') return object
  const { data = {} } = object as { data?: Readonly<Record<string, unknown>> }
  let bytes = 0
  for (const [name, value] of Object.entries(data)) {
    if (!dataName.test(name)) refuse(object, `data[${name}]`, 'not a valid name for data')
    if (typeof value !== 'string') refuse(object, `data[${name}]`, 'must be text')
    if (kind === 'Secret' && !isBase64(value as string)) refuse(object, `data[${name}]`, 'must be base64')
    bytes += Buffer.byteLength(value as string, kind === 'Secret' ? 'base64' : 'utf8')
  }
  if (bytes > requestLimitBytes) {
    throw new ClusterError('TooLarge', `${describe(kind, object.metadata)}: more than ${requestLimitBytes} bytes`)
  }
  if (bytes > dataLimitBytes) refuse(object, 'data', `too long: must have at most ${dataLimitBytes} bytes`)
  if (kind === 'ConfigMap') return object
  const type = (object as { type?: string }).type ?? 'Opaque'
  const oldType = (old as { type?: string } | undefined)?.type
  if (oldType !== undefined && oldType !== type) refuse(object, 'type', 'field is immutable')
  return { ...object, type } as KubeObject
}

const isBase64 = (text: string): boolean => text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text)

const refuse = ({ kind, metadata }: KubeObject, field: string, problem: string): never => {
  throw new ClusterError('Invalid', `${describe(kind, metadata)}: ${field}: ${problem}`)
}
