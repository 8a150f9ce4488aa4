import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parse as parseYaml } from 'yaml'
import { accessPolicySpecSchema, accessPolicyStatusSchema, parseAccessPolicySpec } from '../src/api/access-policy.ts'
import { apiKeySpecSchema, apiKeyStatusSchema, parseApiKeySpec } from '../src/api/api-key.ts'
import { customResourceDefinitions } from '../src/api/crd.ts'
import { accessPolicies, apiKeys } from '../src/api/names.ts'
import type { KubeObject } from '../src/api/object.ts'
import { changedImmutables, type Parse, parser, type Schema } from '../src/api/schema.ts'
import { settingsSchema } from '../src/api/settings.ts'
import { InvalidObject, kindRules } from '../src/core/kinds.ts'
import { readSettings } from '../src/core/settings.ts'

/** Each problem as path and message. */
function problemsOf<T>(parse: Parse<T>, value: unknown): readonly string[] {
  const parsed = parse(value)
  return parsed.ok ? [] : parsed.problems.map(({ path, message }) => `${path} ${message}`)
}
const valid = { workloadSelector: { matchLabels: { app: 'a' } }, ports: [{ port: 8080 }] }

describe('an ApiKey', () => {
  const parse = parseApiKeySpec
  test('has defaults', () => {
    expect(parse({})).toEqual({ ok: true, value: { enabled: true } })
  })

  test.each<[what: string, spec: object]>([
    [
      'everything at once',
      {
        displayName: 'Größe ✓',
        enabled: false,
        access: [
          { policy: { name: 'orders', namespace: 'shop' }, roles: ['A'], interfaces: ['b'] },
          { policy: { name: '*' } },
        ],
        allowedAddresses: ['10.0.0.0/8', '192.168.1.*'],
        notBeforeTime: '2025-01-01T00:00:00Z',
        expiresTime: '2026-01-01T00:00:00.5+01:00',
        secret: {
          name: 'a.b',
          labels: { 'x.y/z': 'v' },
          annotations: { any: 'thing' },
          template: { '.env': 'K=$(key)' },
        },
      },
    ],
    ['a lifetime', { lifetimeSeconds: 1 }],
    ['an existing Secret', { source: { existing: { secretRef: { name: 's', key: 'k' } } } }],
    ['a digest', { source: { digest: `sha256:${'a'.repeat(64)}` } }],
    ['fifty addresses', { allowedAddresses: Array.from({ length: 50 }, (_, at) => `10.0.0.${at}`) }],
  ])('may be %s', (_, spec) => expect(problemsOf(parse, spec)).toEqual([]))

  test.each<[what: string, spec: unknown, problem: string | RegExp]>([
    ['not an object', 'x', /^ must be object/],
    ['an unknown field', { displayname: 'x' }, '.displayname is not a known field'],
    ['an unknown field within', { access: [{ polcy: { name: 'a' } }] }, '.access[0].polcy is not a known field'],
    ['a missing field within', { access: [{ roles: ['A'] }] }, '.access[0].policy is required'],
    ['text for a boolean', { enabled: 'true' }, /^\.enabled must be boolean/],
    ['a line break in the name', { displayName: 'a\nb' }, /^\.displayName must match pattern/],
    ['too long a name', { displayName: 'x'.repeat(129) }, /^\.displayName must NOT have more than 128/],
    [
      'a policy name in upper case',
      { access: [{ policy: { name: 'Orders' } }] },
      /^\.access\[0]\.policy\.name must match/,
    ],
    ['half a star', { access: [{ policy: { name: 'ord*' } }] }, /^\.access\[0]\.policy\.name must match/],
    [
      '65 entries',
      { access: Array.from({ length: 65 }, () => ({ policy: { name: 'a' } })) },
      /^\.access must NOT have more than 64/,
    ],
    [
      '51 addresses',
      { allowedAddresses: Array.from({ length: 51 }, (_, at) => `10.0.0.${at}`) },
      /^\.allowedAddresses must NOT have more than 50/,
    ],
    [
      'the same address twice',
      { allowedAddresses: ['10.0.0.1', '10.0.0.1'] },
      /^\.allowedAddresses must NOT have duplicate/,
    ],
    [
      'a role twice',
      { access: [{ policy: { name: 'a' }, roles: ['A', 'A'] }] },
      /^\.access\[0]\.roles must NOT have duplicate/,
    ],
    ['a day that does not exist', { expiresTime: '2026-02-30T00:00:00Z' }, /^\.expiresTime must match format/],
    ['a time without a zone', { expiresTime: '2026-02-03T00:00:00' }, /^\.expiresTime must match format/],
    ['a leap second', { expiresTime: '2026-06-30T23:59:60Z' }, /^\.expiresTime must match format/],
    [
      'both ways to end',
      { expiresTime: '2026-01-01T00:00:00Z', lifetimeSeconds: 1 },
      '.lifetimeSeconds must not be set together with expiresTime',
    ],
    [
      'a beginning after the end',
      { notBeforeTime: '2026-01-02T00:00:00Z', expiresTime: '2026-01-01T00:00:00Z' },
      '.notBeforeTime must be before expiresTime',
    ],
    [
      'a beginning at the end, in another zone',
      { notBeforeTime: '2026-01-01T01:00:00+01:00', expiresTime: '2026-01-01T00:00:00Z' },
      '.notBeforeTime must be before expiresTime',
    ],
    ['no lifetime', { lifetimeSeconds: 0 }, /^\.lifetimeSeconds must be >= 1/],
    ['half a second', { lifetimeSeconds: 1.5 }, /^\.lifetimeSeconds must be integer/],
    [
      'both sources',
      { source: { digest: `sha256:${'a'.repeat(64)}`, existing: { secretRef: { name: 's', key: 'k' } } } },
      '.source must have exactly one of existing and digest',
    ],
    ['no source', { source: {} }, '.source must have exactly one of existing and digest'],
    ['a digest in upper case', { source: { digest: `sha256:${'A'.repeat(64)}` } }, /^\.source\.digest must match/],
    [
      'a Secret for an adopted key',
      { source: { digest: `sha256:${'a'.repeat(64)}` }, secret: { name: 's' } },
      /^\.secret is for generated keys/,
    ],
    [
      'a template without the key',
      { secret: { template: { id: '$(keyId)' } } },
      /^\.secret\.template must use \$\(key\)/,
    ],
    [
      'a template with another placeholder',
      { secret: { template: { a: '$(key)', b: '$(name)' } } },
      /^\.secret\.template may use the placeholders/,
    ],
    [
      'a template without end',
      { secret: { template: { a: '$(key) $(' } } },
      /^\.secret\.template may use the placeholders/,
    ],
    [
      'a name of data that is none',
      { secret: { template: { 'a b': '$(key)' } } },
      /^\.secret\.template must have names/,
    ],
    ['an empty template', { secret: { template: {} } }, /^\.secret\.template must NOT have fewer/],
    ['a label that is none', { secret: { labels: { 'a/b/c': 'x' } } }, /^\.secret\.labels must have label names/],
    ['a value of a label that is none', { secret: { labels: { a: 'x y' } } }, /^\.secret\.labels\.a must match/],
    ['__proto__', JSON.parse('{"__proto__": {"enabled": false}}'), /is not a known field/],
  ])('may not be %s', (_, spec, problem) => {
    const found = problemsOf(parse, spec)
    expect(
      found.some((one) => (typeof problem === 'string' ? one === problem : problem.test(one))),
      String(found),
    ).toBe(true)
  })

  test('is told of all that is wrong at once', () => {
    expect(problemsOf(parse, { enabled: 1, displayName: 2, x: 3 })).toHaveLength(3)
  })

  test('is left as it was given', () => {
    const given = Object.freeze({ access: Object.freeze([]) })
    expect(parse(given).ok).toBe(true)
    expect(given).toEqual({ access: [] })
  })
})

