import type { KubeObject, ObjectMeta } from './object.ts'
import { rateLimit } from './rate-limit.ts'
import { resourceValues } from './resources.ts'
import { type FromSchema, parser, type Schema } from './schema.ts'
import { annotationMap, conditions, dataName, dnsLabel, dnsSubdomain, labelMap, memberNames, time } from './shapes.ts'

const addressOctet = '([0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5])'

const allowedAddress = {
  type: 'string',
  minLength: 2,
  maxLength: 49,
  description:
    'An IPv4 or IPv6 address, a CIDR without host bits, or an IPv4 address in which exactly one octet is "*".',
  rules: [
    {
      cel: `isIP(self) || (isCIDR(self) && cidr(self).masked() == cidr(self)) || (self.matches('^((${addressOctet}|[*])[.]){3}(${addressOctet}|[*])$') && self.matches('^[^*]*[*][^*]*$'))`,
      message:
        'must be an IPv4 or IPv6 address, a CIDR without host bits, or an IPv4 address with exactly one "*" octet',
      reason: 'FieldValueInvalid',
    },
  ],
} as const satisfies Schema

const accessEntry = {
  type: 'object',
  description:
    'One thing that the key asks for. The policy grants it or refuses it as a whole; `status.access` says which.',
  required: ['policy'],
  properties: {
    policy: {
      type: 'object',
      description: 'The AccessPolicy that is asked.',
      required: ['name'],
      properties: {
        name: {
          type: 'string',
          minLength: 1,
          maxLength: 50,
          pattern: '^([*]|[a-z0-9]([a-z0-9-]*[a-z0-9])?)$',
          description: 'Name of the policy; "*" stands for every policy of the namespace.',
        },
        namespace: { ...dnsLabel, description: "Namespace of the policy. Default: the key's own." },
      },
    },
    roles: {
      ...memberNames,
      description: 'Roles of the policy. Roles and interfaces add up; with neither, all that the policy grants.',
    },
    interfaces: { ...memberNames, description: 'Interfaces of the policy, besides those of the roles.' },
    resources: {
      ...resourceValues,
      description:
        'Values of resources that are asked for, on these interfaces. A resource that is not here: every value that the policy grants.',
    },
  },
} as const satisfies Schema

const secret = {
  type: 'object',
  description: 'The Secret that receives a generated key.',
  properties: {
    name: { ...dnsSubdomain, description: "Name of the Secret. Default: the ApiKey's.", immutable: true },
    labels: { ...labelMap, description: 'Labels for the Secret, besides our own.' },
    annotations: { ...annotationMap, description: 'Annotations for the Secret, besides our own.' },
    template: {
      type: 'object',
      minProperties: 1,
      maxProperties: 16,
      additionalProperties: { type: 'string', maxLength: 4096 },
      description:
        'Data of the Secret by name, in place of `key`, `keyId` and `secret`. $(key) is the whole key, $(keyId) its public part, $(secret) the rest with the check digits.',
      rules: [
        {
          cel: "self.all(name, size(name) <= 253 && name.matches('^[-._a-zA-Z0-9]+$'))",
          holds: (template: object) => Object.keys(template).every((name) => /^[-._a-zA-Z0-9]{1,253}$/.test(name)),
          message: 'must have names of Secret data as keys',
          reason: 'FieldValueInvalid',
        },
        {
          cel: "self.exists(name, self[name].contains('$(key)') || self[name].contains('$(secret)'))",
          holds: (template: Readonly<Record<string, string>>) =>
            Object.values(template).some((text) => /\$\((key|secret)\)/.test(text)),
          message: 'must use $(key) or $(secret) somewhere',
          reason: 'FieldValueInvalid',
        },
        {
          cel: "self.all(name, !self[name].replace('$(key)', '').replace('$(keyId)', '').replace('$(secret)', '').contains('$('))",
          holds: (template: Readonly<Record<string, string>>) =>
            Object.values(template).every((text) => !text.replace(/\$\((key|keyId|secret)\)/g, '').includes('$(')),
          message: 'may use the placeholders $(key), $(keyId) and $(secret) only',
          reason: 'FieldValueInvalid',
        },
      ],
    },
  },
} as const satisfies Schema

const source = {
  type: 'object',
  description: 'Where the key comes from. Default: Postern generates it.',
  immutable: true,
  properties: {
    existing: {
      type: 'object',
      description: 'Adopt a key that something else delivers into a Secret of this namespace.',
      required: ['secretRef'],
      properties: {
        secretRef: {
          type: 'object',
          description: 'The Secret and the entry of its data that holds the whole key.',
          required: ['name', 'key'],
          properties: {
            name: { ...dnsSubdomain, description: 'Name of the Secret.' },
            key: { ...dataName, description: 'Name of the data entry.' },
          },
        },
      },
    },
    digest: {
      type: 'string',
      maxLength: 71,
      pattern: '^sha256:[0-9a-f]{64}$',
      description: 'SHA-256 of the whole key, so that nothing secret enters the cluster.',
    },
  },
  rules: [
    {
      cel: 'has(self.existing) != has(self.digest)',
      holds: (value: { existing?: unknown; digest?: unknown }) =>
        (value.existing === undefined) !== (value.digest === undefined),
      message: 'must have exactly one of existing and digest',
      reason: 'FieldValueInvalid',
    },
  ],
} as const satisfies Schema

