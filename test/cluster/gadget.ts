import type { KubeObject, Resource } from '../../src/api/object.ts'
import { ClusterError } from '../../src/kube/cluster.ts'
import type { KindSchema } from '../../src/kube/memory.ts'

/** A kind of the tests' own, small and with everything that matters: defaults, bounds, lists that merge, a status. */
export const gadgets: Resource = {
  apiVersion: 'tests.postern.dev/v1',
  kind: 'Gadget',
  plural: 'gadgets',
  namespaced: true,
}

const conditions = {
  type: 'array',
  'x-kubernetes-list-type': 'map',
  'x-kubernetes-list-map-keys': ['type'],
  items: {
    type: 'object',
    required: ['type'],
    properties: { type: { type: 'string' }, status: { type: 'string' }, message: { type: 'string' } },
  },
}

const schema = {
  type: 'object',
  properties: {
    spec: {
      type: 'object',
      properties: {
        size: { type: 'integer', default: 1, maximum: 10 },
        color: { type: 'string' },
        tags: { type: 'array', 'x-kubernetes-list-type': 'set', items: { type: 'string' } },
        steps: { type: 'array', 'x-kubernetes-list-type': 'atomic', items: { type: 'string' } },
      },
    },
    status: { type: 'object', properties: { seen: { type: 'integer' }, conditions } },
  },
}

export const gadgetDefinition: KubeObject = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'gadgets.tests.postern.dev' },
  spec: {
    group: 'tests.postern.dev',
    scope: 'Namespaced',
    names: { kind: gadgets.kind, plural: gadgets.plural, singular: 'gadget' },
    versions: [
      { name: 'v1', served: true, storage: true, subresources: { status: {} }, schema: { openAPIV3Schema: schema } },
    ],
  },
}

/** The same kind for the cluster in memory. */
export const gadgetSchema: KindSchema = {
  apiVersion: gadgets.apiVersion,
  kind: gadgets.kind,
  schema,
  admit: (object) => {
    const { size = 1, ...spec } = { ...(object.spec as Record<string, unknown>) }
    if (typeof size !== 'number' || size > 10) {
      throw new ClusterError('Invalid', `Gadget ${object.metadata.name}: spec.size: must be at most 10`)
    }
    const known = Object.entries(spec).filter(([name]) => Object.hasOwn(schema.properties.spec.properties, name))
    return object.spec === undefined ? object : { ...object, spec: { size, ...Object.fromEntries(known) } }
  },
}
