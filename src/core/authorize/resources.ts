import type { ResourceDocument } from '../../api/verification.ts'
import { bodyLengthOf, isPlainJson } from './content.ts'
import type { Refused } from './decision.ts'
import type { Inquiry } from './inquiry.ts'
import { queryValues } from './query.ts'
import type { CompiledAccess } from './set.ts'
import { textOf, type ValueMatcher, valueMatches } from './values.ts'

export interface CompiledResource extends ResourceDocument {
  readonly index: number
}

/**
 * The interface by which the request passes: the first that one entry of the key's access grants together with every
 * resource that applies to it. Where none does, the first of those that are granted tells why.
 */
export function findInterface(inquiry: Inquiry): number | Refused {
  const { route, guard } = inquiry
  const { grant } = inquiry.key!
  let refused: Refused | undefined
  for (const index of route.interfaces) {
    if (!grant.interfaces.has(index)) continue
    const judged = judge(inquiry, index, guard.resourcesOf[index]!)
    if (judged === undefined) return index
    // A body that must be read, or is too long for that, comes before any other interface.
    if (judged.body || judged.status === 413) return judged
    refused ??= judged
  }
  return refused!
}

function judge(inquiry: Inquiry, index: number, resources: readonly CompiledResource[]): Refused | undefined {
  let entries: readonly CompiledAccess[] = inquiry.key!.grant.access.filter(({ interfaces }) => interfaces.has(index))
  const pointed: CompiledResource[] = []
  for (const resource of resources) {
    if (resource.from.bodyPointer !== undefined) {
      pointed.push(resource)
      continue
    }
    const values = valuesOf(inquiry, index, resource)
    if (values?.length === 0) {
      if (resource.required) return refuse(inquiry, 'ResourceMissing')
      continue
    }
    entries = values === undefined ? [] : allowing(entries, resource, values)
    if (entries.length === 0) return refuse(inquiry, 'ResourceNotAllowed')
  }
  const relevant = pointed.filter(
    (resource) => resource.required || entries.some((entry) => entry.values.has(resource.index)),
  )
  return relevant.length === 0 ? undefined : judgeBody(inquiry, entries, relevant)
}

/** The values in the head of the request; undefined where they can be read in two ways. */
function valuesOf(
  { facts, target, route }: Inquiry,
  index: number,
  { from, index: resource }: CompiledResource,
): readonly string[] | undefined {
  if (from.header !== undefined) return headerValues(facts.fields, from.header.toLowerCase())
  if (from.query !== undefined) return target.query === '' ? [] : queryValues(target.query, from.query)
  const value = route.segments?.get(index)?.[resource]
  return value === undefined ? [] : value === null ? undefined : [value]
}

/** A comma joins what were several fields. */
function headerValues(fields: readonly string[], wanted: string): readonly string[] | undefined {
  let value: string | undefined
  for (let index = 0; index < fields.length; index += 2) {
    if (fields[index]!.toLowerCase() !== wanted) continue
    if (value !== undefined) return undefined
    value = textOf(fields[index + 1]!)
    if (value === undefined || value.includes(',')) return undefined
  }
  return value === undefined || value === '' ? [] : [value]
}

function judgeBody(
  inquiry: Inquiry,
  entries: readonly CompiledAccess[],
  resources: readonly CompiledResource[],
): Refused | undefined {
  const { facts, guard, body } = inquiry
  const { maxBodyBytes } = guard.document
  const length = bodyLengthOf(facts)
  if (length === 0) return resources.some(({ required }) => required) ? refuse(inquiry, 'ResourceMissing') : undefined
  if (body === 'TooLarge' || (length !== undefined && length > maxBodyBytes)) return uninspectable(inquiry, 413)
  if (!isPlainJson(facts)) return uninspectable(inquiry, 415)
  if (body === 'Unreadable' || body === 'Unavailable') return uninspectable(inquiry, 403)

  let left = entries
  let isKnown = true
  for (const resource of resources) {
    const pointer = resource.from.bodyPointer!
    const value = body?.get(pointer)
    if (body === undefined || (value === undefined && !body.has(pointer))) {
      isKnown = false
    } else if (value === undefined) {
      if (resource.required) return refuse(inquiry, 'ResourceMissing')
    } else {
      left = value === null ? [] : allowing(left, resource, [value])
      if (left.length === 0) return refuse(inquiry, 'ResourceNotAllowed')
    }
  }
  if (isKnown) return undefined
  const pointers = resources.map(({ from }) => from.bodyPointer!)
  return { ...uninspectable(inquiry, 403), body: { pointers, maxBytes: maxBodyBytes } }
}

const allowing = (
  entries: readonly CompiledAccess[],
  { index }: CompiledResource,
  values: readonly string[],
): readonly CompiledAccess[] =>
  entries.filter((entry) => {
    const matcher: ValueMatcher | undefined = entry.values.get(index)
    return matcher === undefined || values.every((value) => valueMatches(matcher, value))
  })

const refuse = ({ key }: Inquiry, reason: Refused['reason']): Refused => ({
  allow: false,
  reason,
  key: key!,
  credentialPresented: true,
})

const uninspectable = (inquiry: Inquiry, status: 403 | 413 | 415): Refused => ({
  ...refuse(inquiry, 'BodyNotInspectable'),
  status,
})
