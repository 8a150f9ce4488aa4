import {
  type AccessPolicy,
  type AccessPolicySpec,
  type Grant,
  parseAccessPolicySpec,
  policyNameMaxLength,
  policyNamePattern,
  type RequestMatch,
} from '../api/access-policy.ts'
import type { PolicyResource } from '../api/resources.ts'
import type { Parsed, Problem } from '../api/schema.ts'
import type { PolicyDocument } from '../api/verification.ts'
import { parseCidr } from './address.ts'
import { patternProblem } from './match.ts'
import { forwardingFields, isWithheld } from './special-fields.ts'

/** An AccessPolicy that can be enforced: every name in it resolved. */
export interface Policy {
  readonly namespace: string
  readonly name: string
  readonly uid: string
  readonly document: PolicyDocument
  readonly shards: number
  readonly interfaces: ReadonlyMap<string, number>
  readonly roles: ReadonlyMap<string, readonly number[]>
  readonly resources: ReadonlyMap<string, number>
  readonly grants: readonly CompiledGrant[]
}

export interface CompiledGrant {
  readonly namespaces: Grant['namespaces']
  /** Indexes of interfaces; undefined: no ceiling. */
  readonly ceiling: ReadonlySet<number> | undefined
  /** Values by index of the resource; a resource that is not there has no ceiling. */
  readonly resources: ReadonlyMap<number, readonly string[]>
  readonly roles: readonly string[]
}

/** The name of the one interface of a policy that declares none. */
const implicitInterface = { name: '*', match: [{}] }

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
    ...resourceProblems(spec),
  ]
  if (problems.length > 0) return { ok: false, problems }

  const declared = spec.interfaces?.length ? spec.interfaces : [implicitInterface]
  const interfaces = new Map(declared.map(({ name }, index) => [name, index]))
  const indexesOf = (names: readonly string[] = []): number[] => names.map((name) => interfaces.get(name)!)
  const roles = new Map((spec.roles ?? []).map((role) => [role.name, indexesOf(role.interfaces)]))
  const resources = new Map((spec.resources ?? []).map(({ name }, index) => [name, index]))
  const { maxBodyBytes, requests, perSeconds, burst } = spec.limits
  return {
    ok: true,
    value: {
      namespace: policy.metadata.namespace,
      name: policy.metadata.name,
      uid: policy.metadata.uid ?? '',
      shards: spec.verification.shards,
      interfaces,
      roles,
      resources,
      grants: spec.grants.map((grant) => {
        const unlimited = !grant.roles?.length && !grant.interfaces?.length
        return {
          namespaces: grant.namespaces,
          ceiling: unlimited
            ? undefined
            : new Set([...(grant.roles ?? []).flatMap((role) => roles.get(role)!), ...indexesOf(grant.interfaces)]),
          resources: new Map((grant.resources ?? []).map(({ name, values }) => [resources.get(name)!, values])),
          roles: unlimited ? [...roles.keys()] : (grant.roles ?? []),
        }
      }),
      document: {
        keyPrefix,
        suspended: spec.suspended,
        mode: spec.mode,
        hosts: spec.hosts ?? [],
        credentials: spec.credentials,
        interfaces: declared,
        resources: (spec.resources ?? []).map(({ name, from, interfaces: names, required }) => ({
          name,
          from,
          interfaces: names ? indexesOf(names) : [...interfaces.values()],
          required,
        })),
        public: spec.public ?? [],
        denied: spec.denied ?? [],
        clientAddress: spec.clientAddress,
        identityHeaders: spec.upstream.identityHeaders,
        forwardCredential: spec.upstream.forwardCredential,
        maxBodyBytes,
        ...(requests !== undefined &&
          perSeconds !== undefined && {
            rateLimit: { requests, perSeconds, ...(burst !== undefined && { burst }) },
          }),
        upstream: { timeoutSeconds: spec.upstream.timeoutSeconds, maxConnections: spec.upstream.maxConnections },
      },
    },
  }
}

function namingProblems(name: string): Problem[] {
  if (policyNamePattern.test(name) && name.length <= policyNameMaxLength) return []
  return [{ path: '.metadata.name', message: `must be a DNS label of at most ${policyNameMaxLength} characters` }]
}

function referenceProblems(spec: AccessPolicySpec): Problem[] {
  const interfaces = new Set(spec.interfaces?.map(({ name }) => name))
  const roles = new Set(spec.roles?.map(({ name }) => name))
  const resources = new Set(spec.resources?.map(({ name }) => name))
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
      ...(grant.resources ?? []).flatMap(({ name }, at) =>
        resources.has(name)
          ? []
          : [{ path: `.spec.grants[${index}].resources[${at}].name`, message: `there is no resource ${name}` }],
      ),
    ]),
    ...(spec.resources ?? []).flatMap((resource, index) =>
      unknown('interface', interfaces, resource.interfaces, `.spec.resources[${index}].interfaces`),
    ),
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

function resourceProblems(spec: AccessPolicySpec): Problem[] {
  return (spec.resources ?? []).flatMap((resource, index) => {
    const message = resourceProblem(spec, resource)
    return message === undefined ? [] : [{ path: `.spec.resources[${index}].from`, message }]
  })
}

/** What would never be found, or is not the client's to say. */
function resourceProblem(spec: AccessPolicySpec, { from, interfaces }: PolicyResource): string | undefined {
  if (from.header !== undefined) {
    const name = from.header.toLowerCase()
    const taken = [
      ...spec.credentials.flatMap((credential) => (credential.type === 'Header' ? [credential.name!] : [])),
      ...spec.upstream.identityHeaders.map((header) => header.name),
    ]
    const isTaken = taken.some((other) => other.toLowerCase() === name) || isWithheld(name)
    return isTaken ? `the header ${from.header} has another meaning here` : undefined
  }
  if (from.query !== undefined) {
    const isCredential = spec.credentials.some(({ type, name }) => type === 'Query' && name === from.query)
    return isCredential ? `the query parameter ${from.query} is a credential` : undefined
  }
  if (from.path === undefined) return undefined
  const declared = spec.interfaces ?? []
  const concerned = declared.filter(({ name }) => interfaces === undefined || interfaces.includes(name))
  const naming = concerned.filter(({ match }) =>
    match.some(({ paths }) => paths?.some((pattern) => pattern.split('/').includes(`{${from.path}}`))),
  )
  const isNamed = interfaces === undefined ? naming.length > 0 : naming.length === concerned.length
  return isNamed ? undefined : `no path pattern of the interfaces has a segment {${from.path}}`
}
