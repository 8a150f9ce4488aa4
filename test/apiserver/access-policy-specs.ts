import { each, names, repeated, type SpecCase } from './spec-case.ts'

const plain = { workloadSelector: { matchLabels: { app: 'orders' } }, ports: [{ port: 8080 }] }
const spec = (changes: object): object => ({ ...plain, ...changes })
const listening = (...ports: readonly object[]): object => spec({ ports })
const matching = (...match: readonly object[]): object => spec({ interfaces: [{ name: 'a', match }] })
const presented = (credential: object): object => spec({ credentials: [credential] })
const granting = (grant: object): object => spec({ grants: [grant] })
const granted = (namespaces: object): object => granting({ namespaces })
const identified = (header: object): object => spec({ upstream: { identityHeaders: [header] } })
const named = (from: object): object => spec({ resources: [{ name: 'model', from }] })
const limited = (resource: object): object =>
  spec({
    resources: [{ name: 'model', from: { query: 'model' } }],
    grants: [{ namespaces: { from: 'All' }, resources: [resource] }],
  })
const found = (clientAddress: object): object => spec({ clientAddress })
const portRange = (field: 'port' | 'listenPort', value: unknown): object =>
  listening(field === 'port' ? { port: value, listenPort: 9000 } : { port: 8080, listenPort: value })