describe('an AccessPolicy', () => {
  const parse = parseAccessPolicySpec
  test('has defaults', () => {
    const parsed = parse(valid)
    expect(parsed.ok && parsed.value).toEqual({
      ...valid,
      suspended: false,
      mode: 'Enforce',
      limits: { maxBodyBytes: 1048576 },
      credentials: [{ type: 'Bearer' }, { type: 'Basic' }, { type: 'Header', name: 'X-API-Key' }],
      grants: [{ namespaces: { from: 'Same' } }],
      clientAddress: { source: 'Connection' },
      upstream: {
        timeoutSeconds: 60,
        maxConnections: 256,
        forwardCredential: false,
        identityHeaders: [
          { name: 'X-Postern-Key-Id', value: 'KeyId' },
          { name: 'X-Postern-Key-Name', value: 'KeyName' },
          { name: 'X-Postern-Key-Namespace', value: 'KeyNamespace' },
          { name: 'X-Postern-Roles', value: 'Roles' },
        ],
      },
      verification: { shards: 1 },
    })
  })
  test('shares no default with another', () => {
    const [one, two] = [parse(valid), parse(valid)]
    expect(one.ok && two.ok && one.value.credentials !== two.value.credentials).toBe(true)
  })

  test.each<[what: string, spec: object]>([
    ['a port whose own listener is named', { ports: [{ port: 60000, listenPort: 8081 }] }],
    ['a port whose listener would be ours', { ports: [{ port: 5480, listenPort: 8081 }] }],
    ['several ports', { ports: [{ port: 80 }, { port: 81, listenPort: 82 }] }],
    [
      'every kind of pattern',
      {
        interfaces: [
          { name: 'a', match: [{ paths: ['/', '/**', '/a/*', '/a/{b_1}/**', "/~!$&'()+,:;=@", '/a%20b', '/a/'] }] },
        ],
      },
    ],
    ['methods alone', { interfaces: [{ name: 'a', match: [{ methods: ['GET', 'M-SEARCH', 'VERSION_CONTROL'] }] }] }],
    ['proxies', { clientAddress: { source: 'Forwarded', trustedProxies: ['10.0.0.0/8'], trustedHops: 16 } }],
    ['hosts', { hosts: ['a', 'a.b', '*.b.c'] }],
    ['no identity', { upstream: { identityHeaders: [] } }],
    ['32 shards', { verification: { shards: 32 } }],
  ])('may have %s', (_, spec) => expect(problemsOf(parse, { ...valid, ...spec })).toEqual([]))

  test.each<[what: string, spec: object, problem: string | RegExp]>([
    ['no selector', { workloadSelector: undefined }, '.workloadSelector is required'],
    [
      'an empty selector',
      { workloadSelector: { matchLabels: {} } },
      /^\.workloadSelector\.matchLabels must NOT have fewer/,
    ],
    ['no port', { ports: [] }, /^\.ports must NOT have fewer/],
    ['port 0', { ports: [{ port: 0 }] }, /^\.ports\[0]\.port must be >= 1/],
    ['a port beyond the last', { ports: [{ port: 65536 }] }, /^\.ports\[0]\.port must be <= 65535/],
    ['a port that leaves no room for a listener', { ports: [{ port: 60000 }] }, /^\.ports\[0]\.listenPort is required/],
    ['a port whose listener is ours', { ports: [{ port: 5490 }] }, /^\.ports\[0]\.listenPort is required/],
    ['a listener of ours', { ports: [{ port: 80, listenPort: 15480 }] }, /^\.ports\[0]\.listenPort must differ/],
    [
      'a listener on the port itself',
      { ports: [{ port: 80, listenPort: 80 }] },
      /^\.ports\[0]\.listenPort must differ/,
    ],
    [
      'one listener for two',
      {
        ports: [
          { port: 80, listenPort: 90 },
          { port: 81, listenPort: 90 },
        ],
      },
      /^\.ports must listen on ports that differ/,
    ],
    [
      'a listener on another port',
      {
        ports: [
          { port: 80, listenPort: 81 },
          { port: 81, listenPort: 82 },
        ],
      },
      /^\.ports must listen on ports that differ/,
    ],
    [
      'a port twice',
      { ports: [{ port: 80 }, { port: 80, listenPort: 90 }] },
      '.ports[1] has the same port as an entry before it',
    ],
    ['a credential of no name', { credentials: [{ type: 'Header' }] }, /^\.credentials\[0]\.name is required/],
    ['a name for Bearer', { credentials: [{ type: 'Bearer', name: 'X' }] }, /^\.credentials\[0]\.name is required/],
    [
      'a credential in Cookie',
      { credentials: [{ type: 'Header', name: 'Cookie' }] },
      /^\.credentials\[0]\.name must be a header name/,
    ],
    [
      'a credential in a header with an underscore',
      { credentials: [{ type: 'Header', name: 'api_key' }] },
      /^\.credentials\[0]\.name must be a header name/,
    ],
    ['no credential', { credentials: [] }, /^\.credentials must NOT have fewer/],
    [
      'an unknown type',
      { credentials: [{ type: 'Cookie' }] },
      '.credentials[0].type must be one of Bearer, Basic, Header, Query',
    ],
    [
      'two interfaces of one name',
      {
        interfaces: [
          { name: 'a', match: [{ paths: ['/'] }] },
          { name: 'a', match: [{ paths: ['/b'] }] },
        ],
      },
      '.interfaces[1] has the same name as an entry before it',
    ],
    [
      'an interface that matches nothing in particular',
      { interfaces: [{ name: 'a', match: [{}] }] },
      /^\.interfaces\[0]\.match\[0]\.paths must name/,
    ],
    [
      'CONNECT',
      { interfaces: [{ name: 'a', match: [{ methods: ['CONNECT'] }] }] },
      '.interfaces[0].match[0].methods[0] is never let through',
    ],
    [
      'a method in lower case',
      { interfaces: [{ name: 'a', match: [{ methods: ['get'] }] }] },
      /^\.interfaces\[0]\.match\[0]\.methods\[0] must match/,
    ],
    ['a star within a segment', { denied: [{ paths: ['/a*'] }] }, /^\.denied\[0]\.paths\[0] must match/],
    ['two stars in the middle', { denied: [{ paths: ['/**/a'] }] }, /^\.denied\[0]\.paths\[0] must match/],
    ['a pattern without a slash', { denied: [{ paths: ['a'] }] }, /^\.denied\[0]\.paths\[0] must match/],
    ['a query in a pattern', { denied: [{ paths: ['/a?b'] }] }, /^\.denied\[0]\.paths\[0] must match/],
    ['an escape in lower case', { denied: [{ paths: ['/a%2f'] }] }, /^\.denied\[0]\.paths\[0] must match/],
    ['a denial of all', { denied: [{ methods: ['GET'] }] }, '.denied[0].paths is required'],
    ['a host with a port', { hosts: ['a:80'] }, /^\.hosts\[0] must match/],
    ['a host in upper case', { hosts: ['A'] }, /^\.hosts\[0] must match/],
    [
      'a selector where there is none',
      { grants: [{ namespaces: { from: 'All', selector: { matchLabels: { a: 'b' } } } }] },
      /^\.grants\[0]\.namespaces\.selector is required/,
    ],
    [
      'no selector where there should be',
      { grants: [{ namespaces: { from: 'Selector' } }] },
      /^\.grants\[0]\.namespaces\.selector is required/,
    ],
    ['proxies beside the connection', { clientAddress: { trustedHops: 1 } }, /^\.clientAddress\.source needs/],
    [
      'a header that nobody is trusted to write',
      { clientAddress: { source: 'XForwardedFor' } },
      /^\.clientAddress\.source needs/,
    ],
    ['PROXY protocol', { clientAddress: { source: 'ProxyProtocol' } }, /^\.clientAddress\.source must be one of/],
    [
      'an identity in Host',
      { upstream: { identityHeaders: [{ name: 'HOST', value: 'KeyId' }] } },
      '.upstream.identityHeaders[0].name has a meaning of its own in HTTP',
    ],
    ['three shards', { verification: { shards: 3 } }, '.verification.shards must be one of 1, 2, 4, 8, 16, 32'],
    ['what a later release may bring', { rateLimit: {} }, '.rateLimit is not a known field'],
  ])('may not have %s', (_, spec, problem) => {
    const found = problemsOf(parse, { ...valid, ...spec })
    expect(
      found.some((one) => (typeof problem === 'string' ? one === problem : problem.test(one))),
      String(found),
    ).toBe(true)
  })
})

