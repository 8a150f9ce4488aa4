import type { KubeObject, ObjectMeta } from './object.ts'
import { rateLimitFields } from './rate-limit.ts'
import { policyResources, resourceValues } from './resources.ts'
import { type FromSchema, parser, type Schema } from './schema.ts'
import {
  conditions,
  fieldName,
  labelMap,
  memberName,
  memberNames,
  policyName,
  reservedFields,
  reservedFieldsCel,
  time,
} from './shapes.ts'

/** Ports of the sidecar itself: decision endpoints (HTTP and gRPC), health and metrics. */
export const reservedPorts: readonly number[] = [15480, 15481, 15490]

/** Added to an application's port where `listenPort` is absent. */
export const listenPortOffset = 10000

const port = { type: 'integer', format: 'int32', minimum: 1, maximum: 65535 } as const satisfies Schema

const guardedPort = {
  type: 'object',
  description: 'A port of the application that the sidecar guards.',
  required: ['port'],
  properties: {
    port: { ...port, description: "The application's port." },
    listenPort: { ...port, description: 'The port of the sidecar in front of it. Default: `port` + 10000.' },
  },
  rules: [
    {
      cel: 'has(self.listenPort) || (self.port + 10000 <= 65535 && !(self.port + 10000 in [15480, 15481, 15490]))',
      holds: (value: { port: number; listenPort?: number }) =>
        value.listenPort !== undefined ||
        (value.port + listenPortOffset <= 65535 && !reservedPorts.includes(value.port + listenPortOffset)),
      message:
        "is required, because port + 10000 exceeds 65535 or is one of the sidecar's own ports 15480, 15481, 15490",
      reason: 'FieldValueRequired',
      fieldPath: '.listenPort',
    },
    {
      cel: '!has(self.listenPort) || (self.listenPort != self.port && !(self.listenPort in [15480, 15481, 15490]))',
      holds: (value: { port: number; listenPort?: number }) =>
        value.listenPort === undefined ||
        (value.listenPort !== value.port && !reservedPorts.includes(value.listenPort)),
      message: "must differ from port and from the sidecar's own ports 15480, 15481, 15490",
      reason: 'FieldValueInvalid',
      fieldPath: '.listenPort',
    },
  ],
} as const satisfies Schema

const methods = {
  type: 'array',
  minItems: 1,
  maxItems: 16,
  'x-kubernetes-list-type': 'set',
  items: {
    type: 'string',
    maxLength: 32,
    pattern: '^[A-Z]([A-Z_-]*[A-Z])?$',
    rules: [
      {
        cel: "self != 'CONNECT' && self != 'TRACE'",
        holds: (method: string) => method !== 'CONNECT' && method !== 'TRACE',
        message: 'is never let through',
        reason: 'FieldValueInvalid',
      },
    ],
  },
} as const satisfies Schema

const literal = "([A-Za-z0-9._~!$&'()+,:;=@-]|%[0-9A-F]{2})+"

const paths = {
  type: 'array',
  minItems: 1,
  maxItems: 64,
  'x-kubernetes-list-type': 'set',
  items: {
    type: 'string',
    minLength: 1,
    maxLength: 512,
    pattern: `^(/([*]|\\{[A-Za-z][A-Za-z0-9_]*\\}|${literal}))*(/([*][*])?)?$`,
  },
} as const satisfies Schema

/** Requests by method and path. An absent list stands for every method or every path. */
const requestMatch = {
  type: 'object',
  description: 'Requests by method and path.',
  properties: {
    methods: { ...methods, description: 'Methods; GET stands for HEAD too. Default: every method.' },
    paths: {
      ...paths,
      description:
        'Path patterns in canonical form: a segment is a literal, "*" or "{name}"; "**" at the end stands for the rest. Default: every path.',
    },
  },
  rules: [
    {
      cel: 'has(self.methods) || has(self.paths)',
      holds: (value: { methods?: unknown; paths?: unknown }) =>
        value.methods !== undefined || value.paths !== undefined,
      message: 'must name methods or paths',
      reason: 'FieldValueRequired',
      fieldPath: '.paths',
    },
  ],
} as const satisfies Schema