/** Specs of AccessPolicies, for and against every rule, pattern and bound. */
export const accessPolicySpecs: readonly SpecCase[] = [
  { what: 'the least', spec: plain },
  {
    what: 'everything at once',
    spec: spec({
      suspended: true,
      credentials: [
        { type: 'Bearer' },
        { type: 'Basic' },
        { type: 'Header', name: 'X-API-Key' },
        { type: 'Query', name: 'api_key' },
      ],
      interfaces: [
        { name: 'read', match: [{ methods: ['GET', 'OPTIONS'], paths: ['/orders', '/orders/{id}', '/a/*/b'] }] },
        { name: 'write', match: [{ methods: ['POST'] }, { paths: ['/orders/**', '/a%20b', '/'] }] },
      ],
      roles: [{ name: 'Admin', interfaces: ['read', 'write'] }],
      public: [{ paths: ['/healthz'] }],
      denied: [{ methods: ['POST'], paths: ['/admin/**'] }],
      hosts: ['orders.example.com', '*.example.com', 'localhost'],
      grants: [
        { namespaces: { from: 'All' }, roles: ['Admin'], interfaces: ['read'] },
        { namespaces: { from: 'Selector', selector: { matchLabels: { team: 'billing' } } } },
      ],
      clientAddress: { source: 'XForwardedFor', trustedProxies: ['10.0.0.0/8', '::1'], trustedHops: 2 },
      upstream: {
        timeoutSeconds: 5,
        maxConnections: 10,
        identityHeaders: [{ name: 'X-Caller', value: 'Interface' }],
        forwardCredential: true,
      },
      verification: { shards: 32 },
    }),
  },
  { what: 'an unknown field', spec: spec({ port: 8080 }), wrong: 'spec.port' },
  { what: 'no selector', spec: { ports: plain.ports }, wrong: 'spec.workloadSelector' },
  { what: 'an empty selector', spec: spec({ workloadSelector: {} }), wrong: 'spec.workloadSelector.matchLabels' },
  {
    what: 'a selector of nothing',
    spec: spec({ workloadSelector: { matchLabels: {} } }),
    wrong: 'spec.workloadSelector.matchLabels',
  },
  {
    what: 'a selector by what is no label',
    spec: spec({ workloadSelector: { matchLabels: { 'a b': 'x' } } }),
    wrong: 'spec.workloadSelector.matchLabels',
  },
  {
    what: 'a selector for what is no value',
    spec: spec({ workloadSelector: { matchLabels: { app: 'a b' } } }),
    wrong: 'spec.workloadSelector.matchLabels.app',
  },
  { what: 'suspended "yes"', spec: spec({ suspended: 'yes' }), wrong: 'spec.suspended' },

  { what: 'no ports', spec: { workloadSelector: plain.workloadSelector }, wrong: 'spec.ports' },
  { what: 'an empty list of ports', spec: listening(), wrong: 'spec.ports' },
  { what: '8 ports', spec: listening(...names(8).map((_, index) => ({ port: 8080 + index }))) },
  { what: '9 ports', spec: listening(...names(9).map((_, index) => ({ port: 8080 + index }))), wrong: 'spec.ports' },
  { what: 'one port twice', spec: listening({ port: 80 }, { port: 80, listenPort: 81 }), wrong: 'spec.ports[1]' },
  { what: 'a port without a number', spec: listening({}), wrong: 'spec.ports[0].port' },
  ...(['port', 'listenPort'] as const).flatMap((field) => [
    ...each([1, 65535], (value) => ({ what: `${field} ${value}`, spec: portRange(field, value) })),
    ...each([0, -1, 65536, 1.5, '80'], (value) => ({
      what: `${field} ${JSON.stringify(value)}`,
      spec: portRange(field, value),
      wrong: `spec.ports[0].${field}`,
    })),
  ]),
  ...each([55536, 5480, 5481, 5490], (port) => ({
    what: `port ${port} without listenPort`,
    spec: listening({ port }),
    wrong: 'spec.ports[0].listenPort',
  })),
  ...each([55536, 5480, 5481, 5490], (port) => ({
    what: `port ${port} with listenPort`,
    spec: listening({ port, listenPort: 80 }),
  })),
  { what: 'port 55535 without listenPort', spec: listening({ port: 55535 }) },
  ...each([8080, 15480, 15481, 15490], (listenPort) => ({
    what: `listenPort ${listenPort} before 8080`,
    spec: listening({ port: 8080, listenPort }),
    wrong: 'spec.ports[0].listenPort',
  })),
  { what: 'ports behind each other', spec: listening({ port: 80 }, { port: 10080 }), wrong: 'spec.ports' },
  {
    what: 'two ports behind one',
    spec: listening({ port: 80, listenPort: 90 }, { port: 81, listenPort: 90 }),
    wrong: 'spec.ports',
  },
  {
    what: 'a port behind the default of another',
    spec: listening({ port: 80 }, { port: 81, listenPort: 10080 }),
    wrong: 'spec.ports',
  },

  { what: 'no credentials', spec: spec({ credentials: [] }), wrong: 'spec.credentials' },
  {
    what: '9 credentials',
    spec: spec({ credentials: names(9).map((name) => ({ type: 'Query', name })) }),
    wrong: 'spec.credentials',
  },
  { what: 'a credential of no type', spec: presented({}), wrong: 'spec.credentials[0].type' },
  { what: 'an unknown type', spec: presented({ type: 'Digest' }), wrong: 'spec.credentials[0].type' },
  ...each(['Header', 'Query'], (type) => ({
    what: `${type} without a name`,
    spec: presented({ type }),
    wrong: 'spec.credentials[0].name',
  })),
  ...each(['Bearer', 'Basic'], (type) => ({
    what: `${type} with a name`,
    spec: presented({ type, name: 'a' }),
    wrong: 'spec.credentials[0].name',
  })),
  ...each(['X-Key', 'a', '1', repeated('a', 64)], (name) => ({
    what: `header ${name}`,
    spec: presented({ type: 'Header', name }),
  })),
  ...each(
    ['', '-a', 'a-', 'a_b', 'a.b', 'a b', 'Authorization', 'COOKIE', 'host', 'Transfer-Encoding', repeated('a', 65)],
    (name) => ({
      what: `header "${name}"`,
      spec: presented({ type: 'Header', name }),
      wrong: 'spec.credentials[0].name',
    }),
  ),
  ...each(['api_key', '-', 'a.b', 'Host'], (name) => ({
    what: `query ${name}`,
    spec: presented({ type: 'Query', name }),
  })),
  ...each(['', 'a b', 'a=b', 'a&b', 'ä'], (name) => ({
    what: `query "${name}"`,
    spec: presented({ type: 'Query', name }),
    wrong: 'spec.credentials[0].name',
  })),
  {
    what: 'a credential in a field that tells of the way',
    spec: presented({ type: 'Header', name: 'X-Forwarded-For' }),
    wrongLater: 'spec.credentials[0].name',
  },

  {
    what: 'an interface without a name',
    spec: spec({ interfaces: [{ match: [{ paths: ['/'] }] }] }),
    wrong: 'spec.interfaces[0].name',
  },
  {
    what: 'an interface without a match',
    spec: spec({ interfaces: [{ name: 'a' }] }),
    wrong: 'spec.interfaces[0].match',
  },
  { what: 'an empty match', spec: matching(), wrong: 'spec.interfaces[0].match' },
  { what: 'a match of nothing', spec: matching({}), wrong: 'spec.interfaces[0].match[0].paths' },
  {
    what: '33 matches',
    spec: matching(...names(33).map((name) => ({ paths: [`/${name}`] }))),
    wrong: 'spec.interfaces[0].match',
  },
  {
    what: 'one interface twice',
    spec: spec({ interfaces: [1, 2].map(() => ({ name: 'a', match: [{ paths: ['/'] }] })) }),
    wrong: 'spec.interfaces[1]',
  },
  {
    what: '64 interfaces',
    spec: spec({ interfaces: names(64).map((name) => ({ name, match: [{ paths: [`/${name}`] }] })) }),
  },
  {
    what: '65 interfaces',
    spec: spec({ interfaces: names(65).map((name) => ({ name, match: [{ paths: [`/${name}`] }] })) }),
    wrong: 'spec.interfaces',
  },
  ...each(['', '*', '-a', 'a/b'], (name) => ({
    what: `interface "${name}"`,
    spec: spec({ interfaces: [{ name, match: [{ paths: ['/'] }] }] }),
    wrong: 'spec.interfaces[0].name',
  })),
  ...each(['GET', 'PROPFIND', 'M-SEARCH', 'X'], (method) => ({
    what: `method ${method}`,
    spec: matching({ methods: [method] }),
  })),
  ...each(['', 'get', '*', '-A', 'A-', 'GET ', 'CONNECT', 'TRACE', repeated('A', 33)], (method) => ({
    what: `method "${method}"`,
    spec: matching({ methods: [method] }),
    wrong: 'spec.interfaces[0].match[0].methods[0]',
  })),
  { what: 'no methods', spec: matching({ methods: [] }), wrong: 'spec.interfaces[0].match[0].methods' },
  { what: 'no paths', spec: matching({ paths: [] }), wrong: 'spec.interfaces[0].match[0].paths' },
  {
    what: 'one method twice',
    spec: matching({ methods: ['GET', 'GET'] }),
    wrong: 'spec.interfaces[0].match[0].methods',
  },
  { what: 'one path twice', spec: matching({ paths: ['/', '/'] }), wrong: 'spec.interfaces[0].match[0].paths' },
  {
    what: '17 methods',
    spec: matching({ methods: names(17).map((_, index) => repeated('A', index + 1)) }),
    wrong: 'spec.interfaces[0].match[0].methods',
  },
  {
    what: '65 paths',
    spec: matching({ paths: names(65).map((name) => `/${name}`) }),
    wrong: 'spec.interfaces[0].match[0].paths',
  },
  ...each(['/', '/a', '/a/', '/**', '/*', '/{id}/{Name_2}', '/a%20b', "/~!$&'()+,:;=@-._"], (path) => ({
    spec: matching({ paths: [path] }),
  })),
  ...each(
    [
      'a',
      '*',
      '/a*',
      '/**/a',
      '/{}',
      '/{1}',
      '/{a',
      '/a b',
      '/a?b',
      '/a#b',
      '/%',
      '/%2',
      '/%2f',
      '/ä',
      '/\\',
      `/${repeated('a', 512)}`,
    ],
    (path) => ({ spec: matching({ paths: [path] }), wrong: 'spec.interfaces[0].match[0].paths[0]' }),
  ),
  ...each(['/a/../b', '/.', '/%41', '/a%2Fb'], (path) => ({
    spec: matching({ paths: [path] }),
    wrongLater: 'spec.interfaces[0].match[0].paths[0]',
  })),

  { what: 'a role without a name', spec: spec({ roles: [{ interfaces: ['a'] }] }), wrong: 'spec.roles[0].name' },
  { what: 'a role without interfaces', spec: spec({ roles: [{ name: 'A' }] }), wrong: 'spec.roles[0].interfaces' },
  {
    what: 'a role of nothing',
    spec: spec({ roles: [{ name: 'A', interfaces: [] }] }),
    wrong: 'spec.roles[0].interfaces',
  },
  { what: 'role "a b"', spec: spec({ roles: [{ name: 'a b', interfaces: ['a'] }] }), wrong: 'spec.roles[0].name' },
  {
    what: 'a role of "a b"',
    spec: spec({ roles: [{ name: 'A', interfaces: ['a b'] }] }),
    wrong: 'spec.roles[0].interfaces[0]',
  },
  {
    what: 'one role twice',
    spec: spec({ roles: [1, 2].map(() => ({ name: 'A', interfaces: ['a'] })) }),
    wrong: 'spec.roles[1]',
  },
  {
    what: 'a role of an unknown interface',
    spec: spec({ roles: [{ name: 'A', interfaces: ['a'] }] }),
    wrongLater: 'spec.roles[0].interfaces[0]',
  },
  ...(['public', 'denied'] as const).flatMap((field) => [
    {
      what: `${field} without paths`,
      spec: spec({ [field]: [{ methods: ['GET'] }] }),
      wrong: `spec.${field}[0].paths`,
    },
    { what: `${field} of a bad path`, spec: spec({ [field]: [{ paths: ['a'] }] }), wrong: `spec.${field}[0].paths[0]` },
    {
      what: `${field} of a bad method`,
      spec: spec({ [field]: [{ methods: ['get'], paths: ['/a'] }] }),
      wrong: `spec.${field}[0].methods[0]`,
    },
    {
      what: `${field} of CONNECT`,
      spec: spec({ [field]: [{ methods: ['CONNECT'], paths: ['/a'] }] }),
      wrong: `spec.${field}[0].methods[0]`,
    },
    {
      what: `33 ${field}`,
      spec: spec({ [field]: names(33).map((name) => ({ paths: [`/${name}`] })) }),
      wrong: `spec.${field}`,
    },
  ]),
  ...each(['', '*', '*.', 'a.*', '*a.b', 'A.b', 'a..b', 'a:80', '-a.b', repeated('a', 254)], (host) => ({
    what: `host "${host}"`,
    spec: spec({ hosts: [host] }),
    wrong: 'spec.hosts[0]',
  })),
  { what: '33 hosts', spec: spec({ hosts: names(33) }), wrong: 'spec.hosts' },
  { what: 'one host twice', spec: spec({ hosts: ['a', 'a'] }), wrong: 'spec.hosts' },

  { what: 'no grants', spec: spec({ grants: [] }) },
  {
    what: '65 grants',
    spec: spec({ grants: names(65).map(() => ({ namespaces: { from: 'Same' } })) }),
    wrong: 'spec.grants',
  },
  { what: 'a grant to nobody', spec: granting({}), wrong: 'spec.grants[0].namespaces' },
  { what: 'a grant from nowhere', spec: granted({}), wrong: 'spec.grants[0].namespaces.from' },
  { what: 'a grant from anywhere', spec: granted({ from: 'Any' }), wrong: 'spec.grants[0].namespaces.from' },
  ...each(['Same', 'All'], (from) => ({
    what: `${from} with a selector`,
    spec: granted({ from, selector: { matchLabels: { a: 'b' } } }),
    wrong: 'spec.grants[0].namespaces.selector',
  })),
  { what: 'Selector without one', spec: granted({ from: 'Selector' }), wrong: 'spec.grants[0].namespaces.selector' },
  {
    what: 'Selector without labels',
    spec: granted({ from: 'Selector', selector: {} }),
    wrong: 'spec.grants[0].namespaces.selector.matchLabels',
  },
  {
    what: 'Selector of no labels',
    spec: granted({ from: 'Selector', selector: { matchLabels: {} } }),
    wrong: 'spec.grants[0].namespaces.selector.matchLabels',
  },
  {
    what: 'Selector by what is no label',
    spec: granted({ from: 'Selector', selector: { matchLabels: { '/': '' } } }),
    wrong: 'spec.grants[0].namespaces.selector.matchLabels',
  },
  {
    what: 'Selector for what is no value',
    spec: granted({ from: 'Selector', selector: { matchLabels: { a: '-' } } }),
    wrong: 'spec.grants[0].namespaces.selector.matchLabels.a',
  },
  ...(['roles', 'interfaces'] as const).flatMap((field) => [
    {
      what: `a ceiling of ${field} "-"`,
      spec: granting({ namespaces: { from: 'Same' }, [field]: ['-'] }),
      wrong: `spec.grants[0].${field}[0]`,
    },
    {
      what: `a ceiling of unknown ${field}`,
      spec: granting({ namespaces: { from: 'Same' }, [field]: ['a'] }),
      wrongLater: `spec.grants[0].${field}[0]`,
    },
  ]),

  { what: 'the plain source', spec: found({ source: 'Connection' }) },
  { what: 'no source', spec: found({}) },
  { what: 'hops alone', spec: found({ source: 'Forwarded', trustedHops: 16 }) },
  { what: 'an unknown source', spec: found({ source: 'X-Real-IP' }), wrong: 'spec.clientAddress.source' },
  { what: 'a header from anybody', spec: found({ source: 'XForwardedFor' }), wrong: 'spec.clientAddress.source' },
  { what: 'a connection with hops', spec: found({ trustedHops: 1 }), wrong: 'spec.clientAddress.source' },
  {
    what: 'a connection with proxies',
    spec: found({ source: 'Connection', trustedProxies: ['::1'] }),
    wrong: 'spec.clientAddress.source',
  },
  ...each([0, 17, '1'], (trustedHops) => ({
    what: `trustedHops ${JSON.stringify(trustedHops)}`,
    spec: found({ source: 'Forwarded', trustedHops }),
    wrong: 'spec.clientAddress.trustedHops',
  })),
  ...each(['', '10.0.0.*', '10.0.0.1/8', 'fe80::1%a', '::ffff:1.2.3.4', 'proxy'], (proxy) => ({
    what: `proxy "${proxy}"`,
    spec: found({ source: 'Forwarded', trustedProxies: [proxy] }),
    wrong: 'spec.clientAddress.trustedProxies[0]',
  })),

  ...each([0, 86401, '1'], (timeoutSeconds) => ({
    what: `timeoutSeconds ${JSON.stringify(timeoutSeconds)}`,
    spec: spec({ upstream: { timeoutSeconds } }),
    wrong: 'spec.upstream.timeoutSeconds',
  })),
  ...each([0, 10001], (maxConnections) => ({
    what: `maxConnections ${maxConnections}`,
    spec: spec({ upstream: { maxConnections } }),
    wrong: 'spec.upstream.maxConnections',
  })),
  { what: 'no identity headers', spec: spec({ upstream: { identityHeaders: [] } }) },
  {
    what: 'an identity without a name',
    spec: identified({ value: 'KeyId' }),
    wrong: 'spec.upstream.identityHeaders[0].name',
  },
  { what: 'an identity of nothing', spec: identified({ name: 'A' }), wrong: 'spec.upstream.identityHeaders[0].value' },
  {
    what: 'an identity of the key',
    spec: identified({ name: 'A', value: 'Key' }),
    wrong: 'spec.upstream.identityHeaders[0].value',
  },
  ...each(['', 'a b', 'a_b', 'Host', 'content-length', 'Cookie'], (name) => ({
    what: `identity in "${name}"`,
    spec: identified({ name, value: 'KeyId' }),
    wrong: 'spec.upstream.identityHeaders[0].name',
  })),
  {
    what: 'one identity header twice',
    spec: spec({ upstream: { identityHeaders: ['KeyId', 'Roles'].map((value) => ({ name: 'A', value })) } }),
    wrong: 'spec.upstream.identityHeaders[1]',
  },
  {
    what: 'an identity in a field that tells of the way',
    spec: identified({ name: 'Forwarded', value: 'KeyId' }),
    wrongLater: 'spec.upstream.identityHeaders[0].name',
  },
  {
    what: "an identity in a credential's field",
    spec: identified({ name: 'x-api-key', value: 'KeyId' }),
    wrongLater: 'spec.upstream.identityHeaders[0].name',
  },
  ...each([0, 3, 64, '1'], (shards) => ({
    what: `shards ${JSON.stringify(shards)}`,
    spec: spec({ verification: { shards } }),
    wrong: 'spec.verification.shards',
  })),

  { what: 'audit', spec: spec({ mode: 'Audit' }) },
  { what: 'another mode', spec: spec({ mode: 'Observe' }), wrong: 'spec.mode' },

  ...each(['/model', '/a/b', '/a~1b', '/m~0', '//', '/é', `/${repeated('a', 255)}`], (bodyPointer) => ({
    what: `pointer "${bodyPointer}"`,
    spec: named({ bodyPointer }),
  })),
  ...each(['', 'model', '/a~', '/a~2', '/a\n', `/${repeated('a', 256)}`], (bodyPointer) => ({
    what: `pointer "${bodyPointer}"`,
    spec: named({ bodyPointer }),
    wrong: 'spec.resources[0].from.bodyPointer',
  })),
  ...each(['X-Model', 'model'], (header) => ({ what: `resource in "${header}"`, spec: named({ header }) })),
  ...each(['', 'a b', 'a_b', 'Host', 'content-length', 'Cookie', 'AUTHORIZATION'], (header) => ({
    what: `resource in "${header}"`,
    spec: named({ header }),
    wrong: 'spec.resources[0].from.header',
  })),
  ...each(['X-Forwarded-For', 'X-Postern-Model', 'X-API-Key', 'X-Postern-Roles', 'Proxy-Connection'], (header) => ({
    what: `resource in "${header}"`,
    spec: named({ header }),
    wrongLater: 'spec.resources[0].from',
  })),
  ...each(['model', 'a.b-c_d'], (query) => ({ what: `parameter "${query}"`, spec: named({ query }) })),
  ...each(['', 'a b', 'a[]', 'a&b', repeated('a', 65)], (query) => ({
    what: `parameter "${query}"`,
    spec: named({ query }),
    wrong: 'spec.resources[0].from.query',
  })),
  {
    what: 'a resource in the parameter of a key',
    spec: spec({
      credentials: [{ type: 'Query', name: 'key' }],
      resources: [{ name: 'model', from: { query: 'key' } }],
    }),
    wrongLater: 'spec.resources[0].from',
  },
  {
    what: 'a segment',
    spec: spec({
      interfaces: [
        { name: 'a', match: [{ paths: ['/a/{id}'] }] },
        { name: 'b', match: [{ paths: ['/b'] }] },
      ],
      resources: [
        { name: 'order', from: { path: 'id' } },
        { name: 'same', from: { path: 'id' }, interfaces: ['a'], required: false },
      ],
    }),
  },
  ...each([undefined, ['b']], (interfaces) => ({
    what: `a segment of no pattern, on ${interfaces ? 'one interface' : 'all'}`,
    spec: spec({
      interfaces: [
        { name: 'a', match: [{ paths: [interfaces ? '/a/{id}' : '/a/{other}'] }] },
        { name: 'b', match: [{ paths: ['/b'] }] },
      ],
      resources: [{ name: 'order', from: { path: 'id' }, ...(interfaces && { interfaces }) }],
    }),
    wrongLater: 'spec.resources[0].from',
  })),
  ...each(['', '1a', 'a-b', '{a}'], (path) => ({
    what: `segment "${path}"`,
    spec: named({ path }),
    wrong: 'spec.resources[0].from.path',
  })),
  { what: 'a resource from nowhere', spec: named({}), wrong: 'spec.resources[0].from' },
  { what: 'a resource from two places', spec: named({ header: 'A', query: 'a' }), wrong: 'spec.resources[0].from' },
  { what: 'a resource without a place', spec: spec({ resources: [{ name: 'a' }] }), wrong: 'spec.resources[0].from' },
  {
    what: 'eight resources',
    spec: spec({ resources: names(8).map((name) => ({ name, from: { query: name } })) }),
  },
  {
    what: 'nine resources',
    spec: spec({ resources: names(9).map((name) => ({ name, from: { query: name } })) }),
    wrong: 'spec.resources',
  },
  {
    what: 'two resources of one name',
    spec: spec({ resources: ['a', 'b'].map((query) => ({ name: 'model', from: { query } })) }),
    wrong: 'spec.resources[1]',
  },
  ...each(['', 'a b', '-a', repeated('a', 64)], (name) => ({
    what: `resource "${name}"`,
    spec: spec({ resources: [{ name, from: { query: 'a' } }] }),
    wrong: 'spec.resources[0].name',
  })),
  ...each(['', 'a b'], (name) => ({
    what: `resource of "${name}"`,
    spec: spec({ resources: [{ name: 'model', from: { query: 'a' }, interfaces: [name] }] }),
    wrong: 'spec.resources[0].interfaces[0]',
  })),
  ...each(['', 'a b'], (name) => ({
    what: `ceiling of "${name}"`,
    spec: limited({ name, values: ['a'] }),
    wrong: 'spec.grants[0].resources[0].name',
  })),
  {
    what: 'a resource of no interface',
    spec: spec({ resources: [{ name: 'model', from: { query: 'a' }, interfaces: [] }] }),
    wrong: 'spec.resources[0].interfaces',
  },
  {
    what: 'a resource of an interface that is not there',
    spec: spec({ resources: [{ name: 'model', from: { query: 'a' }, interfaces: ['nope'] }] }),
    wrongLater: 'spec.resources[0].interfaces[0]',
  },
  { what: 'a ceiling of values', spec: limited({ name: 'model', values: ['a', 'ep-*', '*', 'é b'] }) },
  {
    what: 'a ceiling of a resource that is not there',
    spec: limited({ name: 'nope', values: ['a'] }),
    wrongLater: 'spec.grants[0].resources[0].name',
  },
  ...each(['', 'a*b', '**', 'a\n', repeated('a', 257)], (value) => ({
    what: `value "${value}"`,
    spec: limited({ name: 'model', values: [value] }),
    wrong: 'spec.grants[0].resources[0].values[0]',
  })),
  { what: 'no value', spec: limited({ name: 'model', values: [] }), wrong: 'spec.grants[0].resources[0].values' },

  ...each([1, 16777216], (maxBodyBytes) => ({
    what: `body ${maxBodyBytes}`,
    spec: spec({ limits: { maxBodyBytes } }),
  })),
  ...each([0, 16777217, '1Mi'], (maxBodyBytes) => ({
    what: `body ${maxBodyBytes}`,
    spec: spec({ limits: { maxBodyBytes } }),
    wrong: 'spec.limits.maxBodyBytes',
  })),
  { what: 'a rate', spec: spec({ limits: { requests: 100, perSeconds: 1, burst: 200 } }) },
  { what: 'a rate without a time', spec: spec({ limits: { requests: 100 } }), wrong: 'spec.limits.perSeconds' },
  { what: 'a time without a rate', spec: spec({ limits: { perSeconds: 1 } }), wrong: 'spec.limits.perSeconds' },
  { what: 'a burst alone', spec: spec({ limits: { burst: 1 } }), wrong: 'spec.limits.burst' },
  { what: 'no request at all', spec: spec({ limits: { requests: 0, perSeconds: 1 } }), wrong: 'spec.limits.requests' },
]