test('any input gets an answer', () => {
  fc.assert(
    fc.property(
      fc.anything({ withNullPrototype: true }).filter((value) => typeof value !== 'function'),
      (value) => {
        for (const parse of [parseApiKeySpec, parseAccessPolicySpec]) {
          let json: unknown
          try {
            json = JSON.parse(JSON.stringify(value) ?? 'null')
          } catch {
            return
          }
          expect(typeof parse(json).ok).toBe('boolean')
        }
      },
    ),
    { numRuns: 300 },
  )
})

describe('immutable fields', () => {
  const changes = (before: object, after: object): string[] =>
    changedImmutables(apiKeySpecSchema, before, after).map(({ path }) => path)
  const existing = (secretRef: object) => ({ source: { existing: { secretRef } } })
  test.each<[what: string, before: object, after: object, paths: string[]]>([
    ['nothing', {}, {}, []],
    ['another Secret', { secret: { name: 'a' } }, { secret: { name: 'b' } }, ['.secret.name']],
    ['a Secret named later', {}, { secret: { name: 'b' } }, ['.secret.name']],
    ['a name taken away', { secret: { name: 'a', labels: {} } }, { secret: { labels: {} } }, ['.secret.name']],
    ['other labels', { secret: { name: 'a' } }, { secret: { name: 'a', labels: { x: 'y' } } }, []],
    ['another source', existing({ name: 'a', key: 'k' }), existing({ name: 'b', key: 'k' }), ['.source']],
    ['a source added', {}, existing({ name: 'a', key: 'k' }), ['.source']],
    ['the same, written in another order', existing({ name: 'a', key: 'k' }), existing({ key: 'k', name: 'a' }), []],
  ])('%s', (_, before, after, paths) => expect(changes(before, after)).toEqual(paths))
})

