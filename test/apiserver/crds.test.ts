import { beforeAll, describe, expect, test } from 'vitest'
import { accessPolicySpecSchema, accessPolicyStatusSchema } from '../../src/api/access-policy.ts'
import { apiKeySpecSchema, apiKeyStatusSchema } from '../../src/api/api-key.ts'
import { accessPolicies, apiKeys, apiVersion } from '../../src/api/names.ts'
import type { KubeObject } from '../../src/api/object.ts'
import type { Problem, Schema } from '../../src/api/schema.ts'
import { kindRules } from '../../src/core/kinds.ts'
import { compilePolicy } from '../../src/core/policy.ts'
import { parseApiKey } from '../../src/core/reconcile/api-key.ts'
import { useControlPlane } from '../controlplane/use.ts'
import { accessPolicySpecs } from './access-policy-specs.ts'
import { apiKeySpecs } from './api-key-specs.ts'
import { immutableChanges } from './immutable-changes.ts'
import type { SpecCase } from './spec-case.ts'

const plane = await useControlPlane()
let namespace: string

beforeAll(async () => {
  const { code, stderr } = await plane.kubectl(['apply', '--server-side', '--kustomize', 'crds'])
  expect(code, stderr).toBe(0)
  const names = [apiKeys, accessPolicies].map(({ plural }) => `crd/${plural}.postern.dev`)
  await plane.kubectl(['wait', '--for=condition=Established', '--timeout=30s', ...names])
  namespace = await plane.createNamespace()
})

interface Refusal {
  readonly message: string
  readonly details?: { readonly causes?: readonly { readonly field: string; readonly message: string }[] }
}

const collection = (plural: string): string => `/apis/${apiVersion}/namespaces/${namespace}/${plural}`
const create = (plural: string, object: object, query = ''): ReturnType<typeof plane.send> =>
  plane.send('POST', `${collection(plural)}?fieldValidation=Strict${query}`, object)

interface Kind {
  readonly kind: string
  readonly plural: string
  readonly cases: readonly SpecCase[]
  readonly specSchema: Schema
  readonly statusSchema: Schema
  /** What our own code says of an object before anything else is known. */
  readonly problems: (object: KubeObject) => readonly Problem[]
}

const ofNamespace = <T>(object: KubeObject): T => object as T
const kinds: readonly Kind[] = [
  {
    ...apiKeys,
    cases: apiKeySpecs,
    specSchema: apiKeySpecSchema,
    statusSchema: apiKeyStatusSchema,
    problems: (object) => problemsOf(parseApiKey(ofNamespace(object))),
  },
  {
    ...accessPolicies,
    cases: accessPolicySpecs,
    specSchema: accessPolicySpecSchema,
    statusSchema: accessPolicyStatusSchema,
    problems: (object) => problemsOf(compilePolicy(ofNamespace(object), 'pstn')),
  },
]
const problemsOf = (parsed: { readonly ok: boolean; readonly problems?: readonly Problem[] }): readonly Problem[] =>
  parsed.problems ?? []

