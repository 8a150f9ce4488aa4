import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseAllDocuments,
  stringify,
  visit,
  type YAMLParseError,
} from 'yaml'
import type { Problem } from '../api/schema.ts'

/** A place in a text; both count from 1. */
export interface Position {
  readonly file: string
  readonly line: number
  readonly column: number
}

/** An object as somebody wrote it: nothing but `apiVersion` and `kind` is known to have the right shape. */
export interface Manifest {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata?: unknown
  readonly [field: string]: unknown
}

export interface ManifestObject {
  readonly value: Manifest
  /** `Kind namespace/name`. */
  readonly title: string
  /**
   * Where a field stands, given its path such as `.spec.ports[0].port`: at its name, or at the item of a list. A field
   * that is not there stands where the nearest one around it does.
   */
  readonly at: (path: string) => Position
}

export interface ManifestProblem extends Position {
  /** `Kind namespace/name`, or `document N` where that much cannot be read. */
  readonly object: string
  /** Such as `.spec.ports[0].port`; empty for the whole object. */
  readonly field: string
  readonly message: string
}

export interface ManifestContent {
  readonly objects: readonly ManifestObject[]
  /** What could not be read, so that the text may hold more objects than those above. */
  readonly problems: readonly ManifestProblem[]
}

/** Namespace of an object that names none. */
export const defaultNamespace = 'default'

/** Aliases may name a value again, not multiply it. */
const aliasLimit = 100

/**
 * Reads YAML or JSON: documents, and the items of `List` objects. Strict: a key that stands twice is a problem. Messages
 * never quote the text, for it may hold a Secret.
 */
export function readManifest(file: string, text: string): ManifestContent {
  const lines = new LineCounter()
  const positionOf = (offset: number): Position => {
    const { line, col } = lines.linePos(offset)
    return { file, line: Math.max(line, 1), column: Math.max(col, 1) }
  }
  const objects: ManifestObject[] = []
  const problems: ManifestProblem[] = []
  const documents = parse(text, lines)
  if (documents === undefined) {
    return {
      objects,
      problems: [{ ...positionOf(0), object: 'document 1', field: '', message: 'is nested too deeply' }],
    }
  }
  for (const [index, document] of documents.entries()) {
    const name = `document ${index + 1}`
    const faults = [...document.errors, ...document.warnings]
    if (faults.length > 0) {
      const object = titleOfBroken(document) ?? name
      problems.push(
        ...faults.map((fault) => ({ ...positionOf(fault.pos[0]), object, field: '', message: sayFault(fault) })),
      )
      continue
    }
    if (document.contents === null || (isScalar(document.contents) && document.contents.value === null)) continue
    const root: Place = { document, node: document.contents, positionOf }
    const { value, problem } = toValue(document)
    if (problem !== undefined) {
      problems.push({ ...positionOf(problem.offset), object: name, field: '', message: problem.message })
      continue
    }
    collect({ value, path: '', root, name, inherited: {} }, objects, problems)
  }
  return { objects, problems }
}

/** The object as YAML, for people to read and for `readManifest`. */
export const writeManifest = (object: object): string =>
  stringify(object, { lineWidth: 0, aliasDuplicateObjects: false })

/** Puts problems of an object's fields where these fields stand. */
export const locate = ({ title, at }: ManifestObject, problems: readonly Problem[]): ManifestProblem[] =>
  problems.map(({ path, message }) => ({ ...at(path), object: title, field: path, message }))

/** `file:line:column: object: field: message`; the field of a whole object is a dot. */
export const problemLine = ({ file, line, column, object, field, message }: ManifestProblem): string =>
  `${file}:${line}:${column}: ${object}: ${field || '.'}: ${message}`

interface Place {
  readonly document: Document
  readonly node: unknown
  readonly positionOf: (offset: number) => Position
}

interface Found {
  readonly value: unknown
  /** Below the document. */
  readonly path: string
  readonly root: Place
  /** What it is called as long as it has no name of its own. */
  readonly name: string
  /** What the items of a typed list need not say themselves. */
  readonly inherited: { readonly apiVersion?: string; readonly kind?: string }
}

function collect(found: Found, objects: ManifestObject[], problems: ManifestProblem[]): void {
  const { path: base, root, name, inherited } = found
  const at = (path: string): Position => locatePath(root, base + path)
  const refuse = (field: string, message: string): void => {
    problems.push({ ...at(field), object: name, field, message })
  }
  if (!isRecord(found.value)) {
    refuse('', 'must be an object with apiVersion, kind and metadata')
    return
  }
  const value: Readonly<Record<string, unknown>> = { ...inherited, ...found.value }
  const { apiVersion, kind } = value
  if (typeof apiVersion !== 'string' || apiVersion === '') {
    refuse('.apiVersion', sayText(apiVersion))
    return
  }
  if (typeof kind !== 'string' || kind === '') {
    refuse('.kind', sayText(kind))
    return
  }
  if (kind.endsWith('List') && Array.isArray(value.items)) {
    const items = kind === 'List' ? {} : { apiVersion, kind: kind.slice(0, -'List'.length) }
    for (const [index, item] of value.items.entries()) {
      const path = `${base}.items[${index}]`
      collect({ value: item, path, root, name: `${name}, item ${index + 1}`, inherited: items }, objects, problems)
    }
    return
  }
  objects.push({ value: { ...value, apiVersion, kind }, title: titleOf(kind, value.metadata), at })
}