describe('the kinds as a cluster admits them', () => {
  const [keys, policies] = [apiKeys, accessPolicies].map(
    ({ kind }) => kindRules().find((rules) => rules.kind === kind)!,
  )
  const object = (kind: string, spec: unknown, name = 'a'): KubeObject => ({
    apiVersion: apiKeys.apiVersion,
    kind,
    metadata: { name, namespace: 'shop' },
    ...(spec !== undefined && { spec }),
  })
  test('with defaults filled in', () => {
    expect(keys!.admit(object('ApiKey', {}), undefined).spec).toEqual({ enabled: true })
  })
  test.each<[what: string, admit: () => unknown, message: string]>([
    ['no spec', () => keys!.admit(object('ApiKey', undefined), undefined), 'ApiKey shop/a: .spec: is required'],
    [
      'an unknown field',
      () => keys!.admit(object('ApiKey', { x: 1 }), undefined),
      'ApiKey shop/a: .spec.x: is not a known field',
    ],
    [
      'a change of what may not change',
      () => keys!.admit(object('ApiKey', { secret: { name: 'b' } }), object('ApiKey', { enabled: true })),
      'ApiKey shop/a: .spec.secret.name: is immutable',
    ],
    [
      'a name with a dot',
      () => policies!.admit(object('AccessPolicy', valid, 'a.b'), undefined),
      'AccessPolicy shop/a.b: .metadata.name: must be a DNS label of at most 50 characters',
    ],
  ])('not with %s', (_, admit, message) => {
    expect(admit).toThrow(InvalidObject)
    expect(admit).toThrow(message)
  })
})

