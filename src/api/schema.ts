import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv'

/** A node of an OpenAPI v3 structural schema, with the two keywords of ours that a CRD expresses in CEL. */
export interface Schema {
  readonly type: 'object' | 'array' | 'string' | 'integer' | 'boolean'
  /** What the field means; `kubectl explain` shows it. */
  readonly description?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly additionalProperties?: Schema
  readonly required?: readonly string[]
  readonly items?: Schema
  readonly enum?: readonly (string | number)[]
  readonly default?: unknown
  readonly format?: 'date-time' | 'int32' | 'int64'
  readonly pattern?: string
  readonly minLength?: number
  readonly maxLength?: number
  readonly minimum?: number
  readonly maximum?: number
  readonly minItems?: number
  readonly maxItems?: number
  readonly minProperties?: number
  readonly maxProperties?: number
  readonly 'x-kubernetes-list-type'?: 'atomic' | 'set' | 'map'
  readonly 'x-kubernetes-list-map-keys'?: readonly string[]
  readonly 'x-kubernetes-map-type'?: 'atomic' | 'granular'
  /** Set once, at creation: neither changed nor added nor taken away later. */
  readonly immutable?: true
  readonly rules?: readonly Rule[]
}

/** A rule over one node, said twice: for the API server and for our own validation. A test holds the two to each other. */
export interface Rule {
  readonly cel: string
  /** Absent where `core/` checks the same while compiling, and says more. The value has passed the rest of its schema. */
  // biome-ignore lint/suspicious/noExplicitAny: each rule knows the shape of its own node
  readonly holds?: (value: any) => boolean
  readonly message: string
  /** Of those that the API server knows, FieldValueDuplicate is left out: with it, the message is not shown. */
  readonly reason: 'FieldValueInvalid' | 'FieldValueForbidden' | 'FieldValueRequired'
  /** The offending field below the node, such as `.expiresTime`. */
  readonly fieldPath?: string
}

/** The TypeScript type of the values that a schema (`as const`) admits, defaults filled in. */
export type FromSchema<S> = S extends { enum: readonly (infer E)[] }
  ? E
  : S extends { type: 'string' }
    ? string
    : S extends { type: 'integer' }
      ? number
      : S extends { type: 'boolean' }
        ? boolean
        : S extends { type: 'array'; items: infer I }
          ? readonly FromSchema<I>[]
          : S extends { properties: infer P }
            ? Fields<P, S extends { required: readonly (infer R)[] } ? R : never>
            : S extends { additionalProperties: infer V }
              ? Readonly<Record<string, FromSchema<V>>>
              : unknown
type Fields<P, R> = Readonly<
  { [K in keyof P as IsPresent<K, P[K], R> extends true ? K : never]: FromSchema<P[K]> } & {
    [K in keyof P as IsPresent<K, P[K], R> extends true ? never : K]?: FromSchema<P[K]>
  }
>
type IsPresent<K, S, R> = K extends R ? true : S extends { default: unknown } ? true : false

export interface Problem {
  /** JSON path with a leading dot, such as `.spec.ports[0].port`; empty for the whole object. */
  readonly path: string
  readonly message: string
}

export type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problems: readonly Problem[] }

/** Turns unknown input into a value with defaults filled in, or into every problem that it has. */
export type Parse<T> = (input: unknown) => Parsed<T>

/**
 * Compiles a schema. The input is not changed. A field that the schema does not know is a problem: the API server
 * drops it in silence, which helps nobody who misspelt a name.
 */
export function parser<const S extends Schema>(schema: S): Parse<FromSchema<S>> {
  let validate: ValidateFunction | undefined
  return (input) => {
    validate ??= compile(schema)
    const value = withoutNulls(input)
    const problems = validate(value) ? ruleProblems(schema, value, '') : (validate.errors ?? []).map(problemOf)
    return problems.length === 0
      ? { ok: true, value: value as FromSchema<S> }
      : { ok: false, problems: unique(problems) }
  }
}

/** The paths of immutable fields that differ between two values which both passed the schema. */
export function changedImmutables(schema: Schema, before: unknown, after: unknown, path = ''): Problem[] {
  if (schema.immutable && ordered(before) !== ordered(after)) return [{ path, message: immutableMessage }]
  if (!schema.properties || !isRecord(before) || !isRecord(after)) return []
  return Object.entries(schema.properties).flatMap(([name, child]) => {
    const absent = child.properties ? {} : undefined
    return changedImmutables(child, before[name] ?? absent, after[name] ?? absent, `${path}.${name}`)
  })
}