const pathMatch = {
  type: 'object',
  description: 'Requests by path, and by method where given.',
  required: ['paths'],
  properties: {
    methods: { ...methods, description: 'Methods; GET stands for HEAD too. Default: every method.' },
    paths: { ...paths, description: 'Path patterns, as in `interfaces`.' },
  },
} as const satisfies Schema

const credential = {
  type: 'object',
  description: 'A place where a key may stand in a request.',
  required: ['type'],
  properties: {
    type: {
      type: 'string',
      enum: ['Bearer', 'Basic', 'Header', 'Query'],
      description: '`Bearer` and `Basic` are schemes of the Authorization header; `Header` and `Query` need a `name`.',
    },
    name: {
      type: 'string',
      minLength: 1,
      maxLength: 64,
      pattern: '^[A-Za-z0-9_.-]+$',
      description: 'Name of the header or of the query parameter.',
    },
  },
  rules: [
    {
      cel: "has(self.name) == (self.type in ['Header', 'Query'])",
      holds: (value: { type: string; name?: string }) =>
        (value.name !== undefined) === (value.type === 'Header' || value.type === 'Query'),
      message: 'is required with the types Header and Query, and forbidden with the others',
      reason: 'FieldValueInvalid',
      fieldPath: '.name',
    },
    {
      cel: `self.type != 'Header' || !has(self.name) || (self.name.matches('^${fieldName.pattern.slice(1, -1)}$') && !(self.name.lowerAscii() in ${reservedFieldsCel}))`,
      holds: (value: { type: string; name?: string }) =>
        value.type !== 'Header' ||
        value.name === undefined ||
        (new RegExp(fieldName.pattern).test(value.name) && !reservedFields.includes(value.name.toLowerCase())),
      message: 'must be a header name of letters, digits and hyphens that has no meaning of its own in HTTP',
      reason: 'FieldValueInvalid',
      fieldPath: '.name',
    },
  ],
} as const satisfies Schema

const grant = {
  type: 'object',
  description: 'Namespaces whose keys are admitted, and how much they may ask for at most.',
  required: ['namespaces'],
  properties: {
    namespaces: {
      type: 'object',
      description: 'Which namespaces.',
      required: ['from'],
      properties: {
        from: {
          type: 'string',
          enum: ['Same', 'All', 'Selector'],
          description: "`Same`: the policy's own; `All`: every one; `Selector`: those whose labels match `selector`.",
        },
        selector: {
          type: 'object',
          description: 'Labels of the namespaces.',
          required: ['matchLabels'],
          properties: { matchLabels: { ...labelMap, minProperties: 1, description: 'All of these labels.' } },
        },
      },
      rules: [
        {
          cel: "has(self.selector) == (self.from == 'Selector')",
          holds: (value: { from: string; selector?: unknown }) =>
            (value.selector !== undefined) === (value.from === 'Selector'),
          message: 'is required with from: Selector, and forbidden otherwise',
          reason: 'FieldValueInvalid',
          fieldPath: '.selector',
        },
      ],
    },
    roles: {
      ...memberNames,
      description: 'The ceiling: roles that may be asked for. With neither roles nor interfaces, all.',
    },
    interfaces: {
      ...memberNames,
      description: 'The ceiling: interfaces that may be asked for, besides those of the roles.',
    },
    resources: {
      ...resourceValues,
      description:
        'The ceiling: values of resources that may be asked for. A resource that is not here has no ceiling.',
    },
  },
} as const satisfies Schema

const cidr = {
  type: 'string',
  minLength: 2,
  maxLength: 49,
  description: 'An address, or a CIDR without host bits.',
  rules: [
    {
      cel: 'isIP(self) || (isCIDR(self) && cidr(self).masked() == cidr(self))',
      message: 'must be an address, or a CIDR without host bits',
      reason: 'FieldValueInvalid',
    },
  ],
} as const satisfies Schema