interface Times {
  readonly notBeforeTime?: string
  readonly expiresTime?: string
}

export const apiKeySpecSchema = {
  type: 'object',
  description: 'What the owner of the key asks for.',
  properties: {
    displayName: {
      type: 'string',
      maxLength: 128,
      pattern: /^[^\x00-\x1f\x7f-\x9f]*$/.source,
      description: 'Free text for people; may change at any time.',
    },
    enabled: { type: 'boolean', default: true, description: 'False refuses the key at once; true lets it pass again.' },
    access: {
      type: 'array',
      maxItems: 64,
      items: accessEntry,
      'x-kubernetes-list-type': 'atomic',
      description: 'What the key asks for. Each entry stands by itself.',
    },
    allowedAddresses: {
      type: 'array',
      maxItems: 50,
      items: allowedAddress,
      'x-kubernetes-list-type': 'set',
      description:
        'Addresses that the key may be used from. Empty: any. With entries, a request whose client address is unknown is refused.',
    },
    notBeforeTime: { ...time, description: 'The key is refused until then.' },
    expiresTime: { ...time, description: 'The key is refused from then on.' },
    lifetimeSeconds: {
      type: 'integer',
      format: 'int64',
      minimum: 1,
      maximum: 3153600000,
      description: 'The key is refused when so many seconds have passed since its creation. In place of `expiresTime`.',
    },
    rateLimit: {
      ...rateLimit,
      description:
        'How often the key may be used, in each sidecar: where a workload has n pods, n times as much passes. Rotation does not reset it. Default: what the policy says.',
    },
    secret,
    source,
  },
  rules: [
    {
      cel: '!(has(self.expiresTime) && has(self.lifetimeSeconds))',
      holds: (spec: { expiresTime?: string; lifetimeSeconds?: number }) =>
        spec.expiresTime === undefined || spec.lifetimeSeconds === undefined,
      message: 'must not be set together with expiresTime',
      reason: 'FieldValueForbidden',
      fieldPath: '.lifetimeSeconds',
    },
    {
      cel: '!has(self.notBeforeTime) || !has(self.expiresTime) || self.notBeforeTime < self.expiresTime',
      holds: ({ notBeforeTime, expiresTime }: Times) =>
        notBeforeTime === undefined || expiresTime === undefined || Date.parse(notBeforeTime) < Date.parse(expiresTime),
      message: 'must be before expiresTime',
      reason: 'FieldValueInvalid',
      fieldPath: '.notBeforeTime',
    },
    {
      cel: '!has(self.source) || !has(self.secret)',
      holds: (spec: { source?: unknown; secret?: unknown }) => spec.source === undefined || spec.secret === undefined,
      message: 'is for generated keys: it must not be set together with source',
      reason: 'FieldValueForbidden',
      fieldPath: '.secret',
    },
  ],
} as const satisfies Schema

export const apiKeyStatusSchema = {
  type: 'object',
  description: 'What has become of it. Written by Postern alone.',
  properties: {
    observedGeneration: {
      type: 'integer',
      format: 'int64',
      minimum: 0,
      description: 'The generation of the spec that this status is about.',
    },
    keyId: { type: 'string', maxLength: 16, description: 'Public part of the key; stays the same for its whole life.' },
    keyIdSuffix: { type: 'string', maxLength: 4, description: 'The last four characters of `keyId`.' },
    createdTime: { ...time, description: 'When the key was created.' },
    expiresTime: { ...time, description: 'From when on the key is refused.' },
    values: {
      type: 'array',
      maxItems: 8,
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['revision'],
      description: 'The values that are accepted now.',
      items: {
        type: 'object',
        description: 'One value.',
        required: ['revision', 'createdTime'],
        properties: {
          revision: { type: 'integer', format: 'int64', minimum: 0, description: 'Counts the values of this key.' },
          createdTime: { ...time, description: 'When it was made or adopted.' },
          expiresTime: { ...time, description: 'From when on it is refused.' },
        },
      },
    },
    access: {
      type: 'array',
      maxItems: 64,
      'x-kubernetes-list-type': 'atomic',
      description: 'The answer to each entry of `spec.access`, in its order.',
      items: {
        type: 'object',
        description: 'One answer.',
        required: ['policy', 'accepted', 'reason', 'message'],
        properties: {
          policy: { type: 'string', maxLength: 114, description: 'The policy as namespace/name.' },
          accepted: { type: 'boolean', description: 'Whether the policy grants all that the entry asks for.' },
          reason: { type: 'string', maxLength: 64, description: 'Why, in one word.' },
          message: { type: 'string', maxLength: 1024, description: 'Why, in a sentence.' },
        },
      },
    },
    conditions,
  },
} as const satisfies Schema

export type ApiKeySpec = FromSchema<typeof apiKeySpecSchema>
export type ApiKeyStatus = FromSchema<typeof apiKeyStatusSchema>
export type AccessEntry = FromSchema<typeof accessEntry>

/** An ApiKey as it is stored: its spec is whatever the API server let in. */
export interface ApiKey extends KubeObject {
  readonly metadata: ObjectMeta & { readonly namespace: string }
  readonly status?: ApiKeyStatus
}

export const parseApiKeySpec = parser(apiKeySpecSchema)
