/**
 * Server-side apply as the API server does it: who owns which field, and what becomes of an object when a manager
 * applies. A path is text, such as `.status.conditions[{"type":"Ready"}].reason`; an item of a list that merges has a
 * path of its own besides those of its fields.
 */

import { isDeepStrictEqual } from 'node:util'

/** The part of a structural schema that says how lists and maps merge. */
export interface MergeSchema {
  readonly type?: string
  readonly properties?: Readonly<Record<string, MergeSchema>>
  readonly additionalProperties?: MergeSchema | boolean
  readonly items?: MergeSchema
  readonly 'x-kubernetes-list-type'?: string
  readonly 'x-kubernetes-list-map-keys'?: readonly string[]
  readonly 'x-kubernetes-map-type'?: string
  readonly 'x-kubernetes-preserve-unknown-fields'?: boolean
}

/** The first field that a schema does not know: nobody may apply it. A schema without properties knows every field. */
export const undeclared = (value: unknown, schema: MergeSchema, path = ''): string | undefined => {
  const children = isList(value as Json)
    ? (value as readonly Json[]).map((item) => [path, item, schema.items ?? {}] as const)
    : isMap(value as Json)
      ? Object.entries(value as JsonMap).map(([name, child]) => {
          return [`${path}.${name}`, child, isDeclared(schema, name) ? childSchema(schema, name) : undefined] as const
        })
      : []
  for (const [at, child, childSchema] of children) {
    const found = childSchema === undefined ? at : undeclared(child, childSchema, at)
    if (found !== undefined) return found
  }
  return undefined
}

const isDeclared = (schema: MergeSchema, name: string): boolean =>
  schema.properties === undefined ||
  Object.hasOwn(schema.properties, name) ||
  Boolean(schema.additionalProperties ?? schema['x-kubernetes-preserve-unknown-fields'])

/** Paths that one manager owns. */
export type FieldSet = ReadonlySet<string>

type Json = string | number | boolean | null | readonly Json[] | JsonMap
type JsonMap = { readonly [name: string]: Json }

/** Every leaf of a value by its path. */
export const leavesOf = (value: unknown, schema: MergeSchema): Map<string, unknown> => {
  const leaves = new Map<string, unknown>()
  collect(value as Json, schema, '', leaves)
  return leaves
}

/** What `live` becomes when `applied` is laid over it: named fields and keyed items merge, everything else is replaced. */
const merge = (live: unknown, applied: unknown, schema: MergeSchema): unknown =>
  mergeJson(live as Json | undefined, applied as Json, schema)

/**
 * The value without the paths in `gone`, and without containers that this empties. An item of a list stays, with its
 * keys, as long as a path in `kept` lies within it.
 */
const prune = (value: unknown, schema: MergeSchema, gone: FieldSet, kept: FieldSet): unknown =>
  gone.size === 0 ? value : pruneJson(value as Json, schema, '', { gone, kept: [...kept] })

/** What an apply makes of a value, and of the fields that each manager owns. */
export interface Applied {
  readonly value: object
  readonly owners: Owners
}

/** Fields by manager; a manager without any is absent. */
export type Owners = ReadonlyMap<string, FieldSet>

/**
 * Forced server-side apply: what `owner` says wins, what it said before and says no more goes unless another manager
 * owns it too, and what it takes over is lost to the others.
 */
export const applyFields = (
  owner: string,
  live: object,
  applied: object,
  schema: MergeSchema,
  owners: Owners,
): Applied => {
  const leaves = leavesOf(applied, schema)
  const own: FieldSet = new Set(leaves.keys())
  const taken = differing(leavesOf(live, schema), leaves).intersection(own)
  const others = lose(new Map([...owners].filter(([manager]) => manager !== owner)), taken)
  const kept = [...others.values()].reduce((all, fields) => all.union(fields), own)
  const gone = (owners.get(owner) ?? new Set<string>()).difference(kept)
  const value = prune(merge(live, applied, schema), schema, gone, kept) ?? {}
  return { value: value as object, owners: own.size === 0 ? others : new Map([...others, [owner, own]]) }
}

/** Replacement of the whole value by `owner`: it then owns what it changed, and nobody owns what went. */
export const replaceFields = (
  owner: string,
  live: object,
  wanted: object,
  schema: MergeSchema,
  owners: Owners,
): Applied => {
  const leaves = leavesOf(wanted, schema)
  const changed = differing(leavesOf(live, schema), leaves)
  const rest = lose(owners, changed)
  const own = (rest.get(owner) ?? new Set<string>()).union(changed.intersection(new Set(leaves.keys())))
  return { value: wanted, owners: own.size === 0 ? rest : new Map([...rest, [owner, own]]) }
}

