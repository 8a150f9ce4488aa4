/** Who owns which field, and what becomes of an object when somebody applies or replaces it: as the API server does it. */

import {
  compare,
  type FieldSet,
  fieldSchema,
  fieldsOf,
  isDeclared,
  isList,
  isMap,
  itemStep,
  type Json,
  type MergeSchema,
  without,
  withParents,
} from './field-sets.ts'

/** Fields by manager; a manager without any is absent. */
export type Owners = ReadonlyMap<string, FieldSet>

export interface Written {
  /** May hold null where something has become empty that is still owned. */
  readonly value: object
  readonly owners: Owners
}

interface Write {
  readonly owner: string
  readonly live: object
  /** What the owner says now. */
  readonly said: object
  readonly schema: MergeSchema
  readonly owners: Owners
}

/**
 * Forced server-side apply: what the owner says wins and is taken from others; what it said before and says no more
 * goes, unless somebody else owns it too.
 */
export const applyFields = ({ owner, live, said, schema, owners }: Write): Written => {
  const last = owners.get(owner)
  const next = new Map(owners).set(owner, fieldsOf(said as Json, schema))
  const merged = merge(live as Json, said as Json, schema)
  const value = last === undefined ? merged : prune(merged, schema, last, next)
  const { changed, removed } = compare(live as Json, value, schema)
  const others = lose(next, changed.union(removed), owner)
  return { value: (value ?? {}) as object, owners: others }
}

/** Replacement of everything by the owner, who then owns what that changed. */
export const replaceFields = ({ owner, live, said, schema, owners }: Write): Written => {
  const { changed, removed } = compare(live as Json, said as Json, schema)
  const rest = lose(owners, changed.union(removed))
  const own = (rest.get(owner) ?? new Set<string>()).union(changed)
  return { value: said, owners: own.size === 0 ? rest : new Map(rest).set(owner, own) }
}

/** The first field that a schema does not know: nobody may apply it. A schema without properties knows every field. */
export const undeclared = (value: unknown, schema: MergeSchema, path = ''): string | undefined => {
  const children: [string, unknown, MergeSchema | undefined][] = isList(value as Json)
    ? (value as unknown[]).map((item, i) => [`${path}[${i}]`, item, schema.items ?? {}])
    : isMap(value as Json)
      ? Object.entries(value as object).map(([name, child]) => {
          const isKnown = isDeclared(schema, name) || takesAnything(schema)
          return [`${path}.${name}`, child, isKnown ? fieldSchema(schema, name) : undefined]
        })
      : []
  for (const [at, child, childSchema] of children) {
    const found = childSchema === undefined ? at : undeclared(child, childSchema, at)
    if (found !== undefined) return found
  }
  return undefined
}

const takesAnything = (schema: MergeSchema): boolean =>
  schema.properties === undefined ||
  Boolean(schema.additionalProperties ?? schema['x-kubernetes-preserve-unknown-fields'])

const lose = (owners: Owners, lost: FieldSet, except?: string): Owners =>
  new Map(
    [...owners]
      .map(([owner, fields]) => [owner, owner === except ? fields : fields.difference(lost)] as const)
      .filter(([, { size }]) => size > 0),
  )

/** What `live` becomes when `said` is laid over it. */
const merge = (live: Json | undefined, said: Json, schema: MergeSchema): Json => {
  if (isMap(live) && isMap(said) && schema['x-kubernetes-map-type'] !== 'atomic') {
    const merged: Record<string, Json> = { ...live }
    for (const [name, value] of Object.entries(said)) merged[name] = merge(live[name], value, fieldSchema(schema, name))
    return merged
  }
  const stepTo = itemStep(schema)
  if (stepTo === undefined || !isList(live) || !isList(said)) return said
  const items = new Map(live.map((item) => [stepTo(item), item]))
  for (const item of said) items.set(stepTo(item), merge(items.get(stepTo(item)), item, schema.items ?? {}))
  return [...items.values()]
}

/** Takes away what was said last, but for what anybody owns now and for what nobody ever said. */
const prune = (merged: Json, schema: MergeSchema, last: FieldSet, owners: Owners): Json => {
  const all = (value: Json) => withParents(fieldsOf(value, schema), schema)
  const lastAll = withParents(last, schema)
  const owned = withParents(
    [...owners.values()].reduce((sum, fields) => sum.union(fields)),
    schema,
  )
  const bare = without(merged, schema, lastAll)
  const withOwned = without(merged, schema, all(merged).difference(all(bare).union(owned)))
  return without(merged, schema, all(merged).difference(all(withOwned)).intersection(lastAll))
}