const clientAddress = {
  type: 'object',
  description: "How the client's address is found. Default: the other end of the connection.",
  default: { source: 'Connection' },
  properties: {
    source: {
      type: 'string',
      enum: ['Connection', 'XForwardedFor', 'Forwarded'],
      default: 'Connection',
      description: 'Where the address stands. The headers count only as far as trusted proxies wrote them.',
    },
    trustedProxies: {
      type: 'array',
      maxItems: 32,
      items: cidr,
      'x-kubernetes-list-type': 'set',
      description: 'Proxies whose word is taken. Default: none.',
    },
    trustedHops: {
      type: 'integer',
      format: 'int32',
      minimum: 1,
      maximum: 16,
      description:
        'How many proxies in front are trusted. With trustedProxies too, the walk from the right stops at whichever ends first.',
    },
  },
  rules: [
    {
      cel: "(self.source == 'Connection') == (!has(self.trustedProxies) && !has(self.trustedHops))",
      holds: (value: { source: string; trustedProxies?: unknown; trustedHops?: unknown }) =>
        (value.source === 'Connection') === (value.trustedProxies === undefined && value.trustedHops === undefined),
      message: 'needs trustedProxies or trustedHops where it is a header, and neither where it is Connection',
      reason: 'FieldValueInvalid',
      fieldPath: '.source',
    },
  ],
} as const satisfies Schema

const upstream = {
  type: 'object',
  description: 'How requests go on to the application.',
  default: {},
  properties: {
    timeoutSeconds: {
      type: 'integer',
      format: 'int32',
      minimum: 1,
      maximum: 86400,
      default: 60,
      description: 'How long the application may take until its response begins.',
    },
    maxConnections: {
      type: 'integer',
      format: 'int32',
      minimum: 1,
      maximum: 10000,
      default: 256,
      description: 'Connections to the application at once.',
    },
    identityHeaders: {
      type: 'array',
      maxItems: 16,
      description:
        'Headers that tell the application who calls. What a client sends under these names is removed. An empty list: none.',
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['name'],
      default: [
        { name: 'X-Postern-Key-Id', value: 'KeyId' },
        { name: 'X-Postern-Key-Name', value: 'KeyName' },
        { name: 'X-Postern-Key-Namespace', value: 'KeyNamespace' },
        { name: 'X-Postern-Roles', value: 'Roles' },
      ],
      items: {
        type: 'object',
        description: 'One header.',
        required: ['name', 'value'],
        properties: {
          name: {
            ...fieldName,
            description: 'Name of the header.',
            rules: [
              {
                cel: `!(self.lowerAscii() in ${reservedFieldsCel})`,
                holds: (name: string) => !reservedFields.includes(name.toLowerCase()),
                message: 'has a meaning of its own in HTTP',
                reason: 'FieldValueInvalid',
              },
            ],
          },
          value: {
            type: 'string',
            enum: ['KeyId', 'KeyName', 'KeyNamespace', 'Roles', 'Interface'],
            description:
              "What it says: the key's id, its ApiKey's name or namespace, its roles joined by commas, or the interface of the request.",
          },
        },
      },
    },
    forwardCredential: {
      type: 'boolean',
      default: false,
      description: 'True passes the credential on to the application.',
    },
  },
} as const satisfies Schema

