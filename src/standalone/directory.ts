import { type FSWatcher, watch } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { AccessPolicy } from '../api/access-policy.ts'
import type { ApiKey } from '../api/api-key.ts'
import { accessPolicies, apiKeys, labels, namespaces, secrets } from '../api/names.ts'
import { type KubeObject, nameKey, type Resource } from '../api/object.ts'
import type { Problem } from '../api/schema.ts'
import { InvalidObject, kindRules } from '../core/kinds.ts'
import { locate, type ManifestObject, problemLine, readManifest } from '../core/manifest.ts'
import { toObject } from '../core/object.ts'
import { compilePolicy } from '../core/policy.ts'
import { parseApiKey } from '../core/reconcile/api-key.ts'
import type { MemoryCluster } from '../kube/memory.ts'
import type { Log } from '../runtime/log.ts'

/** Kinds that a directory may hold; others are passed over. */
const taken: readonly Resource[] = [namespaces, secrets, accessPolicies, apiKeys]
const manifestName = /^[^.].*\.(?:ya?ml|json)$/
const debounceMilliseconds = 100
const pollMilliseconds = 2000

/** An object, and where it is written. */
interface Placed {
  readonly file: string
  readonly resource: Resource
  readonly object: KubeObject
  readonly manifest: ManifestObject
}

interface Applied {
  readonly resource: Resource
  readonly object: KubeObject
  /** As it was written; undefined where it is here from before. */
  readonly written: KubeObject | undefined
}

/**
 * A directory of manifests in the place of an API server's clients: what is written there is put into the cluster, what
 * is no longer written is deleted. An object that cannot be taken is reported and stays as it was before.
 */
export class ManifestDirectory {
  private readonly cluster: MemoryCluster
  private readonly directory: string
  private readonly keyPrefix: string
  private readonly log: Log
  private readonly tell: (problem: string) => void
  private readonly rules = new Map(kindRules().map((rules) => [rules.kind, rules]))
  /** What each file said last, where it could be read. */
  private files = new Map<string, { readonly text: string; readonly placed: readonly Placed[] }>()
  /** Manifests that are in force, by kind and name. */
  private readonly applied = new Map<string, Applied>()
  private reported = new Set<string>()
  private passedOver = new Set<string>()
  private watcher: FSWatcher | undefined
  private debounce: NodeJS.Timeout | undefined
  private poll: NodeJS.Timeout | undefined
  private loading: Promise<void> = Promise.resolve()

  /** @param options.tell hears of each problem as `file:line:column: object: field: message` */
  constructor(options: {
    cluster: MemoryCluster
    directory: string
    keyPrefix: string
    log: Log
    tell: (problem: string) => void
  }) {
    this.cluster = options.cluster
    this.directory = options.directory
    this.keyPrefix = options.keyPrefix
    this.log = options.log
    this.tell = options.tell
  }

  /** Takes in everything, and goes on to follow changes. Rejects where the directory cannot be read. */
  async start(): Promise<void> {
    await readdir(this.directory)
    await this.adoptRestored()
    await this.load()
    try {
      this.watcher = watch(this.directory, { recursive: true }, () => this.loadSoon())
      this.watcher.on('error', (error) => this.log.debug('The directory cannot be watched, it is polled', { error }))
    } catch (error) {
      this.log.debug('The directory cannot be watched, it is polled', { error })
    }
    this.poll = setInterval(() => void this.load(), pollMilliseconds)
  }

  async stop(): Promise<void> {
    clearInterval(this.poll)
    clearTimeout(this.debounce)
    this.watcher?.close()
    await this.loading
  }

  /** What was there when this process ended last is deleted if no manifest has it any more. */
  private async adoptRestored(): Promise<void> {
    for (const resource of [accessPolicies, apiKeys]) {
      for await (const object of this.cluster.list(resource))
        this.applied.set(keyOf(object), { resource, object, written: undefined })
    }
  }

  /** One change of a file is several events. */
  private loadSoon(): void {
    clearTimeout(this.debounce)
    this.debounce = setTimeout(() => void this.load(), debounceMilliseconds)
  }

  private load(): Promise<void> {
    this.loading = this.loading
      .then(() => this.loadOnce())
      .catch((error: unknown) => this.log.error('The manifests could not be read', { error }))
    return this.loading
  }

  private async loadOnce(): Promise<void> {
    const problems: string[] = []
    const files = new Map<string, { readonly text: string; readonly placed: readonly Placed[] }>()
    for (const file of await this.listFiles()) files.set(file, await this.readFile(file, problems))
    this.files = files

    const wanted = new Map<string, Placed>()
    for (const placed of [...files.values()].flatMap((file) => file.placed)) {
      const key = keyOf(placed.object)
      const first = wanted.get(key)
      if (first)
        problems.push(
          this.describe(placed, { path: '', message: `is in ${join(this.directory, first.file)} too, which counts` }),
        )
      else wanted.set(key, placed)
    }
    // Namespaces and Secrets come before what refers to them, policies before the keys that ask for them.
    const inOrder = [...wanted.values()].sort((a, b) => taken.indexOf(a.resource) - taken.indexOf(b.resource))
    for (const placed of inOrder) problems.push(...(await this.apply(placed)))
    for (const [key, { resource, object }] of [...this.applied].reverse()) {
      if (wanted.has(key)) continue
      this.applied.delete(key)
      const { name, namespace } = object.metadata
      const here = { name, ...(namespace !== undefined && { namespace }) }
      if (await this.cluster.get(resource, here)) await this.cluster.delete(resource, here)
      this.log.info('Deleted what is in no manifest any more', { object: key })
    }
    this.report(problems)
  }

