import { type FSWatcher, watch } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join, relative, resolve, sep } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { AccessPolicy } from '../api/access-policy.ts'
import type { ApiKey } from '../api/api-key.ts'
import { accessPolicies, apiKeys, apiVersion, group, labels, namespaces, secrets } from '../api/names.ts'
import { type KubeObject, nameKey, type Resource } from '../api/object.ts'
import type { Problem } from '../api/schema.ts'
import { InvalidObject, kindRules } from '../core/kinds.ts'
import { locate, type ManifestObject, problemLine, readManifest } from '../core/manifest.ts'
import { toObject } from '../core/object.ts'
import { compilePolicy } from '../core/policy.ts'
import { parseApiKey } from '../core/reconcile/api-key.ts'
import { secretProblems } from '../core/secret.ts'
import { ClusterError } from '../kube/cluster.ts'
import type { MemoryCluster } from '../kube/memory.ts'
import type { Log } from '../runtime/log.ts'

/** Kinds that a directory may hold; others are passed over. */
const taken: readonly Resource[] = [namespaces, secrets, accessPolicies, apiKeys]
const manifestName = /^[^.].*\.(?:ya?ml|json)$/
const debounceMilliseconds = 100
const pollMilliseconds = 2000
const defaultSettleMilliseconds = 300
/** A kind of our group that standalone does not know yet. */
const passedOverKind = 'ProviderCredential'

/** An object, and where it is written. */
interface Placed {
  readonly file: string
  readonly resource: Resource
  readonly object: KubeObject
  readonly manifest: ManifestObject
}

interface Content {
  readonly placed: readonly Placed[]
  /** False where the file may say more than could be read. */
  readonly isWhole: boolean
}

interface Applied {
  /** Undefined where it is here from before. */
  readonly file: string | undefined
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
  /** Absolute, with a separator at its end; undefined for none. */
  private readonly except: string | undefined
  private readonly keyPrefix: string
  private readonly log: Log
  private readonly tell: (problem: string) => void
  private readonly rules = new Map(kindRules().map((rules) => [rules.kind, rules]))
  /** What each file said last, where it could be read. */
  private files = new Map<string, Content>()
  /** Manifests that are in force, by kind and name. */
  private readonly applied = new Map<string, Applied>()
  /** Since when, in monotonic milliseconds, something that is in force has been in no manifest. */
  private readonly missingSince = new Map<string, number>()
  private readonly settleMilliseconds: number
  private reported = new Set<string>()
  private passedOver = new Set<string>()
  private watcher: FSWatcher | undefined
  private debounce: NodeJS.Timeout | undefined
  private settle: NodeJS.Timeout | undefined
  private poll: NodeJS.Timeout | undefined
  private loading: Promise<void> = Promise.resolve()

  /**
   * @param options.tell hears of each problem as `file:line:column: object: field: message`
   * @param options.except a directory that may lie in this one and holds no manifests
   * @param options.settleMilliseconds how long an object must be in no manifest until it is deleted: a file that is being
   *   written is empty for a moment, and one that an editor replaces is not there
   */
  constructor(options: {
    cluster: MemoryCluster
    directory: string
    except?: string
    keyPrefix: string
    log: Log
    tell: (problem: string) => void
    settleMilliseconds?: number
  }) {
    this.cluster = options.cluster
    this.directory = options.directory
    this.except = options.except === undefined ? undefined : resolve(options.except) + sep
    this.keyPrefix = options.keyPrefix
    this.log = options.log
    this.tell = options.tell
    this.settleMilliseconds = options.settleMilliseconds ?? defaultSettleMilliseconds
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
    clearTimeout(this.settle)
  }

  /** What was there when this process ended last is deleted if no manifest has it any more. */
  private async adoptRestored(): Promise<void> {
    for (const resource of [accessPolicies, apiKeys]) {
      for await (const object of this.cluster.list(resource))
        this.applied.set(keyOf(object), { file: undefined, resource, object, written: undefined })
    }
  }

  /** One change of a file is several events. */
  private loadSoon(): void {
    clearTimeout(this.debounce)
    this.debounce = setTimeout(() => void this.load(), debounceMilliseconds)
  }

  /** Looks at every file. Resolves when what they say is in force, whether or not there were problems. */
  load(): Promise<void> {
    this.loading = this.loading
      .then(() => this.loadOnce())
      .catch((error: unknown) => this.log.error('The manifests could not be read', { error }))
    return this.loading
  }

  private async loadOnce(): Promise<void> {
    const problems: string[] = []
    const files = new Map<string, Content>()
    for (const file of await this.listFiles()) files.set(file, await this.readFile(file, problems))
    this.files = files

    const wanted = new Map<string, Placed>()
    for (const [key, places] of Map.groupBy(
      [...files.values()].flatMap(({ placed }) => placed),
      keyOfPlaced,
    )) {
      const counts = places.find(({ file }) => file === this.applied.get(key)?.file) ?? places[0]!
      wanted.set(key, counts)
      for (const other of places.filter((placed) => placed !== counts)) {
        const message = `is in ${join(this.directory, counts.file)} too, which counts`
        problems.push(this.describe(other, { path: '', message }))
      }
    }
    // Namespaces and Secrets come before what refers to them, policies before the keys that ask for them.
    const inOrder = [...wanted.values()].sort((a, b) => taken.indexOf(a.resource) - taken.indexOf(b.resource))
    for (const placed of inOrder) problems.push(...(await this.apply(placed)))
    await this.removeMissing(
      wanted,
      [...files.values()].every(({ isWhole }) => isWhole),
    )
    this.report(problems)
  }