const limits = {
  type: 'object',
  description: 'Bounds of what one request, and one key, may take.',
  default: {},
  properties: {
    maxBodyBytes: {
      type: 'integer',
      format: 'int32',
      minimum: 1,
      maximum: 16777216,
      default: 1048576,
      description:
        'The longest body in which a resource is looked for; a longer one is refused. Other bodies are not bounded.',
    },
    requests: {
      ...rateLimitFields.requests,
      description:
        'The rate limit of keys that set none: how many requests each may make in `perSeconds`, in each sidecar. Default: any number.',
    },
    perSeconds: rateLimitFields.perSeconds,
    burst: rateLimitFields.burst,
  },
  rules: [
    {
      cel: 'has(self.requests) == has(self.perSeconds)',
      holds: (value: { requests?: number; perSeconds?: number }) =>
        (value.requests === undefined) === (value.perSeconds === undefined),
      message: 'is required with requests, and forbidden without',
      reason: 'FieldValueInvalid',
      fieldPath: '.perSeconds',
    },
    {
      cel: '!has(self.burst) || has(self.requests)',
      holds: (value: { requests?: number; burst?: number }) =>
        value.burst === undefined || value.requests !== undefined,
      message: 'is forbidden without requests',
      reason: 'FieldValueForbidden',
      fieldPath: '.burst',
    },
  ],
} as const satisfies Schema

const namedList = {
  type: 'array',
  maxItems: 64,
  'x-kubernetes-list-type': 'map',
  'x-kubernetes-list-map-keys': ['name'],
} as const

export const accessPolicySpecSchema = {
  type: 'object',
  description: 'What the owner of the workload lets pass.',
  required: ['workloadSelector', 'ports'],
  properties: {
    workloadSelector: {
      type: 'object',
      description: 'Pods of this namespace that are guarded.',
      required: ['matchLabels'],
      properties: { matchLabels: { ...labelMap, minProperties: 1, description: 'All of these labels.' } },
    },
    suspended: { type: 'boolean', default: false, description: 'The emergency stop: true refuses every key at once.' },
    mode: {
      type: 'string',
      enum: ['Enforce', 'Audit'],
      default: 'Enforce',
      description:
        '`Audit` decides, counts and logs as `Enforce` does, but lets every well-formed request pass, with its credential and without identity headers.',
    },
    ports: {
      type: 'array',
      minItems: 1,
      maxItems: 8,
      items: guardedPort,
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['port'],
      description: 'Ports that are guarded.',
      rules: [
        {
          cel: 'self.all(a, self.exists_one(b, (has(a.listenPort) ? a.listenPort : a.port + 10000) == (has(b.listenPort) ? b.listenPort : b.port + 10000)) && !self.exists(b, (has(a.listenPort) ? a.listenPort : a.port + 10000) == b.port))',
          holds: (ports: readonly { port: number; listenPort?: number }[]) => {
            const listening = ports.map((entry) => entry.listenPort ?? entry.port + listenPortOffset)
            return new Set(listening).size === ports.length && !ports.some((entry) => listening.includes(entry.port))
          },
          message: 'must listen on ports that differ from each other and from those of the application',
          reason: 'FieldValueInvalid',
        },
      ],
    },
    credentials: {
      type: 'array',
      minItems: 1,
      maxItems: 8,
      items: credential,
      'x-kubernetes-list-type': 'atomic',
      default: [{ type: 'Bearer' }, { type: 'Basic' }, { type: 'Header', name: 'X-API-Key' }],
      description: 'Where a key may stand. A request must carry exactly one, at exactly one of these places.',
    },
    interfaces: {
      ...namedList,
      description: 'Named groups of operations. None: one that matches everything.',
      items: {
        type: 'object',
        description: 'A group of operations.',
        required: ['name', 'match'],
        properties: {
          name: { ...memberName, description: 'Name of the interface.' },
          match: {
            type: 'array',
            minItems: 1,
            maxItems: 32,
            items: requestMatch,
            'x-kubernetes-list-type': 'atomic',
            description: 'Requests that belong to it: those that any entry matches.',
          },
        },
      },
    },
    roles: {
      ...namedList,
      description: 'Named sets of interfaces.',
      items: {
        type: 'object',
        description: 'A set of interfaces.',
        required: ['name', 'interfaces'],
        properties: {
          name: { ...memberName, description: 'Name of the role.' },
          interfaces: { ...memberNames, minItems: 1, description: 'Interfaces of this policy.' },
        },
      },
    },
    resources: policyResources,
    public: {
      type: 'array',
      maxItems: 32,
      items: pathMatch,
      'x-kubernetes-list-type': 'atomic',
      description: 'Requests that pass without a key.',
    },
    denied: {
      type: 'array',
      maxItems: 32,
      items: pathMatch,
      'x-kubernetes-list-type': 'atomic',
      description:
        'Requests that are refused whatever the key: wins over everything, and does not mind upper and lower case.',
    },
    hosts: {
      type: 'array',
      maxItems: 32,
      'x-kubernetes-list-type': 'set',
      description: 'Host names that are answered to; a first label of "*" stands for one label. Default: any.',
      items: {
        type: 'string',
        minLength: 1,
        maxLength: 253,
        pattern: '^([*][.])?[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*$',
      },
    },
    grants: {
      type: 'array',
      maxItems: 64,
      items: grant,
      'x-kubernetes-list-type': 'atomic',
      default: [{ namespaces: { from: 'Same' } }],
      description: "Namespaces that may hold keys for this policy. Default: the policy's own, without a ceiling.",
    },
    clientAddress,
    limits,
    upstream,
    verification: {
      type: 'object',
      description: 'How the keys are published.',
      default: {},
      properties: {
        shards: {
          type: 'integer',
          format: 'int32',
          enum: [1, 2, 4, 8, 16, 32],
          default: 1,
          description:
            'How many ConfigMaps hold the keys, about 9,000 each. Pods mount further ones when they are made anew.',
        },
      },
    },
  },
} as const satisfies Schema

