import { stringify } from 'yaml'
import { accessPolicySpecSchema, accessPolicyStatusSchema } from './access-policy.ts'
import { apiKeySpecSchema, apiKeyStatusSchema } from './api-key.ts'
import { accessPolicies, apiKeys, group, version } from './names.ts'
import type { Resource } from './object.ts'
import { immutableMessage, type Rule, type Schema } from './schema.ts'
import { policyName } from './shapes.ts'

interface Column {
  readonly name: string
  readonly type: 'string' | 'integer' | 'date'
  readonly jsonPath: string
  readonly description: string
  /** 1: with `-o wide` only. */
  readonly priority?: 1
}

interface Definition {
  readonly resource: Resource
  readonly shortName: string
  readonly description: string
  readonly spec: Schema
  readonly status: Schema
  readonly columns: readonly Column[]
  /** Over the whole object: of `metadata`, only the names can be seen. */
  readonly rules?: readonly Omit<Rule, 'holds'>[]
}

const conditionColumn = (name: string, type: string, part: 'status' | 'reason', description: string): Column => ({
  name,
  type: 'string',
  jsonPath: `.status.conditions[?(@.type=="${type}")].${part}`,
  description,
})
const age: Column = {
  name: 'Age',
  type: 'date',
  jsonPath: '.metadata.creationTimestamp',
  description: 'Since when it exists.',
}

const definitions: readonly Definition[] = [
  {
    resource: apiKeys,
    shortName: 'ak',
    description: 'A key that opens what its access policies grant. Postern puts it into a Secret for the caller.',
    spec: apiKeySpecSchema,
    status: apiKeyStatusSchema,
    columns: [
      conditionColumn('Ready', 'Ready', 'status', 'Whether all that the key asks for works.'),
      conditionColumn('Reason', 'Ready', 'reason', 'Why, or why not.'),
      {
        name: 'Expires',
        type: 'string',
        jsonPath: '.status.expiresTime',
        description: 'From when on the key is refused.',
      },
      age,
      {
        name: 'Key',
        type: 'string',
        jsonPath: '.status.keyIdSuffix',
        description: 'The last four characters of the key id.',
        priority: 1,
      },
      {
        name: 'Display name',
        type: 'string',
        jsonPath: '.spec.displayName',
        description: 'Free text for people.',
        priority: 1,
      },
    ],
  },
  {
    resource: accessPolicies,
    shortName: 'ap',
    description: 'Guards the ports of selected pods: which requests pass, and which keys.',
    spec: accessPolicySpecSchema,
    status: accessPolicyStatusSchema,
    columns: [
      conditionColumn('Ready', 'Ready', 'status', 'Whether the policy is in force.'),
      conditionColumn('Reason', 'Ready', 'reason', 'Why, or why not.'),
      { name: 'Keys', type: 'integer', jsonPath: '.status.keys.active', description: 'Keys that are published.' },
      {
        name: 'Refused',
        type: 'integer',
        jsonPath: '.status.keys.refused',
        description: 'Keys of which nothing is admitted.',
      },
      age,
      {
        name: 'Published',
        type: 'string',
        jsonPath: '.status.publishedTime',
        description: 'When the set was published last.',
        priority: 1,
      },
      {
        name: 'Sequence',
        type: 'integer',
        jsonPath: '.status.sequence',
        description: 'The version of the published set.',
        priority: 1,
      },
    ],
    rules: [
      {
        cel: `size(self.metadata.name) <= ${policyName.maxLength} && self.metadata.name.matches('${policyName.pattern}')`,
        // The API server takes no path into metadata here, so the message says it.
        message: `metadata.name must be a DNS label of at most ${policyName.maxLength} characters`,
        reason: 'FieldValueInvalid',
      },
    ],
  },
]

/** The CustomResourceDefinitions as YAML documents, by the plural of their kind. */
export function customResourceDefinitions(): Map<string, string> {
  return new Map(
    definitions.map((definition) => [
      definition.resource.plural,
      stringify(document(definition), { lineWidth: 0, aliasDuplicateObjects: false }),
    ]),
  )
}

function document({ resource, shortName, description, spec, status, columns, rules }: Definition): object {
  const singular = resource.kind.toLowerCase()
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${resource.plural}.${group}` },
    spec: {
      group,
      scope: 'Namespaced',
      names: {
        kind: resource.kind,
        listKind: `${resource.kind}List`,
        plural: resource.plural,
        singular,
        shortNames: [shortName],
        categories: ['postern'],
      },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: columns,
          schema: {
            openAPIV3Schema: {
              type: 'object',
              description,
              required: ['spec'],
              properties: {
                apiVersion: { type: 'string', description: 'Version of this schema.' },
                kind: { type: 'string', description: 'Kind of this resource.' },
                metadata: { type: 'object' },
                spec: structural({ ...spec, rules: [...(spec.rules ?? []), ...immutability(spec)] }),
                status: structural(status),
              },
              ...(rules && { 'x-kubernetes-validations': rules.map(validation) }),
            },
          },
        },
      ],
    },
  }
}

/** Our schema in the words of a CRD: `rules` become CEL. */
function structural({ rules = [], immutable: _, properties, items, additionalProperties, ...rest }: Schema): object {
  return {
    ...rest,
    ...(properties && {
      properties: Object.fromEntries(Object.entries(properties).map(([name, child]) => [name, structural(child)])),
    }),
    ...(items && { items: structural(items) }),
    ...(additionalProperties && { additionalProperties: structural(additionalProperties) }),
    ...(rules.length > 0 && { 'x-kubernetes-validations': rules.map(validation) }),
  }
}

/**
 * Rules for the immutable fields below a spec. They stand at the spec itself, which is always there: a transition rule
 * further down is not asked when the field, or what contains it, comes or goes.
 */
function immutability(schema: Schema, path = ''): Omit<Rule, 'holds'>[] {
  if (!schema.immutable)
    return Object.entries(schema.properties ?? {}).flatMap(([name, child]) => immutability(child, `${path}.${name}`))
  const names = path.slice(1).split('.')
  const present = (root: string): string =>
    `(${names.map((_, depth) => `has(${[root, ...names.slice(0, depth + 1)].join('.')})`).join(' && ')})`
  return [
    {
      cel: `${present('self')} == ${present('oldSelf')} && (!${present('self')} || self${path} == oldSelf${path})`,
      message: immutableMessage,
      reason: 'FieldValueInvalid',
      fieldPath: path,
    },
  ]
}

const validation = ({ cel, message, reason, fieldPath }: Omit<Rule, 'holds'>): object => ({
  rule: cel,
  message,
  reason,
  ...(fieldPath !== undefined && { fieldPath }),
})