  /** Keys and policies are deleted for good, and their Secrets with them: only what is certainly gone may go. */
  private async removeMissing(wanted: ReadonlyMap<string, unknown>, allFilesAreWhole: boolean): Promise<void> {
    const now = performance.now()
    for (const [key, { file, resource, object }] of [...this.applied].reverse()) {
      // What is here from before may be in any file that could not be read to its end.
      if (wanted.has(key) || (file === undefined && !allFilesAreWhole)) {
        this.missingSince.delete(key)
        continue
      }
      const since = this.missingSince.get(key) ?? now
      this.missingSince.set(key, since)
      if (now - since < this.settleMilliseconds) continue
      this.missingSince.delete(key)
      this.applied.delete(key)
      const { name, namespace } = object.metadata
      const here = { name, ...(namespace !== undefined && { namespace }) }
      if (await this.cluster.get(resource, here)) await this.cluster.delete(resource, here)
      this.log.info('Deleted what is in no manifest any more', { object: key })
    }
    clearTimeout(this.settle)
    if (this.missingSince.size > 0) this.settle = setTimeout(() => void this.load(), this.settleMilliseconds)
  }

  private async listFiles(): Promise<string[]> {
    const entries = await readdir(this.directory, { recursive: true, withFileTypes: true })
    return entries
      .filter((entry) => !entry.isDirectory() && manifestName.test(entry.name))
      .filter(({ parentPath }) => this.except === undefined || !(resolve(parentPath) + sep).startsWith(this.except))
      .map((entry) => relative(this.directory, join(entry.parentPath, entry.name)))
      .filter((file) => !file.split('/').some((part) => part.startsWith('.')))
      .sort()
  }

  private async readFile(file: string, problems: string[]): Promise<Content> {
    const before = this.files.get(file)
    let text: string
    try {
      text = await readFile(join(this.directory, file), 'utf8')
    } catch (error) {
      problems.push(`${join(this.directory, file)}: ${error instanceof Error ? error.message : String(error)}`)
      return { placed: before?.placed ?? [], isWhole: false }
    }
    const { objects, problems: unreadable } = readManifest(join(this.directory, file), text)
    problems.push(...unreadable.map(problemLine))
    let isWhole = unreadable.length === 0
    const placed = objects.flatMap((manifest): Placed[] => {
      const resource = this.resourceOf(file, manifest.value)
      const parsed = toObject(manifest.value)
      if (resource && parsed.ok) return [{ file, resource, object: parsed.value, manifest }]
      const found = resource ? (parsed.ok ? [] : parsed.problems) : kindProblems(manifest.value)
      problems.push(...locate(manifest, found).map(problemLine))
      if (found.length > 0) isWhole = false
      return []
    })
    // What stood in the part that cannot be read is unknown: what the file said of other objects before stays.
    const known = new Set(placed.map(({ object }) => keyOf(object)))
    const kept = isWhole ? [] : (before?.placed ?? []).filter(({ object }) => !known.has(keyOf(object)))
    return { placed: [...placed, ...kept], isWhole }
  }

  private resourceOf(file: string, { apiVersion, kind }: KindName): Resource | undefined {
    const resource = taken.find((one) => one.apiVersion === apiVersion && one.kind === kind)
    const word = `${file}: ${apiVersion} ${kind}`
    if (!resource && kindProblems({ apiVersion, kind }).length === 0 && !this.passedOver.has(word)) {
      this.passedOver.add(word)
      this.log.info('Passed over an object of a kind that has no meaning here', { file, apiVersion, kind })
    }
    return resource
  }

  /** @returns what is wrong with the object */
  private async apply(placed: Placed): Promise<string[]> {
    const { object } = placed
    const key = keyOf(object)
    if (isDeepStrictEqual(this.applied.get(key)?.written, object)) {
      this.applied.set(key, { file: placed.file, resource: placed.resource, object, written: object })
      return []
    }
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
      this.applied.set(key, { file: placed.file, resource: placed.resource, object, written: object })
      return []
    } catch (error) {
      if (error instanceof ClusterError) return [this.describe(placed, { path: '', message: error.message })]
      // Whatever it says may quote what is in the object.
      return [this.describe(placed, { path: '', message: 'could not be taken in' })]
    }
  }

  private validate(object: KubeObject, stored: KubeObject | undefined): readonly Problem[] {
    if (object.kind === secrets.kind) return secretProblems(object)
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

type KindName = Pick<KubeObject, 'apiVersion' | 'kind'>

/** Nobody else's kind has our group: one that is not known there is a typing error, not a thing to pass over. */
function kindProblems({ apiVersion: given, kind }: KindName): readonly Problem[] {
  if (given.split('/')[0] !== group || kind === passedOverKind) return []
  return taken.some((one) => one.apiVersion === apiVersion && one.kind === kind)
    ? [{ path: '.apiVersion', message: `must be ${apiVersion}` }]
    : [{ path: '.kind', message: `is not a kind of ${group}` }]
}

const keyOfPlaced = ({ object }: Placed): string => keyOf(object)
const keyOf = ({ kind, metadata }: KubeObject): string => `${kind} ${nameKey(metadata)}`