const count = { type: 'integer', format: 'int32', minimum: 0 } as const satisfies Schema

export const accessPolicyStatusSchema = {
  type: 'object',
  description: 'What has become of it. Written by Postern alone.',
  properties: {
    observedGeneration: {
      type: 'integer',
      format: 'int64',
      minimum: 0,
      description: 'The generation of the spec that this status is about.',
    },
    keys: {
      type: 'object',
      description: 'Keys that ask for this policy.',
      required: ['active', 'refused'],
      properties: {
        active: { ...count, description: 'Keys that are published, disabled and expired ones among them.' },
        refused: { ...count, description: 'Keys of which nothing is admitted.' },
      },
    },
    epoch: { type: 'integer', format: 'int64', minimum: 0, description: 'Orders the published sets, with `sequence`.' },
    sequence: { type: 'integer', format: 'int64', minimum: 0, description: 'Counts the published sets of this epoch.' },
    publishedTime: { ...time, description: 'When the set was published last.' },
    rejectedKeys: {
      type: 'array',
      maxItems: 20,
      'x-kubernetes-list-type': 'atomic',
      description: 'Some of the keys that are refused, and why.',
      items: {
        type: 'object',
        description: 'One key.',
        required: ['key', 'reason', 'message'],
        properties: {
          key: { type: 'string', maxLength: 317, description: 'The ApiKey as namespace/name.' },
          reason: { type: 'string', maxLength: 64, description: 'Why, in one word.' },
          message: { type: 'string', maxLength: 1024, description: 'Why, in a sentence.' },
        },
      },
    },
    conditions,
  },
} as const satisfies Schema

export type AccessPolicySpec = FromSchema<typeof accessPolicySpecSchema>
export type AccessPolicyStatus = FromSchema<typeof accessPolicyStatusSchema>
export type RequestMatch = FromSchema<typeof requestMatch>
export type Grant = FromSchema<typeof grant>
export type Credential = FromSchema<typeof credential>
export type ClientAddress = FromSchema<typeof clientAddress>
export type IdentityHeader = AccessPolicySpec['upstream']['identityHeaders'][number]

/** An AccessPolicy as it is stored: its spec is whatever the API server let in. */
export interface AccessPolicy extends KubeObject {
  readonly metadata: ObjectMeta & { readonly namespace: string }
  readonly status?: AccessPolicyStatus
}

export const parseAccessPolicySpec = parser(accessPolicySpecSchema)

/** What the name of a policy must look like. */
export const policyNamePattern = new RegExp(policyName.pattern)
export const policyNameMaxLength = policyName.maxLength