describe('schemas', () => {
  /** Every node of a schema with its path. */
  const nodes = (schema: Schema, path: string): [string, Schema][] => [
    [path, schema],
    ...Object.entries(schema.properties ?? {}).flatMap(([name, child]) => nodes(child, `${path}.${name}`)),
    ...(schema.items ? nodes(schema.items, `${path}[]`) : []),
    ...(schema.additionalProperties ? nodes(schema.additionalProperties, `${path}{}`) : []),
  ]
  const specs = [
    ...nodes(apiKeySpecSchema, 'ApiKey.spec'),
    ...nodes(accessPolicySpecSchema, 'AccessPolicy.spec'),
    ...nodes(settingsSchema, 'Settings'),
  ]
  const all = [
    ...specs,
    ...nodes(apiKeyStatusSchema, 'ApiKey.status'),
    ...nodes(accessPolicyStatusSchema, 'AccessPolicy.status'),
  ]
  const which = (list: readonly [string, Schema][], is: (schema: Schema) => boolean): string[] =>
    list.filter(([, schema]) => is(schema)).map(([path]) => path)

  test('describe every field', () => {
    const fields = all.filter(([path]) => !/[\]}]$/.test(path))
    expect(which(fields, ({ description }) => !description || !/^[^\s].*[.]$/.test(description))).toEqual([])
  })
  test('say of every list how it merges', () => {
    expect(which(all, ({ type, ...rest }) => type === 'array' && rest['x-kubernetes-list-type'] === undefined)).toEqual(
      [],
    )
    expect(
      which(
        all,
        (schema) =>
          (schema['x-kubernetes-list-type'] === 'map') !== (schema['x-kubernetes-list-map-keys'] !== undefined),
      ),
    ).toEqual([])
  })
  test('bound everything', () => {
    const open = ({ type, ...rest }: Schema): boolean => {
      if (rest.enum || type === 'boolean') return false
      if (type === 'string') return rest.maxLength === undefined && !/\{\d+,\d+\}\$$/.test(rest.pattern ?? '')
      if (type === 'array') return rest.maxItems === undefined
      if (type === 'object') return rest.additionalProperties !== undefined && rest.maxProperties === undefined
      return rest.minimum === undefined
    }
    expect(which(all, open)).toEqual([])
    expect(
      which(specs, ({ type, maximum, ...rest }) => type === 'integer' && maximum === undefined && !rest.enum),
    ).toEqual([])
  })
  test('say of every number how large it may be, and have no fractions', () => {
    expect(which(all, ({ type, format }) => type === 'integer' && format === undefined)).toEqual([])
  })
  test('require and key only what they have', () => {
    const has = (schema: Schema, names: readonly string[] = []): boolean =>
      names.every((name) => schema.properties?.[name] !== undefined)
    expect(which(all, (schema) => !has(schema, schema.required))).toEqual([])
    expect(
      which(all, (schema) => schema.items !== undefined && !has(schema.items, schema['x-kubernetes-list-map-keys'])),
    ).toEqual([])
  })
  test('have patterns that mean the same to all readers', () => {
    for (const [, { pattern }] of all) {
      if (pattern === undefined) continue
      expect(() => new RegExp(pattern, 'u')).not.toThrow()
      expect(pattern).toMatch(/^\^.*\$$/)
      // RE2 knows neither looking around nor back.
      expect(pattern).not.toMatch(/\(\?[=!<]|\\[1-9]/)
    }
  })
  test('have defaults that they admit', () => {
    for (const [path, schema] of all) {
      if (schema.default === undefined) continue
      const { default: given, ...rest } = schema
      const parsed = parser(rest)(given)
      expect([path, parsed.ok || parsed.problems]).toEqual([path, true])
    }
  })
  test('have rules that say where and why', () => {
    for (const [, { rules = [] }] of all) {
      for (const { cel, message, reason, fieldPath } of rules) {
        expect(cel).not.toBe('')
        expect(message).toMatch(/^[a-z].*[^.]$/)
        expect(reason).toMatch(/^FieldValue/)
        if (fieldPath !== undefined) expect(fieldPath).toMatch(/^(?:\.[a-zA-Z]+)+$/)
      }
    }
  })
  test('name durations and moments as such, and no phase', () => {
    const names = all.map(([path]) => path.split('.').at(-1)!)
    expect(names.filter((name) => /^(?:phase|state|timeout|ttl|duration)$/i.test(name))).toEqual([])
    const moments = all.filter(([, { format }]) => format === 'date-time').map(([path]) => path)
    expect(moments.filter((path) => !path.endsWith('Time'))).toEqual([])
  })
})