const sayText = (value: unknown): string => (value === undefined ? 'is required' : 'must be text')

function titleOf(kind: string, metadata: unknown): string {
  const { namespace, name } = isRecord(metadata) ? metadata : {}
  const own = typeof name === 'string' ? name : '(unnamed)'
  if (kind === 'Namespace') return `${kind} ${own}`
  return `${kind} ${typeof namespace === 'string' ? namespace : defaultNamespace}/${own}`
}

function parse(text: string, lineCounter: LineCounter): readonly Document[] | undefined {
  try {
    // Errors that are made pretty would quote the lines around them.
    const documents = parseAllDocuments(text, { lineCounter, prettyErrors: false, merge: true, uniqueKeys: true })
    return Array.isArray(documents) ? documents : []
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}

interface Converted {
  readonly value?: unknown
  readonly problem?: { readonly offset: number; readonly message: string }
}

function toValue(document: Document): Converted {
  try {
    return { value: document.toJS({ maxAliasCount: aliasLimit }) as unknown }
  } catch {
    let offset: number | undefined
    visit(document, {
      Alias(_, alias) {
        if (alias.resolve(document) !== undefined) return undefined
        offset = alias.range?.[0] ?? 0
        return visit.BREAK
      },
    })
    return {
      problem:
        offset === undefined
          ? { offset: (document.contents as Node | null)?.range?.[0] ?? 0, message: 'has too many aliases' }
          : { offset, message: aliasMessage },
    }
  }
}

const aliasMessage = 'an alias (*) has no anchor before it; put text that begins with * into quotes'

/** A document that cannot be read may still tell what it was to be. */
function titleOfBroken(document: Document): string | undefined {
  const text = (path: readonly string[]): string | undefined => {
    const value = isMap(document.contents) ? document.getIn(path) : undefined
    return typeof value === 'string' ? value : undefined
  }
  const kind = text(['kind'])
  const name = text(['metadata', 'name'])
  if (kind === undefined || name === undefined) return undefined
  return titleOf(kind, { name, namespace: text(['metadata', 'namespace']) })
}

function sayFault({ code, message }: Pick<YAMLParseError, 'code' | 'message'>): string {
  switch (code) {
    case 'BAD_ALIAS':
      return aliasMessage
    case 'TAG_RESOLVE_FAILED':
      return 'a tag (!) is not known; put text that begins with ! into quotes'
    case 'DUPLICATE_KEY':
      return 'the same key stands before it in this object'
    case 'BAD_DQ_ESCAPE':
      return 'a text in double quotes has an escape sequence that is none'
    case 'UNEXPECTED_TOKEN':
    case 'BAD_DIRECTIVE':
    case 'IMPOSSIBLE':
      return 'is not YAML from here on'
    default:
      return message
  }
}

function startOf({ node, positionOf }: Place): Position {
  return positionOf((node as Node | null)?.range?.[0] ?? 0)
}

function locatePath(root: Place, path: string): Position {
  let { node } = root
  let position = startOf(root)
  let rest = path
  while (rest !== '') {
    const step = stepInto(isAlias(node) ? node.resolve(root.document) : node, rest)
    if (step === undefined) return position
    position = root.positionOf((step.shown as Node | null)?.range?.[0] ?? 0)
    node = step.node
    rest = step.rest
  }
  return position
}

interface Step {
  readonly node: unknown
  /** Where a person looks for it. */
  readonly shown: unknown
  readonly rest: string
}

/** Names of labels have dots in them: of the keys with which the path may go on, the longest is meant. */
function stepInto(node: unknown, path: string): Step | undefined {
  if (isSeq(node)) {
    const match = /^\[(\d+)\]/.exec(path)
    const item = match ? node.items[Number(match[1])] : undefined
    return match && item ? { node: item, shown: item, rest: path.slice(match[0].length) } : undefined
  }
  if (!isMap(node)) return undefined
  let best: Step | undefined
  for (const { key, value } of node.items) {
    const prefix = `.${isScalar(key) ? String(key.value) : ''}`
    const rest = path.slice(prefix.length)
    if (!path.startsWith(prefix) || !/^(?:$|[.[])/.test(rest) || (best && best.rest.length <= rest.length)) continue
    best = { node: value, shown: key, rest }
  }
  return best
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
