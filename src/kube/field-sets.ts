/** Sets of fields of an object, by path, and the walks over schema and value that make them. */

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

/** A path is its steps with NUL between them: `.name` into a map, `[…]` to an item of a list that merges. */
export type FieldSet = ReadonlySet<string>

export type Json = string | number | boolean | null | JsonList | JsonMap
export type JsonList = readonly Json[]
export interface JsonMap {
  readonly [name: string]: Json
}

export const isMap = (value: Json | undefined): value is JsonMap =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
export const isList = (value: Json | undefined): value is JsonList => Array.isArray(value)

export const fieldSchema = (schema: MergeSchema, name: string): MergeSchema => {
  if (isDeclared(schema, name)) return schema.properties![name]!
  return typeof schema.additionalProperties === 'object' ? schema.additionalProperties : {}
}

/** Whether a field has a place of its own in the schema, rather than being one of any number of map entries. */
export const isDeclared = ({ properties }: MergeSchema, name: string): boolean =>
  properties !== undefined && Object.hasOwn(properties, name)

/** A value within another one, as a step leads to it. */
export interface Child {
  readonly step: string
  readonly value: Json
  readonly schema: MergeSchema
  /** Whether it counts as a field even if it has fields of its own. */
  readonly isMember: boolean
}

/** What a value is made of, or undefined where it is one piece: a scalar, or a list or map that is replaced as a whole. */
export const childrenOf = (value: Json, schema: MergeSchema): readonly Child[] | undefined => {
  if (isMap(value)) {
    if (schema['x-kubernetes-map-type'] === 'atomic') return undefined
    return Object.entries(value).map(([name, child]) => ({
      step: `.${name}`,
      value: child,
      schema: fieldSchema(schema, name),
      isMember: !isDeclared(schema, name) || (isMap(child) && Object.keys(child).length === 0),
    }))
  }
  const stepTo = isList(value) ? itemStep(schema) : undefined
  if (stepTo === undefined) return undefined
  return (value as JsonList).map((item) => ({
    step: stepTo(item),
    value: item,
    schema: schema.items ?? {},
    isMember: true,
  }))
}

/** How the items of a list are told apart; undefined where it is one piece. */
export const itemStep = (schema: MergeSchema): ((item: Json) => string) | undefined => {
  const type = schema['x-kubernetes-list-type']
  if (type === 'set') return (item) => `[${JSON.stringify(item)}]`
  if (type !== 'map') return undefined
  const keys = schema['x-kubernetes-list-map-keys'] ?? []
  return (item) => `[${JSON.stringify(keys.map((key) => (isMap(item) ? (item[key] ?? null) : null)))}]`
}

export const pathTo = (path: string, step: string): string => (path === '' ? step : `${path}\0${step}`)

/** Every field that a value sets. */
export const fieldsOf = (value: Json, schema: MergeSchema): FieldSet => {
  const fields = new Set<string>()
  const collect = (value: Json, schema: MergeSchema, path: string): void => {
    const children = childrenOf(value, schema)
    if (children === undefined && path !== '') fields.add(path)
    for (const child of children ?? []) {
      const at = pathTo(path, child.step)
      collect(child.value, child.schema, at)
      if (child.isMember || child.value === null) fields.add(at)
    }
  }
  collect(value, schema, '')
  return fields
}

/** The set with the declared fields that its members lie in. */
export const withParents = (fields: FieldSet, schema: MergeSchema): FieldSet => {
  const all = new Set(fields)
  for (const field of fields) {
    let path = ''
    let within: MergeSchema = schema
    for (const step of field.split('\0').slice(0, -1)) {
      path = pathTo(path, step)
      const name = step.slice(1)
      if (step.startsWith('.') && isDeclared(within, name)) all.add(path)
      within = step.startsWith('.') ? fieldSchema(within, name) : (within.items ?? {})
    }
  }
  return all
}

/** The value without these fields. A container that loses all that it had is null afterwards. */
export const without = (value: Json, schema: MergeSchema, gone: FieldSet): Json => {
  const touched = new Set<string>()
  for (const field of gone)
    for (let end = field.length; end > 0; end = field.lastIndexOf('\0', end - 1)) touched.add(field.slice(0, end))
  const prune = (value: Json, schema: MergeSchema, path: string): Json => {
    const children = childrenOf(value, schema)
    if (children === undefined) return value
    const rest = children.flatMap((child): [string, Json][] => {
      const at = pathTo(path, child.step)
      if (gone.has(at)) return []
      return [[child.step.slice(1), touched.has(at) ? prune(child.value, child.schema, at) : child.value]]
    })
    if (rest.length === 0) return null
    return isList(value) ? rest.map(([, item]) => item) : Object.fromEntries(rest)
  }
  return gone.size === 0 ? value : prune(value, schema, '')
}

/** Fields that are in both values and differ, or in the second alone; and fields that are in the first alone. */
export const compare = (before: Json, after: Json, schema: MergeSchema): { changed: FieldSet; removed: FieldSet } => {
  const changed = new Set<string>()
  const removed = new Set<string>()
  const walk = (before: Json | undefined, after: Json | undefined, schema: MergeSchema, path: string): void => {
    const was = before === undefined ? [] : childrenOf(before, schema)
    const is = after === undefined ? [] : childrenOf(after, schema)
    const steps = new Map<string, { before?: Child; after?: Child }>()
    for (const child of was ?? []) steps.set(child.step, { before: child })
    for (const child of is ?? []) steps.set(child.step, { ...steps.get(child.step), after: child })
    const isPiece = was === undefined || is === undefined || steps.size === 0
    const isSame = before !== undefined && after !== undefined && (!isPiece || isDeepStrictEqual(before, after))
    if (!isSame && path !== '') (after === undefined ? removed : changed).add(path)
    if (isPiece) return
    for (const [step, { before, after }] of steps) {
      walk(before?.value, after?.value, (before ?? after)!.schema, pathTo(path, step))
    }
  }
  walk(before, after, schema, '')
  return { changed, removed }
}
