import {
  accessPolicySpecSchema,
  accessPolicyStatusSchema,
  parseAccessPolicySpec,
  policyNameMaxLength,
  policyNamePattern,
} from '../api/access-policy.ts'
import { apiKeySpecSchema, apiKeyStatusSchema, parseApiKeySpec } from '../api/api-key.ts'
import { accessPolicies, apiKeys } from '../api/names.ts'
import type { KubeObject, Resource } from '../api/object.ts'
import { changedImmutables, type Parse, type Problem, type Schema } from '../api/schema.ts'

/** What the CustomResourceDefinition of a kind asks of its objects, without an API server. */
export interface KindRules {
  readonly apiVersion: string
  readonly kind: string
  /** Of the whole object. */
  readonly schema: Schema
  /** The object with defaults filled in; throws an Error that names every field that is wrong. */
  readonly admit: (object: KubeObject, old: KubeObject | undefined) => KubeObject
}

export const kindRules = (): readonly KindRules[] => [
  rulesOf(apiKeys, apiKeySpecSchema, apiKeyStatusSchema, parseApiKeySpec, () => []),
  rulesOf(accessPolicies, accessPolicySpecSchema, accessPolicyStatusSchema, parseAccessPolicySpec, ({ metadata }) =>
    policyNamePattern.test(metadata.name) && metadata.name.length <= policyNameMaxLength
      ? []
      : [{ path: '.metadata.name', message: `must be a DNS label of at most ${policyNameMaxLength} characters` }],
  ),
]

const withoutSpec = { ok: false, problems: [{ path: '', message: 'is required' }] } as const

function rulesOf(
  { apiVersion, kind }: Resource,
  spec: Schema,
  status: Schema,
  parse: Parse<unknown>,
  nameProblems: (object: KubeObject) => readonly Problem[],
): KindRules {
  return {
    apiVersion,
    kind,
    schema: { type: 'object', properties: { spec, status } },
    admit(object, old) {
      const parsed = object.spec === undefined ? withoutSpec : parse(object.spec)
      const problems = [
        ...nameProblems(object),
        ...(parsed.ok ? [] : parsed.problems.map((problem) => ({ ...problem, path: `.spec${problem.path}` }))),
        ...(parsed.ok && old ? changedImmutables(spec, old.spec, parsed.value, '.spec') : []),
      ]
      if (problems.length > 0) throw new InvalidObject(object, problems)
      return { ...object, spec: parsed.ok ? parsed.value : object.spec }
    },
  }
}

/** An object that its kind does not admit. */
export class InvalidObject extends Error {
  override readonly name = 'InvalidObject'
  readonly problems: readonly Problem[]

  constructor({ kind, metadata }: KubeObject, problems: readonly Problem[]) {
    super(
      `${kind} ${metadata.namespace}/${metadata.name}: ${problems.map(({ path, message }) => `${path}: ${message}`).join('; ')}`,
    )
    this.problems = problems
  }
}
