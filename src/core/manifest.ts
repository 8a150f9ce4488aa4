import { type Document, isMap, isScalar, isSeq, LineCounter, type Node, type Pair, parseAllDocuments } from 'yaml'
import type { KubeObject } from '../api/object.ts'

/** Where something stands in a file; both count from 1. */
export interface Position {
  readonly line: number
  readonly column: number
}

/** An object as a file has it. */
export interface ManifestObject {
  readonly object: KubeObject
  /** Where a field stands, given as `.spec.ports[0].port`; where it is missing, what it should stand in. */
  readonly positionOf: (path: string) => Position
}

export interface ManifestProblem {
  readonly position: Position
  /** `Kind namespace/name`; empty where that is not known. */
  readonly object: string
  /** Empty where the whole is meant. */
  readonly field: string
  readonly message: string
}

export interface Manifest {
  readonly objects: readonly ManifestObject[]
  /** Why parts of the file could not be read at all. */
  readonly problems: readonly ManifestProblem[]
}

/** Aliases may stand for so many nodes in all: a few lines of YAML can otherwise mean billions. */
const aliasLimit = 1000

/** Reads YAML, of which JSON is a part: several documents, lists of objects. Absent namespaces become `default`. */
export function readManifest(text: string): Manifest {
  const lineCounter = new LineCounter()
  const documents = parseAllDocuments(text, { lineCounter, uniqueKeys: true, prettyErrors: false })
  const objects: ManifestObject[] = []
  const problems: ManifestProblem[] = []
  const at = (offset: number): Position => {
    const { line, col } = lineCounter.linePos(offset)
    return { line: Math.max(line, 1), column: Math.max(col, 1) }
  }
  for (const document of 'empty' in documents ? [] : documents) {
    if (document.errors.length > 0) {
      for (const { pos, message } of document.errors)
        problems.push({ position: at(pos[0]), object: '', field: '', message })
      continue
    }
    try {
      const value: unknown = document.toJS({ maxAliasCount: aliasLimit })
      if (value !== null && document.contents !== null) readNode(document, document.contents, value)
    } catch (error) {
      problems.push({
        position: at(document.range[0]),
        object: '',
        field: '',
        message: error instanceof Error ? error.message : String(error),
      })
    }
  }

  function readNode(document: Document.Parsed, node: Node, value: unknown): void {
    const positionOf = (path: string): Position => at(offsetOf(node, path))
    const problem = shapeProblem(value)
    if (problem) {
      problems.push({ position: positionOf(problem.field), object: titleOf(value), ...problem })
      return
    }
    const object = value as KubeObject & { readonly items?: readonly unknown[] }
    if (!object.kind.endsWith('List') || !Array.isArray(object.items)) {
      objects.push({ object: withNamespace(object), positionOf })
      return
    }
    const items = isMap(node) ? node.get('items', true) : undefined
    for (const [index, item] of object.items.entries()) {
      const child = isSeq(items) ? items.items[index] : undefined
      readNode(document, (child ?? node) as Node, item)
    }
  }
  return { objects, problems }
}

/** `file:line:column: object: field: message`, as editors and compilers write it. */
export function formatProblem(file: string, { position, object, field, message }: ManifestProblem): string {
  return [`${file}:${position.line}:${position.column}`, object, field, message]
    .filter((part) => part !== '')
    .join(': ')
}

/** Kinds that live in no namespace, of those that a manifest of ours may hold. */
const clusterScoped: ReadonlySet<string> = new Set(['Namespace'])

function withNamespace(object: KubeObject): KubeObject {
  if (clusterScoped.has(object.kind) || object.metadata.namespace !== undefined) return object
  return { ...object, metadata: { ...object.metadata, namespace: 'default' } }
}

const nameForm = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/
const namespaceForm = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/

function shapeProblem(value: unknown): { field: string; message: string } | undefined {
  const is = (field: string, message: string): { field: string; message: string } => ({ field, message })
  if (!isRecord(value)) return is('', 'is not an object')
  if (typeof value.apiVersion !== 'string') return is('.apiVersion', 'is required')
  if (typeof value.kind !== 'string') return is('.kind', 'is required')
  if (value.kind.endsWith('List') && Array.isArray(value.items)) return undefined
  if (!isRecord(value.metadata)) return is('.metadata', 'is required')
  const { name, namespace } = value.metadata
  if (typeof name !== 'string') return is('.metadata.name', 'is required')
  if (name.length > 253 || !nameForm.test(name)) return is('.metadata.name', 'must be a DNS name in lower case')
  if (namespace !== undefined && (typeof namespace !== 'string' || !namespaceForm.test(namespace))) {
    return is('.metadata.namespace', 'must be a DNS label in lower case')
  }
  for (const field of ['labels', 'annotations'] as const) {
    const map = value.metadata[field]
    if (map !== undefined && !(isRecord(map) && Object.values(map).every((text) => typeof text === 'string'))) {
      return is(`.metadata.${field}`, 'must be a map of strings')
    }
  }
  return undefined
}

function titleOf(value: unknown): string {
  if (!isRecord(value) || !isRecord(value.metadata)) return ''
  const { name, namespace = 'default' } = value.metadata
  return typeof value.kind === 'string' && typeof name === 'string' ? `${value.kind} ${String(namespace)}/${name}` : ''
}

/** Where the node that a path names begins, or the last one on the way to it that there is. */
function offsetOf(root: Node, path: string): number {
  let node: unknown = root
  let offset = root.range?.[0] ?? 0
  let rest = path
  while (rest !== '') {
    const step = isSeq(node) ? /^\[(\d+)\]/.exec(rest) : undefined
    if (isSeq(node) && step) {
      node = node.items[Number(step[1])]
      rest = rest.slice(step[0].length)
      offset = startOf(node) ?? offset
      continue
    }
    const pair: Pair | undefined = isMap(node) ? longestKey(node.items, rest) : undefined
    if (!pair) break
    rest = rest.slice(1 + String(isScalar(pair.key) ? pair.key.value : pair.key).length)
    offset = startOf(pair.key) ?? offset
    node = pair.value
  }
  return offset
}

/** Keys may have dots in them, as labels do: the longest that fits is meant. */
function longestKey(pairs: readonly Pair[], path: string): Pair | undefined {
  const fitting = pairs.filter(({ key }) => {
    const text = `.${isScalar(key) ? String(key.value) : ''}`
    return path === text || path.startsWith(`${text}.`) || path.startsWith(`${text}[`)
  })
  const lengthOf = ({ key }: Pair): number => (isScalar(key) ? String(key.value).length : 0)
  return fitting.sort((a, b) => lengthOf(b) - lengthOf(a))[0]
}

const startOf = (node: unknown): number | undefined => (node as Node | undefined)?.range?.[0]

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