export const immutableMessage = 'is immutable'

/** The same text for the same value, in whatever order its fields were written. */
const ordered = (value: unknown): string =>
  JSON.stringify(value, (_, part: unknown) =>
    isRecord(part) ? Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)) : part,
  ) ?? ''

function compile(schema: Schema): ValidateFunction {
  const formats = { int32: true, int64: true, 'date-time': isDateTime } as const
  const ajv = new Ajv({ allErrors: true, useDefaults: true, strictTypes: false, formats })
  ajv.addVocabulary([
    'immutable',
    'rules',
    'x-kubernetes-list-type',
    'x-kubernetes-list-map-keys',
    'x-kubernetes-map-type',
  ])
  return ajv.compile(closed(schema))
}

/** A copy without the fields that are null, which stand for absent ones at the API server too. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls)
  if (!isRecord(value)) return value
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, field]) => (field === null ? [] : [[name, withoutNulls(field)]])),
  )
}

/** The schema with unknown fields and repeated members of sets refused, neither of which a CRD can say in these words. */
function closed(schema: Schema): object {
  return {
    ...schema,
    ...(schema.properties && { additionalProperties: false, properties: mapValues(schema.properties, closed) }),
    ...(schema.additionalProperties && { additionalProperties: closed(schema.additionalProperties) }),
    ...(schema.items && { items: closed(schema.items) }),
    ...(schema['x-kubernetes-list-type'] === 'set' && { uniqueItems: true }),
  }
}

/** What the rules say of a value that has the right shape, defaults filled in. */
function ruleProblems(schema: Schema, value: unknown, path: string): Problem[] {
  const own = (schema.rules ?? [])
    .filter(({ holds }) => holds && !holds(value))
    .map(({ message, fieldPath = '' }) => ({ path: path + fieldPath, message }))
  if (Array.isArray(value)) {
    const members = schema.items
      ? value.flatMap((item, index) => ruleProblems(schema.items!, item, `${path}[${index}]`))
      : []
    return [...own, ...repetitions(schema['x-kubernetes-list-map-keys'] ?? [], value, path), ...members]
  }
  if (!isRecord(value)) return own
  const fields = Object.entries(value).flatMap(([name, field]) => {
    const child = schema.properties?.[name] ?? schema.additionalProperties
    return child ? ruleProblems(child, field, `${path}.${name}`) : []
  })
  return [...own, ...fields]
}

function repetitions(
  keys: readonly string[],
  list: readonly Readonly<Record<string, unknown>>[],
  path: string,
): Problem[] {
  if (keys.length === 0) return []
  const seen = new Set<string>()
  return list.flatMap((item, index) => {
    const repeated = seen.size === seen.add(JSON.stringify(keys.map((key) => item[key]))).size
    return repeated
      ? [{ path: `${path}[${index}]`, message: `has the same ${keys.join(' and ')} as an entry before it` }]
      : []
  })
}

function problemOf(error: ErrorObject): Problem {
  const path = error.instancePath
    .replace(/\/(\d+)(?=\/|$)/g, '[$1]')
    .replace(/\/([^/]+)/g, (_, name: string) => `.${unescapePointer(name)}`)
  const params = error.params as Readonly<Record<string, string>>
  switch (error.keyword) {
    case 'additionalProperties':
      return { path: `${path}.${params.additionalProperty}`, message: 'is not a known field' }
    case 'required':
      return { path: `${path}.${params.missingProperty}`, message: 'is required' }
    case 'enum':
      return {
        path,
        message: `must be one of ${(error.params as { allowedValues: readonly unknown[] }).allowedValues.join(', ')}`,
      }
    default:
      return { path, message: error.message ?? 'is invalid' }
  }
}

const unescapePointer = (name: string): string => name.replaceAll('~1', '/').replaceAll('~0', '~')

/** RFC 3339 with a day that exists. */
function isDateTime(text: string): boolean {
  const match =
    /^(\d{4})-(\d\d)-(\d\d)T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$/.exec(text)
  if (!match) return false
  const [year, month, day] = [Number(match[1]), Number(match[2]), Number(match[3])]
  return month >= 1 && month <= 12 && day >= 1 && day <= new Date(Date.UTC(year, month, 0)).getUTCDate()
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const mapValues = <T, U>(record: Readonly<Record<string, T>>, change: (value: T) => U): Record<string, U> =>
  Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]))

const unique = (problems: readonly Problem[]): Problem[] => [
  ...new Map(problems.map((problem) => [problem.path + problem.message, problem])).values(),
]
