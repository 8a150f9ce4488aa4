import {
  type AccessPolicy,
  type AccessPolicySpec,
  type Grant,
  parseAccessPolicySpec,
  policyNameMaxLength,
  policyNamePattern,
  type RequestMatch,
} from '../api/access-policy.ts'
import type { AccessEntry } from '../api/api-key.ts'
import type { Parsed, Problem } from '../api/schema.ts'
import type { PolicyDocument } from '../api/verification.ts'
import { parseCidr } from './address.ts'
import { patternProblem } from './match.ts'

/** An AccessPolicy that can be enforced: every name in it resolved. */
export interface Policy {
  readonly namespace: string
  readonly name: string
  readonly uid: string
  readonly document: PolicyDocument
  readonly shards: number
  readonly interfaces: ReadonlyMap<string, number>
  readonly roles: ReadonlyMap<string, readonly number[]>
  readonly grants: readonly CompiledGrant[]
}

interface CompiledGrant {
  readonly namespaces: Grant['namespaces']
  /** Indexes of interfaces; undefined: no ceiling. */
  readonly ceiling: ReadonlySet<number> | undefined
  readonly roles: readonly string[]
}

/** The name of the one interface of a policy that declares none. */
const implicitInterface = { name: '*', match: [{}] }

export const implicitInterfaceName = implicitInterface.name

/** Compiles a policy, or says everything that is wrong with it. `keyPrefix` is what generated keys begin with. */
export function compilePolicy(policy: AccessPolicy, keyPrefix: string): Parsed<Policy> {
  const parsed = parseAccessPolicySpec(policy.spec)
  const nameProblems = namingProblems(policy.metadata.name)
  if (!parsed.ok)
    return {
      ok: false,
      problems: [...nameProblems, ...parsed.problems.map((problem) => ({ ...problem, path: `.spec${problem.path}` }))],
    }
  const spec = parsed.value
  const problems = [
    ...nameProblems,
    ...referenceProblems(spec),
    ...patternProblems(spec),
    ...addressProblems(spec),
    ...headerProblems(spec),
  ]
  if (problems.length > 0) return { ok: false, problems }

  const declared = spec.interfaces?.length ? spec.interfaces : [implicitInterface]
  const interfaces = new Map(declared.map(({ name }, index) => [name, index]))
  const indexesOf = (names: readonly string[] = []): number[] => names.map((name) => interfaces.get(name)!)
  const roles = new Map((spec.roles ?? []).map((role) => [role.name, indexesOf(role.interfaces)]))
  return {
    ok: true,
    value: {
      namespace: policy.metadata.namespace,
      name: policy.metadata.name,
      uid: policy.metadata.uid ?? '',
      shards: spec.verification.shards,
      interfaces,
      roles,
      grants: spec.grants.map((grant) => {
        const unlimited = !grant.roles?.length && !grant.interfaces?.length
        return {
          namespaces: grant.namespaces,
          ceiling: unlimited
            ? undefined
            : new Set([...(grant.roles ?? []).flatMap((role) => roles.get(role)!), ...indexesOf(grant.interfaces)]),
          roles: unlimited ? [...roles.keys()] : (grant.roles ?? []),
        }
      }),
      document: {
        keyPrefix,
        suspended: spec.suspended,
        hosts: spec.hosts ?? [],
        credentials: spec.credentials,
        interfaces: declared,
        public: spec.public ?? [],
        denied: spec.denied ?? [],
        clientAddress: spec.clientAddress,
        identityHeaders: spec.upstream.identityHeaders,
        forwardCredential: spec.upstream.forwardCredential,
        upstream: { timeoutSeconds: spec.upstream.timeoutSeconds, maxConnections: spec.upstream.maxConnections },
      },
    },
  }
}

export type AccessAnswer =
  | { readonly accepted: true; readonly interfaces: readonly number[]; readonly roles: readonly string[] }
  | { readonly accepted: false; readonly reason: AccessRefusal; readonly message: string }

export type AccessRefusal =
  | 'NamespaceNotGranted'
  | 'RoleUnknown'
  | 'InterfaceUnknown'
  | 'RoleNotGranted'
  | 'InterfaceNotGranted'

