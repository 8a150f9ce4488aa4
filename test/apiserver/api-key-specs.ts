import { each, names, repeated, type SpecCase } from './spec-case.ts'

const digest = `sha256:${repeated('0a', 32)}`
const asking = (entry: object): object => ({ access: [entry] })
const named = (policy: object): object => asking({ policy })
const inSecret = (secret: object): object => ({ secret })
const adopted = (secretRef: object): object => ({ source: { existing: { secretRef } } })
const template = (data: object): object => inSecret({ template: data })
const labelled = (labels: object): object => inSecret({ labels })

/** Specs of ApiKeys, for and against every rule, pattern and bound. */
export const apiKeySpecs: readonly SpecCase[] = [
  { what: 'nothing at all', spec: {} },
  {
    what: 'everything at once',
    spec: {
      displayName: 'Billing exporter',
      enabled: false,
      access: [
        { policy: { name: 'orders', namespace: 'shop' }, roles: ['Reader', 'a.b_c-d'], interfaces: ['write'] },
        { policy: { name: '*' } },
      ],
      allowedAddresses: ['10.2.0.0/16', '192.168.1.*', '2001:db8::/32', '::1'],
      notBeforeTime: '2026-01-01T00:00:00Z',
      expiresTime: '2027-06-30T00:00:00.5+02:00',
      secret: {
        name: 'billing.exporter',
        labels: { 'example.com/team': 'billing', empty: '' },
        annotations: { note: 'a\nb' },
        template: { 'config.ini': '[a]\nkey = $(key)\nid = $(keyId)', password: '$(secret)' },
      },
    },
  },
  { what: 'an unknown field', spec: { displayname: 'x' }, wrong: 'spec.displayname' },
  { what: 'an unknown field of an entry', spec: named({ nmae: 'x', name: 'x' }), wrong: 'spec.access[0].policy.nmae' },

  ...each([repeated('é', 128), repeated('💡', 128), ''], (displayName) => ({ spec: { displayName } })),
  ...each([repeated('x', 129), 'a\nb', 'a\u007f', '\u0085', 7], (displayName) => ({
    spec: { displayName },
    wrong: 'spec.displayName',
  })),
  ...each(['true', 1], (enabled) => ({ spec: { enabled }, wrong: 'spec.enabled' })),
  {
    what: 'null for fields that may be absent',
    spec: { enabled: null, displayName: null, allowedAddresses: null, secret: { labels: { a: null }, template: null } },
  },
  { what: 'null for a field that may not', spec: asking({ policy: null }), wrong: 'spec.access[0].policy' },
  { what: 'null for a member of a list', spec: { allowedAddresses: [null] }, wrong: 'spec.allowedAddresses[0]' },

  { what: 'an entry without a policy', spec: asking({}), wrong: 'spec.access[0].policy' },
  { what: 'a policy without a name', spec: named({}), wrong: 'spec.access[0].policy.name' },
  { what: '64 entries', spec: { access: names(64).map((name) => ({ policy: { name } })) } },
  { what: '65 entries', spec: { access: names(65).map((name) => ({ policy: { name } })) }, wrong: 'spec.access' },
  ...each(['*', 'a', '1-b', repeated('a', 50)], (name) => ({ spec: named({ name }) })),
  ...each(['', '**', 'a*', 'A', 'a.b', '-a', 'a-', 'a\n', repeated('a', 51)], (name) => ({
    spec: named({ name }),
    wrong: 'spec.access[0].policy.name',
  })),
  ...each(['a', repeated('a', 63)], (namespace) => ({ spec: named({ name: 'a', namespace }) })),
  ...each(['', '*', 'A', 'a.b', '-a', 'a_b', repeated('a', 64)], (namespace) => ({
    spec: named({ name: 'a', namespace }),
    wrong: 'spec.access[0].policy.namespace',
  })),
  ...(['roles', 'interfaces'] as const).flatMap((field) => [
    ...each([[], ['A'], ['a.b_c-D'], [repeated('a', 63)], names(64)], (list) => ({
      what: `${field} ${JSON.stringify(list).slice(0, 40)}`,
      spec: asking({ policy: { name: 'a' }, [field]: list }),
    })),
    ...each(['', '*', '-a', 'a-', 'a b', 'ä', repeated('a', 64)], (name) => ({
      what: `${field} ["${name}"]`,
      spec: asking({ policy: { name: 'a' }, [field]: [name] }),
      wrong: `spec.access[0].${field}[0]`,
    })),
    {
      what: `65 ${field}`,
      spec: asking({ policy: { name: 'a' }, [field]: names(65) }),
      wrong: `spec.access[0].${field}`,
    },
    {
      what: `the same twice in ${field}`,
      spec: asking({ policy: { name: 'a' }, [field]: ['a', 'a'] }),
      wrong: `spec.access[0].${field}`,
    },
  ]),

  ...each(
    [
      '10.0.0.1',
      '0.0.0.0',
      '255.255.255.255',
      '10.0.0.0/8',
      '0.0.0.0/0',
      '10.0.0.1/32',
      '*.1.2.3',
      '1.*.2.3',
      '1.2.3.*',
      '::1',
      '::',
      '::/0',
      '2001:db8::/32',
      '2001:db8::1/128',
      '2001:DB8::A',
      '2001:db8:0:0:0:0:0:1',
    ],
    (address) => ({ spec: { allowedAddresses: [address] } }),
  ),
  ...each(
    [
      '',
      '*',
      '*.*',
      '1.2.3',
      '1.2.3.4.5',
      '1.2.*.*',
      '1.2.3.4*',
      '1.2.3.**',
      '*.2.3.256',
      '01.2.3.*',
      '010.0.0.1',
      '0x0a.0.0.1',
      '1.2.3.256',
      '10.0.0.1/8',
      '10.0.0.0/08',
      '10.0.0.0/33',
      '10.0.0.0/',
      '10.0.0.0/-1',
      '10.0.0.*/24',
      '2001:db8::1/32',
      '::/129',
      'fe80::1%eth0',
      'fe80::%1/64',
      '::ffff:10.0.0.1',
      '::ffff:10.0.0.0/104',
      ':::',
      '1::2::3',
      'localhost',
      ' 10.0.0.1',
      '10.0.0.1\n',
      '[::1]',
      repeated('1', 50),
    ],
    (address) => ({ spec: { allowedAddresses: [address] }, wrong: 'spec.allowedAddresses[0]' }),
  ),
  { what: '50 addresses', spec: { allowedAddresses: names(50).map((_, index) => `10.0.0.${index}`) } },
  {
    what: '51 addresses',
    spec: { allowedAddresses: names(51).map((_, index) => `10.0.0.${index}`) },
    wrong: 'spec.allowedAddresses',
  },
  { what: 'one address twice', spec: { allowedAddresses: ['::1', '::1'] }, wrong: 'spec.allowedAddresses' },

  ...(['expiresTime', 'notBeforeTime'] as const).flatMap((field) => [
    ...each(['2026-01-01T00:00:00Z', '2024-02-29T23:59:59.123456789-11:30'], (time) => ({
      what: `${field} ${time}`,
      spec: { [field]: time },
    })),
    ...each(
      [
        '',
        'tomorrow',
        '2026-01-01',
        '2026-01-01T00:00:00',
        '2026-01-01 00:00:00Z',
        '2026-01-01t00:00:00z',
        '2026-01-01T00:00:00+0000',
        '2026-01-01T00:00:00+24:00',
        '2026-02-30T00:00:00Z',
        '2025-02-29T00:00:00Z',
        '2026-13-01T00:00:00Z',
        '2026-00-10T00:00:00Z',
        '2026-01-01T24:00:00Z',
        '2026-01-01T00:60:00Z',
        '2026-01-01T00:00:60Z',
        '2026-01-01T00:00:00,5Z',
        '2026-01-01T00:00Z',
        '2026-01-01T0:00:00Z',
        '2026-01-01T00:00:00.1234567890Z',
        '12026-01-01T00:00:00Z',
        repeated('2026-01-01T00:00:00Z', 3),
        1767225600,
      ],
      (time) => ({ what: `${field} ${time}`, spec: { [field]: time }, wrong: `spec.${field}` }),
    ),
  ]),
  ...each([1, 86400, 3153600000], (lifetimeSeconds) => ({ spec: { lifetimeSeconds } })),
  ...each([0, -1, 3153600001, 1.5, '60', 1e300], (lifetimeSeconds) => ({
    what: `lifetimeSeconds ${JSON.stringify(lifetimeSeconds)}`,
    spec: { lifetimeSeconds },
    wrong: 'spec.lifetimeSeconds',
  })),
  {
    what: 'both ways to expire',
    spec: { expiresTime: '2027-01-01T00:00:00Z', lifetimeSeconds: 60 },
    wrong: 'spec.lifetimeSeconds',
  },
  {
    what: 'a beginning with a lifetime',
    spec: { notBeforeTime: '2027-01-01T00:00:00Z', lifetimeSeconds: 60 },
  },
  {
    what: 'a beginning before the end, told in another zone',
    spec: { notBeforeTime: '2027-01-01T01:00:00+02:00', expiresTime: '2027-01-01T00:00:00Z' },
  },
  {
    what: 'an end at the beginning',
    spec: { notBeforeTime: '2027-01-01T00:00:00Z', expiresTime: '2027-01-01T00:00:00Z' },
    wrong: 'spec.notBeforeTime',
  },
  {
    what: 'an end before the beginning, though it reads later',
    spec: { notBeforeTime: '2027-01-01T00:00:00Z', expiresTime: '2027-01-01T01:00:00+02:00' },
    wrong: 'spec.notBeforeTime',
  },

  ...each(['a', 'a.b', '1', repeated('a', 253)], (name) => ({ spec: inSecret({ name }) })),
  ...each(['', 'A', 'a..b', '.a', 'a-', 'a_b', repeated('a', 254)], (name) => ({
    spec: inSecret({ name }),
    wrong: 'spec.secret.name',
  })),
  ...each([{}, { a: '' }, { 'a.b/c.D_e-f': 'x' }, { [`${repeated('a', 200)}/b`]: 'x' }], (labels) => ({
    spec: labelled(labels),
  })),
  ...each(
    [
      '',
      '/',
      'a/',
      '/b',
      'A/b',
      'a//b',
      'a/b/c',
      '-a',
      'a b',
      repeated('a', 64),
      `${repeated('a', 260)}/${repeated('b', 60)}`,
    ],
    (key) => ({ what: `label "${key}"`, spec: labelled({ [key]: 'x' }), wrong: 'spec.secret.labels' }),
  ),
  ...each(['-', 'a-', 'a b', 'ä', repeated('a', 64), 7], (value) => ({
    what: `label value ${JSON.stringify(value)}`,
    spec: labelled({ team: value }),
    wrong: 'spec.secret.labels.team',
  })),
  {
    what: '33 labels',
    spec: labelled(Object.fromEntries(names(33).map((name) => [name, '']))),
    wrong: 'spec.secret.labels',
  },
  {
    what: '33 annotations',
    spec: inSecret({ annotations: Object.fromEntries(names(33).map((name) => [name, ''])) }),
    wrong: 'spec.secret.annotations',
  },
  ...each(['', '-', 'a b', 'a/b/c', 'A/b'], (key) => ({
    what: `annotation "${key}"`,
    spec: inSecret({ annotations: { [key]: 'x' } }),
    wrong: 'spec.secret.annotations',
  })),
  {
    what: 'an annotation that is too long',
    spec: inSecret({ annotations: { a: repeated('x', 4097) } }),
    wrong: 'spec.secret.annotations.a',
  },
  ...each([{ key: '$(key)' }, { '.a_B-1': 'x$(secret)y$(keyId)' }, { a: '$(key)$(key)', b: '$key $ )' }], (data) => ({
    spec: template(data),
  })),
  ...each([{}, { id: '$(keyId)' }, { a: '$(KEY)' }, { a: '$(key)', b: '$(keyid)' }, { a: '$$(key) $(' }], (data) => ({
    spec: template(data),
    wrong: 'spec.secret.template',
  })),
  { what: 'a placeholder made of two', spec: template({ a: '$$(key)(key)' }), wrong: 'spec.secret.template' },
  ...each(['', 'a b', 'a/b', 'ä', repeated('a', 254)], (name) => ({
    what: `data name "${name}"`,
    spec: template({ [name]: '$(key)' }),
    wrong: 'spec.secret.template',
  })),
  {
    what: 'a template that is too long',
    spec: template({ a: `$(key)${repeated('x', 4091)}` }),
    wrong: 'spec.secret.template.a',
  },
  {
    what: '17 data',
    spec: template(Object.fromEntries(names(17).map((name) => [name, '$(key)']))),
    wrong: 'spec.secret.template',
  },

  { what: 'an existing Secret', spec: adopted({ name: 'vault-billing', key: 'api.key' }) },
  { what: 'a digest', spec: { source: { digest } } },
  { what: 'a source that is none', spec: { source: {} }, wrong: 'spec.source' },
  {
    what: 'two sources',
    spec: { source: { digest, existing: { secretRef: { name: 'a', key: 'b' } } } },
    wrong: 'spec.source',
  },
  { what: 'a source and a Secret', spec: { source: { digest }, secret: { name: 'a' } }, wrong: 'spec.secret' },
  { what: 'no reference', spec: { source: { existing: {} } }, wrong: 'spec.source.existing.secretRef' },
  { what: 'no name', spec: adopted({ key: 'a' }), wrong: 'spec.source.existing.secretRef.name' },
  { what: 'no key', spec: adopted({ name: 'a' }), wrong: 'spec.source.existing.secretRef.key' },
  ...each(['', 'A', 'a/b'], (name) => ({
    what: `Secret "${name}"`,
    spec: adopted({ name, key: 'a' }),
    wrong: 'spec.source.existing.secretRef.name',
  })),
  ...each(['', 'a b', '$', repeated('a', 254)], (key) => ({
    what: `data "${key}"`,
    spec: adopted({ name: 'a', key }),
    wrong: 'spec.source.existing.secretRef.key',
  })),
  ...each(['', digest.slice(7), digest.toUpperCase(), `${digest}0`, digest.slice(0, -1), `${digest}\n`], (text) => ({
    what: `digest "${text}"`,
    spec: { source: { digest: text } },
    wrong: 'spec.source.digest',
  })),

  {
    what: 'limits of resources',
    spec: asking({ policy: { name: 'a' }, resources: [{ name: 'model', values: ['a', 'ep-*', '*'] }] }),
  },
  ...each(['', 'a*b', '**', 'a\n', repeated('a', 257)], (value) => ({
    what: `value "${value}"`,
    spec: asking({ policy: { name: 'a' }, resources: [{ name: 'model', values: [value] }] }),
    wrong: 'spec.access[0].resources[0].values[0]',
  })),
  ...each(['', 'a b'], (name) => ({
    what: `resource "${name}"`,
    spec: asking({ policy: { name: 'a' }, resources: [{ name, values: ['a'] }] }),
    wrong: 'spec.access[0].resources[0].name',
  })),
  {
    what: '100 values',
    spec: asking({ policy: { name: 'a' }, resources: [{ name: 'model', values: names(100) }] }),
  },
  {
    what: '101 values',
    spec: asking({ policy: { name: 'a' }, resources: [{ name: 'model', values: names(101) }] }),
    wrong: 'spec.access[0].resources[0].values',
  },
  {
    what: 'a resource twice',
    spec: asking({ policy: { name: 'a' }, resources: ['x', 'y'].map((value) => ({ name: 'model', values: [value] })) }),
    wrong: 'spec.access[0].resources[1]',
  },
  ...each(
    [
      { requests: 1, perSeconds: 1 },
      { requests: 1000000, perSeconds: 86400, burst: 1000000 },
    ],
    (rateLimit) => ({ spec: { rateLimit } }),
  ),
  ...each(['requests', 'perSeconds', 'burst'], (field) => ({
    what: `${field} of nothing`,
    spec: { rateLimit: { requests: 1, perSeconds: 1, [field]: 0 } },
    wrong: `spec.rateLimit.${field}`,
  })),
  { what: 'a rate without a time', spec: { rateLimit: { requests: 1 } }, wrong: 'spec.rateLimit.perSeconds' },
  {
    what: 'a rate in too long a time',
    spec: { rateLimit: { requests: 1, perSeconds: 86401 } },
    wrong: 'spec.rateLimit.perSeconds',
  },
]