describe('CustomResourceDefinitions', () => {
  interface Definition {
    readonly spec: {
      readonly names: { readonly shortNames: string[]; readonly categories: string[] }
      readonly versions: readonly {
        readonly subresources: object
        readonly additionalPrinterColumns: readonly { readonly name: string; readonly description: string }[]
        readonly schema: { readonly openAPIV3Schema: Schema }
      }[]
    }
  }
  const definitions = [...customResourceDefinitions()].map(
    ([plural, yaml]) => [plural, parseYaml(yaml) as Definition] as const,
  )
  test.each(definitions)('%s has names, columns and a status of its own', (plural, { spec }) => {
    expect(spec.names).toMatchObject({ shortNames: [plural === 'apikeys' ? 'ak' : 'ap'], categories: ['postern'] })
    const [version] = spec.versions
    expect(version!.subresources).toEqual({ status: {} })
    expect(version!.additionalPrinterColumns.map(({ name }) => name).slice(0, 2)).toEqual(['Ready', 'Reason'])
    expect(version!.additionalPrinterColumns.every(({ description }) => description.endsWith('.'))).toBe(true)
  })
  test.each(definitions)('%s says nothing that a CRD cannot say', (_, { spec }) => {
    const text = JSON.stringify(spec.versions[0]!.schema)
    for (const word of [
      '"immutable"',
      '"rules"',
      '"additionalProperties":false',
      '"$ref"',
      '"uniqueItems"',
      '"holds"',
      '"cel"',
    ])
      expect(text).not.toContain(word)
  })
  test.each(definitions)('%s guards what may not change from the spec, which is always there', (plural, { spec }) => {
    const rules =
      (
        spec.versions[0]!.schema.openAPIV3Schema.properties!.spec as unknown as {
          'x-kubernetes-validations'?: { rule: string; fieldPath: string }[]
        }
      )['x-kubernetes-validations'] ?? []
    const guarded = rules.filter(({ rule }) => rule.includes('oldSelf')).map(({ fieldPath }) => fieldPath)
    expect(guarded).toEqual(plural === 'apikeys' ? ['.secret.name', '.source'] : [])
  })
})

describe('settings', () => {
  test.each<[text: string, expected: object]>([
    ['', { ok: true, value: { keyPrefix: 'pstn' } }],
    ['keyPrefix: acme', { ok: true, value: { keyPrefix: 'acme' } }],
    ['keyPrefix: ACME', { ok: false, problems: [{ path: '.keyPrefix', message: expect.stringContaining('pattern') }] }],
    ['keyprefix: acme', { ok: false, problems: [{ path: '.keyprefix', message: 'is not a known field' }] }],
    ['[', { ok: false, problems: [{ path: '', message: expect.any(String) }] }],
    ['- a', { ok: false, problems: [{ path: '', message: expect.stringContaining('object') }] }],
  ])('%j', (text, expected) => expect(readSettings(text)).toEqual(expected))
})