describe.each(kinds)('$kind', ({ kind, plural, cases, specSchema, statusSchema, problems }) => {
  const object = (spec: object, name = 'a'): KubeObject => ({ apiVersion, kind, metadata: { name, namespace }, spec })
  /** What the API server has said of each field, for the test that every rule was broken once. */
  const causes: { field: string; message: string }[] = []

  test.each(cases)('$what', async ({ spec, wrong, wrongLater }) => {
    const { status, body } = await create(plural, object(spec), '&dryRun=All')
    const { message, details } = body as Refusal
    const ours = problems(object(spec)).map(({ path, message }) => `${path}: ${message}`)
    causes.push(...(details?.causes ?? []))
    if (wrong !== undefined) {
      expect([status, message]).toEqual([expect.toBeOneOf([400, 422]), expect.stringContaining(wrong)])
      expect(ours).toContainEqual(expect.stringContaining(`.${wrong}`))
    } else {
      expect([status, message]).toEqual([201, undefined])
      expect(ours).toEqual(wrongLater === undefined ? [] : [expect.stringContaining(`.${wrongLater}: `)])
    }
  })

  test('every rule and every pattern was broken by one of these', () => {
    const untouched = rulesIn(specSchema, 'spec').filter(
      ({ path, text }) => !causes.some(({ field, message }) => path.test(field) && message.includes(text)),
    )
    expect(untouched.map(({ path, text }) => `${path.source}: ${text}`)).toEqual([])
  })

  test.each(immutableChanges.filter((change) => change.kind === kind))(
    'refuses to change $what',
    async ({ before, after, wrong }) => {
      const path = `${collection(plural)}/changing`
      const made = await create(plural, object(before, 'changing'))
      expect(made).toMatchObject({ status: 201 })
      const { metadata } = made.body as KubeObject
      const { status, body } = await plane.send('PUT', path, { ...object(after, 'changing'), metadata })
      await plane.send('DELETE', path)
      const rules = kindRules().find((rule) => rule.kind === kind)!
      const admit = (): unknown => rules.admit(object(after), rules.admit(object(before), undefined))
      if (wrong === undefined) {
        expect(status).toBe(200)
        expect(admit).not.toThrow()
      } else {
        expect([status, (body as Refusal).message]).toEqual([422, expect.stringContaining(`${wrong}: Invalid value`)])
        expect((body as Refusal).message).toContain('is immutable')
        expect(admit).toThrow(`.${wrong}: is immutable`)
      }
    },
  )

  test('explains every field', async () => {
    const paths = [...fieldsIn(specSchema, `${plural}.spec`), ...fieldsIn(statusSchema, `${plural}.status`)]
    const { stdout, code } = await plane.kubectl(['explain', plural, '--api-version', apiVersion, '--recursive'])
    expect(code).toBe(0)
    for (const path of paths) expect(stdout).toContain(`${path.split('.').at(-1)}\t<`)
    // One call for each would take minutes: these show the text, and that every schema has one is asked of the schema.
    for (const path of [`${plural}.spec`, paths.at(-1)!]) {
      const { stdout } = await plane.kubectl(['explain', path, '--api-version', apiVersion])
      expect(stdout).toMatch(/DESCRIPTION:\n {4}\S/)
    }
    expect(undescribed(specSchema, 'spec')).toEqual([])
    expect(undescribed(statusSchema, 'status')).toEqual([])
  })

  test('keeps its status apart', async () => {
    const spec = cases.find((each) => each.wrong === undefined)!.spec
    const status = { observedGeneration: 7 }
    const name = 'with-status'
    await create(plural, { ...object(spec, name), status })
    const path = `${collection(plural)}/${name}`
    expect(await plane.get(path)).not.toHaveProperty('status')
    const merge = 'application/merge-patch+json'
    await plane.send('PATCH', `${path}/status`, { status, spec: { unheard: 'of' } }, merge)
    expect(await plane.get(path)).toMatchObject({ metadata: { generation: 1 }, status })
    await plane.send('PATCH', path, { status: { observedGeneration: 8 } }, merge)
    expect(await plane.get(path)).toMatchObject({ metadata: { generation: 1 }, status })
  })
})

test('fills in the defaults that our own code fills in', async () => {
  for (const { plural, kind, cases } of kinds) {
    const rules = kindRules().find((rule) => rule.kind === kind)!
    for (const { spec } of cases.filter(({ wrong }) => wrong === undefined)) {
      const object: KubeObject = { apiVersion, kind, metadata: { name: 'a', namespace }, spec }
      const { body } = await create(plural, object, '&dryRun=All')
      expect((body as KubeObject).spec).toEqual(rules.admit(object, undefined).spec)
    }
  }
})

test.each([
  ['a', 201],
  ['a'.repeat(50), 201],
  ['a'.repeat(51), 422],
  ['a.b', 422],
])('a policy named %s is answered %i', async (name, expected) => {
  const { spec } = accessPolicySpecs[0]!
  const object: KubeObject = { apiVersion, kind: 'AccessPolicy', metadata: { name, namespace }, spec }
  const { status, body } = await create('accesspolicies', object, '&dryRun=All')
  const { message } = body as Refusal
  const ours = problemsOf(compilePolicy(ofNamespace(object), 'pstn'))
  expect(status).toBe(expected)
  if (expected === 201) expect(ours).toEqual([])
  else {
    expect(message).toContain('metadata.name must be a DNS label of at most 50 characters')
    expect(ours).toEqual([{ path: '.metadata.name', message: 'must be a DNS label of at most 50 characters' }])
  }
})