/** What a policy answers to one thing that a key of some namespace asks for: all of it, or nothing. */
export function answerAccess(
  policy: Policy,
  entry: AccessEntry,
  namespace: string,
  namespaceLabels: Readonly<Record<string, string>>,
): AccessAnswer {
  const refuse = (reason: AccessRefusal, message: string): AccessAnswer => ({ accepted: false, reason, message })
  const title = `AccessPolicy ${policy.namespace}/${policy.name}`
  const grants = policy.grants.filter((grant) => isGranted(grant, policy.namespace, namespace, namespaceLabels))
  if (grants.length === 0)
    return refuse('NamespaceNotGranted', `${title} has no grant for keys of namespace ${namespace}.`)
  const unlimited = grants.some((grant) => grant.ceiling === undefined)
  const allows = (index: number): boolean => unlimited || grants.some((grant) => grant.ceiling!.has(index))
  const { roles = [], interfaces = [] } = entry
  if (roles.length === 0 && interfaces.length === 0) {
    return {
      accepted: true,
      interfaces: [...policy.interfaces.values()].filter(allows),
      roles: [...new Set(grants.flatMap((grant) => grant.roles))],
    }
  }
  for (const role of roles) {
    const indexes = policy.roles.get(role)
    if (!indexes) return refuse('RoleUnknown', `${title} has no role ${role}.`)
    if (!indexes.every(allows))
      return refuse('RoleNotGranted', `${title} does not grant the role ${role} to namespace ${namespace}.`)
  }
  for (const name of interfaces) {
    const index = policy.interfaces.get(name)
    if (index === undefined) return refuse('InterfaceUnknown', `${title} has no interface ${name}.`)
    if (!allows(index))
      return refuse('InterfaceNotGranted', `${title} does not grant the interface ${name} to namespace ${namespace}.`)
  }
  const asked = new Set([
    ...roles.flatMap((role) => policy.roles.get(role)!),
    ...interfaces.map((name) => policy.interfaces.get(name)!),
  ])
  return { accepted: true, interfaces: [...asked].sort((a, b) => a - b), roles }
}

function isGranted(
  { namespaces }: CompiledGrant,
  own: string,
  namespace: string,
  labels: Readonly<Record<string, string>>,
): boolean {
  switch (namespaces.from) {
    case 'Same':
      return namespace === own
    case 'All':
      return true
    case 'Selector':
      return Object.entries(namespaces.selector!.matchLabels).every(([name, value]) => labels[name] === value)
  }
}

function namingProblems(name: string): Problem[] {
  if (policyNamePattern.test(name) && name.length <= policyNameMaxLength) return []
  return [{ path: '.metadata.name', message: `must be a DNS label of at most ${policyNameMaxLength} characters` }]
}

function referenceProblems(spec: AccessPolicySpec): Problem[] {
  const interfaces = new Set(spec.interfaces?.map(({ name }) => name))
  const roles = new Set(spec.roles?.map(({ name }) => name))
  const unknown = (kind: string, known: ReadonlySet<string>, names: readonly string[] = [], path: string): Problem[] =>
    names.flatMap((name, index) =>
      known.has(name) ? [] : [{ path: `${path}[${index}]`, message: `there is no ${kind} ${name}` }],
    )
  return [
    ...(spec.roles ?? []).flatMap((role, index) =>
      unknown('interface', interfaces, role.interfaces, `.spec.roles[${index}].interfaces`),
    ),
    ...spec.grants.flatMap((grant, index) => [
      ...unknown('role', roles, grant.roles, `.spec.grants[${index}].roles`),
      ...unknown('interface', interfaces, grant.interfaces, `.spec.grants[${index}].interfaces`),
    ]),
  ]
}

function patternProblems(spec: AccessPolicySpec): Problem[] {
  const of = (matches: readonly RequestMatch[] = [], path: string): Problem[] =>
    matches.flatMap((match, at) =>
      (match.paths ?? []).flatMap((pattern, index) => {
        const message = patternProblem(pattern)
        return message === undefined ? [] : [{ path: `${path}[${at}].paths[${index}]`, message }]
      }),
    )
  return [
    ...(spec.interfaces ?? []).flatMap((entry, index) => of(entry.match, `.spec.interfaces[${index}].match`)),
    ...of(spec.public, '.spec.public'),
    ...of(spec.denied, '.spec.denied'),
  ]
}

function addressProblems(spec: AccessPolicySpec): Problem[] {
  return (spec.clientAddress.trustedProxies ?? []).flatMap((text, index) =>
    parseCidr(text)
      ? []
      : [
          {
            path: `.spec.clientAddress.trustedProxies[${index}]`,
            message: 'must be an address, or a CIDR without host bits',
          },
        ],
  )
}

function headerProblems(spec: AccessPolicySpec): Problem[] {
  const seen = new Set(
    spec.credentials.flatMap((credential) => (credential.type === 'Header' ? [credential.name!.toLowerCase()] : [])),
  )
  return [...forwardingProblems(spec), ...repeated(spec, seen)]
}

/** Fields that tell of the way a request came. */
const forwardingFields = ['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-port', 'x-forwarded-proto']

function forwardingProblems(spec: AccessPolicySpec): Problem[] {
  const of = (name: string | undefined, path: string): Problem[] =>
    name !== undefined && forwardingFields.includes(name.toLowerCase())
      ? [{ path, message: 'tells of the way a request came: it can be neither a credential nor an identity' }]
      : []
  return [
    ...spec.credentials.flatMap(({ type, name }, index) =>
      type === 'Header' ? of(name, `.spec.credentials[${index}].name`) : [],
    ),
    ...spec.upstream.identityHeaders.flatMap(({ name }, index) =>
      of(name, `.spec.upstream.identityHeaders[${index}].name`),
    ),
  ]
}

function repeated(spec: AccessPolicySpec, seen: Set<string>): Problem[] {
  return spec.upstream.identityHeaders.flatMap(({ name }, index) => {
    const taken = seen.size === seen.add(name.toLowerCase()).size
    return taken
      ? [
          {
            path: `.spec.upstream.identityHeaders[${index}].name`,
            message: 'is the name of a credential or of another identity header',
          },
        ]
      : []
  })
}
