/** What a request names besides its path: how an AccessPolicy finds it, and which values a key may name. */

import type { FromSchema, Schema } from './schema.ts'
import { fieldName, memberName, memberNames, reservedFields, reservedFieldsCel } from './shapes.ts'

/** Where the name of a resource stands in a request. */
const resourceSource = {
  type: 'object',
  description: 'Where its name stands in a request: exactly one of these.',
  properties: {
    bodyPointer: {
      type: 'string',
      minLength: 2,
      maxLength: 256,
      pattern: /^(\/([^\x00-\x1f\x7f~/]|~[01])*)+$/.source,
      description:
        'A JSON Pointer (RFC 6901) to a string in a JSON body, such as `/model`. The body is read before anything is forwarded, up to `limits.maxBodyBytes`.',
    },
    header: {
      ...fieldName,
      description: 'A header, which must be there exactly once, without a comma.',
      rules: [
        {
          cel: `!(self.lowerAscii() in ${reservedFieldsCel})`,
          holds: (name: string) => !reservedFields.includes(name.toLowerCase()),
          message: 'has a meaning of its own in HTTP',
          reason: 'FieldValueInvalid',
        },
      ],
    },
    query: {
      type: 'string',
      minLength: 1,
      maxLength: 64,
      pattern: '^[A-Za-z0-9_.-]+$',
      description: 'A query parameter. Where it is there several times, every value must be granted.',
    },
    path: {
      type: 'string',
      minLength: 1,
      maxLength: 64,
      pattern: '^[A-Za-z][A-Za-z0-9_]*$',
      description: 'The `name` of a segment `{name}` in the path patterns of the interfaces.',
    },
  },
  rules: [
    {
      cel: '[has(self.bodyPointer), has(self.header), has(self.query), has(self.path)].filter(set, set).size() == 1',
      holds: (value: object) => Object.keys(value).length === 1,
      message: 'must have exactly one of bodyPointer, header, query and path',
      reason: 'FieldValueInvalid',
    },
  ],
} as const satisfies Schema

export const policyResources = {
  type: 'array',
  maxItems: 8,
  'x-kubernetes-list-type': 'map',
  'x-kubernetes-list-map-keys': ['name'],
  description: 'What requests name besides their path, such as a model, and keys can be limited to.',
  items: {
    type: 'object',
    description: 'One kind of resource.',
    required: ['name', 'from'],
    properties: {
      name: { ...memberName, description: 'Name of the resource.' },
      from: resourceSource,
      interfaces: {
        ...memberNames,
        minItems: 1,
        description: 'Interfaces whose requests name it. Default: all interfaces.',
      },
      required: {
        type: 'boolean',
        default: true,
        description: 'False lets pass requests that do not name it.',
      },
    },
  },
} as const satisfies Schema

/** Values of resources, as keys ask for them and grants limit them. */
export const resourceValues = {
  type: 'array',
  maxItems: 8,
  'x-kubernetes-list-type': 'map',
  'x-kubernetes-list-map-keys': ['name'],
  items: {
    type: 'object',
    description: 'The values of one resource.',
    required: ['name', 'values'],
    properties: {
      name: { ...memberName, description: 'Name of the resource in the policy.' },
      values: {
        type: 'array',
        minItems: 1,
        maxItems: 100,
        'x-kubernetes-list-type': 'set',
        description: 'Values that are compared exactly; one that ends in "*" stands for all that begin so.',
        items: {
          type: 'string',
          minLength: 1,
          maxLength: 256,
          pattern: /^[^*\x00-\x1f\x7f]*[*]?$/.source,
        },
      },
    },
  },
} as const satisfies Schema

export type PolicyResource = FromSchema<typeof policyResources>[number]
export type ResourceSource = PolicyResource['from']