  private async listFiles(): Promise<string[]> {
    const entries = await readdir(this.directory, { recursive: true, withFileTypes: true })
    return entries
      .filter((entry) => !entry.isDirectory() && manifestName.test(entry.name))
      .map((entry) => relative(this.directory, join(entry.parentPath, entry.name)))
      .filter((file) => !file.split('/').some((part) => part.startsWith('.')))
      .sort()
  }

  private async readFile(file: string, problems: string[]): Promise<{ text: string; placed: readonly Placed[] }> {
    const before = this.files.get(file)
    let text: string
    try {
      text = await readFile(join(this.directory, file), 'utf8')
    } catch (error) {
      problems.push(`${join(this.directory, file)}: ${error instanceof Error ? error.message : String(error)}`)
      return before ?? { text: '', placed: [] }
    }
    const { objects, problems: unreadable } = readManifest(join(this.directory, file), text)
    problems.push(...unreadable.map(problemLine))
    let isWhole = unreadable.length === 0
    const placed = objects.flatMap((manifest): Placed[] => {
      const resource = this.resourceOf(file, manifest.value)
      if (!resource) return []
      const parsed = toObject(manifest.value)
      if (parsed.ok) return [{ file, resource, object: parsed.value, manifest }]
      problems.push(...locate(manifest, parsed.problems).map(problemLine))
      isWhole = false
      return []
    })
    // What stood in the part that cannot be read is unknown: what the file said of other objects before stays.
    const known = new Set(placed.map(({ object }) => keyOf(object)))
    const kept = isWhole ? [] : (before?.placed ?? []).filter(({ object }) => !known.has(keyOf(object)))
    return { text, placed: [...placed, ...kept] }
  }

  private resourceOf(
    file: string,
    { apiVersion, kind }: Pick<KubeObject, 'apiVersion' | 'kind'>,
  ): Resource | undefined {
    const resource = taken.find((one) => one.apiVersion === apiVersion && one.kind === kind)
    const word = `${file}: ${apiVersion} ${kind}`
    if (!resource && !this.passedOver.has(word)) {
      this.passedOver.add(word)
      this.log.info('Passed over an object of a kind that has no meaning here', { file, apiVersion, kind })
    }
    return resource
  }

  /** @returns what is wrong with the object */
  private async apply(placed: Placed): Promise<string[]> {
    const { object } = placed
    const key = keyOf(object)
    if (isDeepStrictEqual(this.applied.get(key)?.written, object)) return []
    const { name, namespace } = object.metadata
    const stored = await this.cluster.get(placed.resource, { name, ...(namespace !== undefined && { namespace }) })
    const problems = this.validate(object, stored)
    if (problems.length > 0) return problems.map((problem) => this.describe(placed, problem))
    if (placed.resource === secrets && stored?.metadata.labels?.[labels.managed] === 'true') {
      return [this.describe(placed, { path: '.metadata.name', message: 'is the name of a Secret that Postern keeps' })]
    }
    const { status: _, ...ours } = object
    try {
      await this.cluster.put(ours)
      this.applied.set(key, { resource: placed.resource, object, written: object })
      return []
    } catch (error) {
      return [this.describe(placed, { path: '', message: error instanceof Error ? error.message : String(error) })]
    }
  }

  private validate(object: KubeObject, stored: KubeObject | undefined): readonly Problem[] {
    const rules = this.rules.get(object.kind)
    if (!rules) return []
    try {
      const admitted = rules.admit(object, stored)
      const compiled =
        object.kind === apiKeys.kind
          ? parseApiKey(admitted as ApiKey)
          : compilePolicy(admitted as AccessPolicy, this.keyPrefix)
      return compiled.ok ? [] : compiled.problems
    } catch (error) {
      if (error instanceof InvalidObject) return error.problems
      throw error
    }
  }

  private describe({ manifest }: Placed, problem: Problem): string {
    return locate(manifest, [problem]).map(problemLine).join('\n')
  }

  /** Each problem once, as long as it lasts. */
  private report(problems: readonly string[]): void {
    for (const problem of problems) if (!this.reported.has(problem)) this.tell(problem)
    if (problems.length === 0 && this.reported.size > 0) this.log.info('All manifests are in order again')
    this.reported = new Set(problems)
  }
}

const keyOf = ({ kind, metadata }: KubeObject): string => `${kind} ${nameKey(metadata)}`
