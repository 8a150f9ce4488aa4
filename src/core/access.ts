import type { AccessEntry } from '../api/api-key.ts'
import type { AccessDocument } from '../api/verification.ts'
import type { CompiledGrant, Policy } from './policy.ts'

export type AccessAnswer =
  | { readonly accepted: true; readonly access: readonly AccessDocument[]; readonly roles: readonly string[] }
  | { readonly accepted: false; readonly reason: AccessRefusal; readonly message: string }

export type AccessRefusal =
  | 'NamespaceNotGranted'
  | 'RoleUnknown'
  | 'InterfaceUnknown'
  | 'ResourceUnknown'
  | 'RoleNotGranted'
  | 'InterfaceNotGranted'
  | 'ResourceNotGranted'

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
  const allows = (index: number): boolean => grants.some((grant) => grantsInterface(grant, index))
  const { roles = [], interfaces = [], resources = [] } = entry
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
  for (const { name } of resources)
    if (!policy.resources.has(name)) return refuse('ResourceUnknown', `${title} has no resource ${name}.`)

  const asksForAll = roles.length === 0 && interfaces.length === 0
  const asked = asksForAll
    ? [...policy.interfaces.values()].filter(allows)
    : [...roles.flatMap((role) => policy.roles.get(role)!), ...interfaces.map((name) => policy.interfaces.get(name)!)]
  const values = new Map(resources.map(({ name, values: wanted }) => [policy.resources.get(name)!, wanted]))
  const access: AccessDocument[] = []
  for (const index of new Set(asked)) {
    const applying = policy.document.resources.flatMap(({ interfaces: of }, resource) =>
      of.includes(index) ? [resource] : [],
    )
    // Each grant answers for itself: what two of them allow must not be mixed into what neither does.
    const answers = grants
      .filter((grant) => grantsInterface(grant, index))
      .flatMap((grant) => limitsOf(grant, applying, values) ?? [])
    if (answers.length === 0) {
      const name = [...policy.interfaces].find(([, at]) => at === index)![0]
      return refuse(
        'ResourceNotGranted',
        `${title} has no single grant to namespace ${namespace} of all resources that are asked for on the interface ${name}.`,
      )
    }
    for (const { limits } of answers)
      access.push({ interfaces: [index], ...(limits.length > 0 && { resources: limits }) })
  }
  return {
    accepted: true,
    access: mergeAccess(access),
    roles: asksForAll ? [...new Set(grants.flatMap((grant) => grant.roles))] : roles,
  }
}

/**
 * Entries with the same limits as one, in an order that does not hang on theirs. An entry whose limits leave more open on
 * the same interface is not looked for: it costs a little space, and no decision differs.
 */
export function mergeAccess(entries: readonly AccessDocument[]): AccessDocument[] {
  const byLimits = new Map<string, Set<number>>()
  for (const { interfaces, resources } of entries) {
    const text = resources ? JSON.stringify(resources) : ''
    const merged = byLimits.get(text) ?? new Set()
    byLimits.set(text, merged)
    for (const index of interfaces) merged.add(index)
  }
  return [...byLimits]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([text, interfaces]) => ({
      interfaces: [...interfaces].sort((a, b) => a - b),
      ...(text !== '' && { resources: JSON.parse(text) as NonNullable<AccessDocument['resources']> }),
    }))
}

const grantsInterface = ({ ceiling }: CompiledGrant, index: number): boolean =>
  ceiling === undefined || ceiling.has(index)

interface Limits {
  readonly limits: NonNullable<AccessDocument['resources']>
}

/** The values that a grant and a key together leave of each resource; undefined where the key asks for more. */
function limitsOf(
  { resources }: CompiledGrant,
  applying: readonly number[],
  asked: ReadonlyMap<number, readonly string[]>,
): Limits | undefined {
  const limits: [number, readonly string[]][] = []
  for (const resource of applying) {
    const ceiling = resources.get(resource)
    const wanted = asked.get(resource)
    if (ceiling && wanted && !wanted.every((value) => ceiling.some((limit) => covers(limit, value)))) return undefined
    const left = wanted ?? ceiling
    if (left) limits.push([resource, [...left].sort()])
  }
  return { limits }
}

/** Whether all that one value stands for is within another. */
const covers = (limit: string, value: string): boolean =>
  limit.endsWith('*') ? value.startsWith(limit.slice(0, -1)) : limit === value

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