describe('kubectl', () => {
  const manifest = (name: string): KubeObject => ({
    apiVersion,
    kind: 'AccessPolicy',
    metadata: { name, namespace },
    spec: accessPolicySpecs[1]!.spec,
  })

  test('finds no difference in what it has applied', async () => {
    const key: KubeObject = {
      apiVersion,
      kind: 'ApiKey',
      metadata: { name: 'round', namespace },
      spec: apiKeySpecs[1]!.spec,
    }
    for (const input of [manifest('round'), key]) {
      const apply = ['apply', '--server-side', '-f', '-', '-o', 'jsonpath={.metadata.resourceVersion}']
      const first = await plane.kubectl(apply, { input })
      expect(first).toMatchObject({ code: 0, stderr: '' })
      expect(await plane.kubectl(['diff', '--server-side', '-f', '-'], { input })).toMatchObject({
        code: 0,
        stdout: '',
      })
      expect(await plane.kubectl(apply, { input })).toMatchObject({ stdout: first.stdout })
    }
  })

  test('reports a field that nobody knows', async () => {
    const input = { ...manifest('misspelt'), spec: { ...(manifest('').spec as object), grant: [] } }
    const { code, stderr } = await plane.kubectl(['apply', '--server-side', '-f', '-'], { input })
    expect(code).toBe(1)
    expect(stderr).toContain('.spec.grant')
  })

  test('waits for a condition, and shows columns', async () => {
    const name = 'waited-for'
    await plane.kubectl(['apply', '--server-side', '-f', '-'], { input: manifest(name) })
    const waiting = plane.kubectl([
      'wait',
      '--for=condition=Ready',
      '--timeout=20s',
      '-n',
      namespace,
      `accesspolicy/${name}`,
    ])
    const condition = {
      type: 'Ready',
      status: 'True',
      reason: 'Ready',
      message: 'The policy is in force.',
      lastTransitionTime: '2026-01-01T00:00:00Z',
      observedGeneration: 1,
    }
    const status = {
      observedGeneration: 1,
      keys: { active: 12, refused: 34 },
      sequence: 56,
      publishedTime: '2026-01-02T00:00:00Z',
      conditions: [condition],
    }
    await plane.send(
      'PATCH',
      `${collection('accesspolicies')}/${name}/status`,
      { status },
      'application/merge-patch+json',
    )
    expect(await waiting).toMatchObject({ code: 0 })

    const keyStatus = {
      keyIdSuffix: 'zY9x',
      expiresTime: '2027-06-30T00:00:00Z',
      conditions: [{ ...condition, status: 'False', reason: 'Disabled' }],
    }
    const key = { apiVersion, kind: 'ApiKey', metadata: { name, namespace }, spec: { displayName: 'Exporter' } }
    await plane.kubectl(['apply', '--server-side', '-f', '-'], { input: key })
    await plane.send(
      'PATCH',
      `${collection('apikeys')}/${name}/status`,
      { status: keyStatus },
      'application/merge-patch+json',
    )
    const rows = async (...args: string[]): Promise<string[][]> => {
      const { stdout } = await plane.kubectl(['get', ...args, '-n', namespace])
      return stdout
        .trim()
        .split('\n')
        .map((line) => line.split(/ {2,}/).map((cell) => cell.trim()))
    }
    expect(await rows('ap', name, '-o', 'wide')).toEqual([
      ['NAME', 'READY', 'REASON', 'KEYS', 'REFUSED', 'AGE', 'PUBLISHED', 'SEQUENCE'],
      [name, 'True', 'Ready', '12', '34', expect.any(String), '2026-01-02T00:00:00Z', '56'],
    ])
    expect(await rows('ak', name, '-o', 'wide')).toEqual([
      ['NAME', 'READY', 'REASON', 'EXPIRES', 'AGE', 'KEY', 'DISPLAY NAME'],
      [name, 'False', 'Disabled', '2027-06-30T00:00:00Z', expect.any(String), 'zY9x', 'Exporter'],
    ])
    expect((await rows('ap', name))[0]).toEqual(['NAME', 'READY', 'REASON', 'KEYS', 'REFUSED', 'AGE'])
    const both = await plane.kubectl(['get', 'postern', '-n', namespace, '-o', 'name'])
    expect(both.stdout).toContain(`accesspolicy.postern.dev/${name}`)
    expect(both.stdout).toContain(`apikey.postern.dev/${name}`)
  })
})

/** Every rule and pattern of a schema: where its complaints are, and what they say. */
function rulesIn(schema: Schema, path: string): { path: RegExp; text: string }[] {
  const at = (field: string): RegExp => new RegExp(`^${field}$`)
  return [
    ...(schema.rules ?? []).map(({ message, fieldPath = '' }) => ({ path: at(path + fieldPath), text: message })),
    ...(schema.pattern === undefined ? [] : [{ path: at(path), text: `should match '${schema.pattern}'` }]),
    ...Object.entries(schema.properties ?? {}).flatMap(([name, child]) => rulesIn(child, `${path}\\.${name}`)),
    ...(schema.items ? rulesIn(schema.items, `${path}\\[\\d+\\]`) : []),
    ...(schema.additionalProperties ? rulesIn(schema.additionalProperties, `${path}\\..+`) : []),
  ]
}

function fieldsIn(schema: Schema, path: string): string[] {
  const { properties = {}, items } = schema
  return [
    path,
    ...Object.entries(properties).flatMap(([name, child]) => fieldsIn(child, `${path}.${name}`)),
    ...(items ? fieldsIn(items, path) : []),
  ]
}

/** Fields without a text of their own. What a list holds is told at the list. */
function undescribed(schema: Schema, path: string, described = schema.description): string[] {
  return [
    ...(described ? [] : [path]),
    ...Object.entries(schema.properties ?? {}).flatMap(([name, child]) => undescribed(child, `${path}.${name}`)),
    ...(schema.items ? undescribed(schema.items, path, schema.description) : []),
  ]
}