const lose = (owners: Owners, lost: FieldSet): Owners =>
  new Map(
    [...owners].map(([owner, fields]) => [owner, fields.difference(lost)] as const).filter(([, { size }]) => size > 0),
  )

/** Paths whose values differ in two sets of leaves, or that only one of them has. */
const differing = (before: ReadonlyMap<string, unknown>, after: ReadonlyMap<string, unknown>): FieldSet => {
  const paths = new Set([...before.keys(), ...after.keys()])
  return new Set([...paths].filter((path) => !isDeepStrictEqual(before.get(path), after.get(path))))
}

const isMap = (value: Json | undefined): value is JsonMap =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const isList = (value: Json | undefined): value is readonly Json[] => Array.isArray(value)

const childSchema = (schema: MergeSchema, name: string): MergeSchema => {
  const { properties, additionalProperties } = schema
  if (properties !== undefined && Object.hasOwn(properties, name)) return properties[name]!
  return typeof additionalProperties === 'object' ? additionalProperties : {}
}

const merges = (value: Json | undefined, schema: MergeSchema): value is JsonMap =>
  isMap(value) && schema['x-kubernetes-map-type'] !== 'atomic'

/** Names an item within its list, or is undefined where the list is replaced as a whole. */
const itemPath = (schema: MergeSchema): ((item: Json) => string) | undefined => {
  const type = schema['x-kubernetes-list-type']
  if (type === 'set') return (item) => `[${JSON.stringify(item)}]`
  if (type !== 'map') return undefined
  const keys = schema['x-kubernetes-list-map-keys'] ?? []
  return (item) => {
    const named = isMap(item) ? keys.map((key) => [key, item[key] ?? null]) : []
    return `[${JSON.stringify(Object.fromEntries(named))}]`
  }
}

const collect = (value: Json, schema: MergeSchema, path: string, leaves: Map<string, unknown>): void => {
  if (merges(value, schema) && Object.keys(value).length > 0) {
    for (const [name, child] of Object.entries(value)) {
      collect(child, childSchema(schema, name), `${path}.${name}`, leaves)
    }
    return
  }
  const nameItem = isList(value) ? itemPath(schema) : undefined
  if (nameItem === undefined) {
    leaves.set(path, value)
    return
  }
  for (const item of value as readonly Json[]) {
    const at = path + nameItem(item)
    if (isMap(item)) collect(item, schema.items ?? {}, at, leaves)
    leaves.set(at, true)
  }
}

const mergeJson = (live: Json | undefined, applied: Json, schema: MergeSchema): Json => {
  if (merges(live, schema) && isMap(applied)) {
    const merged: Record<string, Json> = { ...live }
    for (const [name, value] of Object.entries(applied)) {
      merged[name] = mergeJson(live[name], value, childSchema(schema, name))
    }
    return merged
  }
  const nameItem = itemPath(schema)
  if (nameItem === undefined || !isList(live) || !isList(applied)) return applied
  const items = new Map(live.map((item) => [nameItem(item), item]))
  for (const item of applied) items.set(nameItem(item), mergeJson(items.get(nameItem(item)), item, schema.items ?? {}))
  return [...items.values()]
}

interface Pruning {
  readonly gone: FieldSet
  readonly kept: readonly string[]
}

/** A container that goes stays for the sake of what others own within. */
const goes = (path: string, { gone, kept }: Pruning): boolean =>
  gone.has(path) && !kept.some((other) => other.startsWith(path) && /^[.[]/.test(other.slice(path.length)))

const pruneJson = (value: Json, schema: MergeSchema, path: string, pruning: Pruning): Json | undefined => {
  if (merges(value, schema) && Object.keys(value).length > 0) {
    const fields = Object.entries(value).flatMap(([name, child]): [string, Json][] => {
      const at = `${path}.${name}`
      const rest = goes(at, pruning) ? undefined : pruneJson(child, childSchema(schema, name), at, pruning)
      return rest === undefined ? [] : [[name, rest]]
    })
    return fields.length === 0 ? undefined : Object.fromEntries(fields)
  }
  const nameItem = isList(value) ? itemPath(schema) : undefined
  if (nameItem === undefined) return value
  const list = value as readonly Json[]
  const items = list.flatMap((item): Json[] => {
    const at = path + nameItem(item)
    if (goes(at, pruning)) return []
    if (!isMap(item)) return [item]
    const rest = pruneJson(item, schema.items ?? {}, at, pruning)
    return [{ ...keysOf(item, schema), ...(isMap(rest) ? rest : {}) }]
  })
  return items.length === 0 && list.length > 0 ? undefined : items
}

const keysOf = (item: JsonMap, schema: MergeSchema): JsonMap =>
  Object.fromEntries((schema['x-kubernetes-list-map-keys'] ?? []).map((key) => [key, item[key] ?? null]))
