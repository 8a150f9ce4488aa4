/** Pieces of schema that several kinds share. */

import type { Rule, Schema } from './schema.ts'

export const dnsLabel = {
  type: 'string',
  minLength: 1,
  maxLength: 63,
  pattern: '^[a-z0-9]([a-z0-9-]*[a-z0-9])?$',
} as const satisfies Schema

export const dnsSubdomain = {
  type: 'string',
  minLength: 1,
  maxLength: 253,
  pattern: '^[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*$',
} as const satisfies Schema

/** Names of a policy: it becomes part of the names of ConfigMaps. */
export const policyName = { ...dnsLabel, maxLength: 50 } as const satisfies Schema

/** Names of interfaces and roles. */
export const memberName = {
  type: 'string',
  minLength: 1,
  maxLength: 63,
  pattern: '^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$',
} as const satisfies Schema

/** A set of names of interfaces or roles. */
export const memberNames = {
  type: 'array',
  maxItems: 64,
  items: memberName,
  'x-kubernetes-list-type': 'set',
} as const satisfies Schema

/** Names of header fields. */
export const fieldName = {
  type: 'string',
  minLength: 1,
  maxLength: 64,
  pattern: '^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$',
} as const satisfies Schema

/** Fields that frame or route a message: nothing of ours may take their place. */
export const reservedFields: readonly string[] = [
  'host',
  'connection',
  'content-length',
  'transfer-encoding',
  'te',
  'trailer',
  'upgrade',
  'keep-alive',
  'expect',
  'authorization',
  'cookie',
]
export const reservedFieldsCel = `[${reservedFields.map((name) => `'${name}'`).join(', ')}]`

/** The name of one entry in a Secret's data. */
export const dataName = {
  type: 'string',
  minLength: 1,
  maxLength: 253,
  pattern: '^[-._a-zA-Z0-9]+$',
} as const satisfies Schema

const labelKey =
  '([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?'
const labelKeyPattern = new RegExp(`^${labelKey}$`)
const labelValue = {
  type: 'string',
  maxLength: 63,
  pattern: '^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$',
} as const satisfies Schema

const labelKeys = {
  cel: `self.all(key, size(key) <= 316 && key.matches('^${labelKey}$'))`,
  holds: (map: object) => Object.keys(map).every((key) => key.length <= 316 && labelKeyPattern.test(key)),
  message: 'must have label names as keys',
  reason: 'FieldValueInvalid',
} as const satisfies Rule

export const labelMap = {
  type: 'object',
  maxProperties: 32,
  additionalProperties: labelValue,
  rules: [labelKeys],
} as const satisfies Schema

export const annotationMap = {
  type: 'object',
  maxProperties: 32,
  additionalProperties: { type: 'string', maxLength: 4096 },
  rules: [{ ...labelKeys, message: 'must have annotation names as keys' }],
} as const satisfies Schema

/** RFC 3339, of which the API server's own format admits variants that JavaScript and Go read differently. */
export const time = {
  type: 'string',
  format: 'date-time',
  maxLength: 40,
  pattern:
    '^[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$',
} as const satisfies Schema

export const conditions = {
  type: 'array',
  description: 'What is true of this object now, by type; `kubectl wait --for=condition=TYPE` waits for one.',
  maxItems: 16,
  'x-kubernetes-list-type': 'map',
  'x-kubernetes-list-map-keys': ['type'],
  items: {
    type: 'object',
    description: 'One fact.',
    required: ['type', 'status', 'reason', 'message', 'lastTransitionTime'],
    properties: {
      type: { type: 'string', maxLength: 316, description: 'What the fact is about.' },
      status: { type: 'string', enum: ['True', 'False', 'Unknown'], description: 'Whether it holds.' },
      reason: { type: 'string', maxLength: 1024, description: 'Why, in one word, for programs.' },
      message: { type: 'string', maxLength: 32768, description: 'Why, in a sentence, for people.' },
      lastTransitionTime: { ...time, description: 'When `status` changed last.' },
      observedGeneration: {
        type: 'integer',
        format: 'int64',
        minimum: 0,
        description: 'The generation of the spec that this fact is about.',
      },
    },
  },
} as const satisfies Schema
