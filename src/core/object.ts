import type { KubeObject } from '../api/object.ts'
import type { Parsed, Problem } from '../api/schema.ts'
import { defaultNamespace, type Manifest } from './manifest.ts'

const nameForm = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/
const namespaceForm = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/

/** What somebody wrote as an object that has a usable name; kinds of our own and of namespaces' content get a namespace. */
export function toObject(manifest: Manifest): Parsed<KubeObject> {
  const { metadata, kind } = manifest
  if (!isRecord(metadata)) return { ok: false, problems: [{ path: '.metadata', message: 'is required' }] }
  const { name, namespace } = metadata
  const isNamespaced = kind !== 'Namespace'
  const problems: Problem[] = [
    ...(typeof name !== 'string' ? [{ path: '.metadata.name', message: 'is required' }] : []),
    ...(typeof name === 'string' && (name.length > 253 || !nameForm.test(name))
      ? [{ path: '.metadata.name', message: 'must be a DNS name in lower case' }]
      : []),
    ...(isNamespaced && namespace !== undefined && !(typeof namespace === 'string' && namespaceForm.test(namespace))
      ? [{ path: '.metadata.namespace', message: 'must be a DNS label in lower case' }]
      : []),
    ...(['labels', 'annotations'] as const).flatMap((field) =>
      metadata[field] === undefined || isTextMap(metadata[field])
        ? []
        : [{ path: `.metadata.${field}`, message: 'must be a map of texts' }],
    ),
  ]
  if (problems.length > 0) return { ok: false, problems }
  const { labels, annotations } = metadata as {
    labels?: Readonly<Record<string, string>>
    annotations?: Readonly<Record<string, string>>
  }
  return {
    ok: true,
    value: {
      ...manifest,
      metadata: {
        name: name as string,
        ...(isNamespaced && { namespace: (namespace as string | undefined) ?? defaultNamespace }),
        ...(labels && { labels }),
        ...(annotations && { annotations }),
      },
    },
  }
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const isTextMap = (value: unknown): boolean =>
  isRecord(value) && Object.values(value).every((text) => typeof text === 'string')
