import { isDeepStrictEqual } from 'node:util'
import { managerName } from '../api/names.ts'
import type { KubeObject, ObjectMeta, ObjectName, Resource } from '../api/object.ts'
import { admitBuiltIn, builtInSchema, metadataSchema, withoutStringData } from './built-in.ts'
import {
  type Cluster,
  ClusterError,
  type ClusterEvent,
  type Scope,
  type Watch,
  type WatchScope,
  type WatchSink,
} from './cluster.ts'
import { EventLog, type RecordedEvent } from './event-log.ts'
import type { MergeSchema } from './field-sets.ts'
import { applyFields, type Owners, replaceFields, undeclared, type Written } from './fields.ts'
import { deepFreeze } from './freeze.ts'
import { MemoryWatch } from './memory-watch.ts'
import { type Entry, ObjectTable } from './object-table.ts'
import {
  firstNull,
  mainOnly,
  mainPart,
  plain,
  raiseGeneration,
  sameContent,
  statusPart,
  withMainPart,
  withoutNulls,
  withStatusPart,
} from './parts.ts'
import { checkName, checkPreconditions, describe, ownResources, resourceOf } from './resources.ts'

export interface MemoryClusterOptions {
  readonly now: () => Date
  readonly newUid: () => string
  /** Schemas and rules of custom kinds; a kind without one takes any content. */
  readonly schemas?: readonly KindSchema[]
  /** Every kind that is served. Default: those that Postern uses. */
  readonly resources?: readonly Resource[]
  /** Calls `deliver` soon: watches hear of a change then, and so after the writer does. Default: a microtask. */
  readonly schedule?: (deliver: () => void) => void
  /** Hears of a watch sink that threw. Default: nobody does. */
  readonly onProblem?: (error: unknown) => void
  /** How many different events are kept; older ones go. Default 1000. */
  readonly eventLimit?: number
}

export interface KindSchema {
  readonly apiVersion: string
  readonly kind: string
  /** Says how lists merge: of the whole object, with `spec` and `status` among its properties. */
  readonly schema: MergeSchema
  /**
   * The object with defaults filled in and unknown fields dropped; throws where it is invalid, with a message that
   * names object and field. `old` is what is stored now.
   */
  readonly admit: (object: KubeObject, old: KubeObject | undefined) => KubeObject
}

/** Who wrote: Postern, or whoever puts manifests. */
export type Writer = typeof managerName | 'user'

/**
 * The API server in memory, for one process. Resource versions, field ownership, generation, preconditions, status
 * apart, finalizers and the removal of what has lost its owners are as in the real one. Namespaces need not exist.
 */
export class MemoryCluster implements Cluster {
  private readonly options: MemoryClusterOptions
  private readonly resources: readonly Resource[]
  private readonly schedule: (deliver: () => void) => void
  private readonly table: ObjectTable
  private readonly watches = new Set<MemoryWatch>()
  private readonly log: EventLog

  constructor(options: MemoryClusterOptions) {
    this.options = options
    this.resources = options.resources ?? ownResources
    this.schedule = options.schedule ?? queueMicrotask
    this.table = new ObjectTable((change) => {
      for (const watch of this.watches) watch.tell(change)
    })
    this.log = new EventLog(options.eventLimit ?? 1000)
  }

  async get(resource: Resource, name: ObjectName): Promise<KubeObject | undefined> {
    checkName(resource, name)
    return this.table.get(resource, name)?.object
  }

  async *list(resource: Resource, scope: Scope = {}): AsyncIterable<KubeObject> {
    yield* this.table.list(resource, scope)
  }

  watch(resource: Resource, scope: WatchScope, sink: WatchSink): Watch {
    const watch: MemoryWatch = new MemoryWatch(resource, scope, sink, {
      schedule: this.schedule,
      onProblem: this.options.onProblem ?? (() => {}),
      stopped: () => this.watches.delete(watch),
    })
    this.watches.add(watch)
    watch.begin(this.table.list(resource, scope))
    return watch
  }

  async create(object: KubeObject): Promise<KubeObject> {
    const resource = resourceOf(this.resources, object)
    if (this.table.get(resource, object.metadata)) {
      throw new ClusterError('AlreadyExists', `${describe(object.kind, object.metadata)} already exists`)
    }
    return this.applyAs(managerName, mainOnly(object))
  }

  async apply(object: KubeObject): Promise<KubeObject> {
    checkPreconditions('Object', object)
    return this.applyAs(managerName, object)
  }

  async applyStatus(object: KubeObject): Promise<KubeObject> {
    checkPreconditions('Status', object)
    return this.applyStatusAs(managerName, object)
  }

  async remove(
    resource: Resource,
    name: ObjectName,
    preconditions: { readonly uid?: string; readonly resourceVersion?: string } = {},
  ): Promise<void> {
    checkName(resource, name)
    const entry = this.table.get(resource, name)
    if (entry === undefined) throw notFound(resource.kind, name)
    meetPreconditions(entry.object, { kind: resource.kind, metadata: { ...name, ...preconditions } })
    const { object } = entry
    if (!object.metadata.finalizers?.length) return this.table.drop(entry)
    if (object.metadata.deletionTimestamp !== undefined) return
    const metadata = { ...object.metadata, deletionTimestamp: this.timestamp() }
    this.table.store({ ...entry, object: raiseGeneration({ ...object, metadata }) }, entry)
  }

  emit(event: ClusterEvent): void {
    this.log.record(event, this.options.now())
  }

  async close(): Promise<void> {
    for (const watch of this.watches) await watch.stop()
  }

  /** Server-side apply as the user: creates the object, or changes the user's part of it. */
  async put(object: KubeObject): Promise<KubeObject> {
    return this.applyAs('user', object)
  }

  /** As `kubectl replace`: whatever the object does not say goes, save its status. */
  async replace(object: KubeObject): Promise<KubeObject> {
    const { resource, entry } = this.existing(object)
    meetPreconditions(entry.object, object)
    const wanted = withMainPart(entry.object, mainPart(plain(withoutStringData(object))))
    // Defaults are filled in before anybody looks at who changed what.
    const said = mainPart(this.admit(resource, wanted, entry.object))
    const live = mainPart(entry.object)
    const schema = this.schemaOf(resource)
    const { owners } = replaceFields({ owner: 'replace', live, said, schema, owners: entry.owners })
    return this.commit({ resource, object: wanted, owners }, entry)
  }

  /** Removes an object as the user would, without preconditions. */
  async delete(resource: Resource, name: ObjectName): Promise<void> {
    await this.remove(resource, name)
  }

  /**
   * Takes in an object as it was stored before: uid, creation, generation and status stay, and it belongs to `writer`,
   * its status to Postern. Fails with AlreadyExists where the name is taken. Nothing is removed for the lack of an
   * owner until `collectGarbage` or a write asks for it, for the owner may be restored later.
   */
  async restore(object: KubeObject, writer: Writer): Promise<KubeObject> {
    const resource = resourceOf(this.resources, object)
    if (this.table.get(resource, object.metadata)) {
      throw new ClusterError('AlreadyExists', `${describe(object.kind, object.metadata)} already exists`)
    }
    const kept = plain(withoutStringData(object))
    const metadata = {
      ...kept.metadata,
      uid: kept.metadata.uid ?? this.options.newUid(),
      creationTimestamp: kept.metadata.creationTimestamp ?? this.timestamp(),
    }
    const schema = this.schemaOf(resource)
    const main = applyFields({ owner: writer, live: {}, said: mainPart(kept), schema, owners: new Map() })
    const owner = statusOwner(managerName)
    const { owners } = applyFields({ owner, live: {}, said: statusPart(kept), schema, owners: main.owners })
    return this.table.store({ resource, object: { ...kept, metadata }, owners }, undefined)
  }

  /** Removes every object that has owners, none of which exists, as the garbage collector does. */
  collectGarbage(): void {
    this.table.collectGarbage()
  }

  /** The events recorded so far, the one that happened last at the end. */
  events(): readonly RecordedEvent[] {
    return this.log.list()
  }

  private applyAs(manager: Writer, object: KubeObject): KubeObject {
    const resource = resourceOf(this.resources, object)
    const entry = this.table.get(resource, object.metadata)
    meetPreconditions(entry?.object, object)
    const live = entry?.object ?? this.newObject(object)
    const said = mainPart(mainOnly(plain(withoutStringData(object))))
    const { value, owners } = this.lay(manager, resource, object, mainPart(live), said, entry?.owners)
    return this.commit({ resource, object: withMainPart(live, value), owners }, entry)
  }

  private applyStatusAs(manager: Writer, object: KubeObject): KubeObject {
    const { resource, entry } = this.existing(object)
    meetPreconditions(entry.object, object)
    const said = statusPart(plain(object))
    const live = statusPart(entry.object)
    const { value, owners } = this.lay(statusOwner(manager), resource, object, live, said, entry.owners)
    return this.commit({ resource, object: withStatusPart(entry.object, value), owners }, entry)
  }

  private lay(
    owner: string,
    resource: Resource,
    { kind, metadata }: KubeObject,
    live: object,
    said: object,
    owners: Owners = new Map(),
  ): Written {
    const schema = this.schemaOf(resource)
    const refuse = (problem: string) => new ClusterError('Invalid', `${describe(kind, metadata)}: ${problem}`)
    const unknown = undeclared(said, schema)
    if (unknown !== undefined) throw refuse(`${unknown}: field not declared in schema`)
    const written = applyFields({ owner, live, said, schema, owners })
    if (isCore(resource)) return { ...written, value: withoutNulls(written.value) }
    const empty = firstNull(written.value)
    if (empty !== undefined) throw refuse(`${empty}: has become empty, but is not left out: "null"`)
    return written
  }

  /** Admits a new state of an object and stores it, unless nothing has changed. */
  private commit(wanted: Entry, entry: Entry | undefined): KubeObject {
    const { resource, owners } = wanted
    const old = entry?.object
    const admitted = this.admit(resource, wanted.object, old)
    const object = old === undefined || sameContent(old, admitted) ? admitted : raiseGeneration(admitted)
    if (entry !== undefined && isDeepStrictEqual(old, object) && isDeepStrictEqual(entry.owners, owners))
      return entry.object
    const { finalizers, deletionTimestamp } = object.metadata
    if (entry !== undefined && deletionTimestamp !== undefined && !finalizers?.length) {
      this.table.drop(entry)
      return object
    }
    const stored = this.table.store({ resource, object, owners }, entry)
    if (this.table.isOrphan(stored)) this.table.collectGarbage()
    return stored
  }

  private admit(resource: Resource, object: KubeObject, old: KubeObject | undefined): KubeObject {
    const admit = this.schemaFor(resource)?.admit ?? admitBuiltIn
    try {
      return plain(admit(deepFreeze(plain(object)), old))
    } catch (error) {
      if (error instanceof ClusterError) throw error
      throw new ClusterError('Invalid', error instanceof Error ? error.message : String(error), { cause: error })
    }
  }

  private existing(object: KubeObject): { readonly resource: Resource; readonly entry: Entry } {
    const resource = resourceOf(this.resources, object)
    const entry = this.table.get(resource, object.metadata)
    if (entry === undefined) throw notFound(object.kind, object.metadata)
    return { resource, entry }
  }

  private newObject({ apiVersion, kind, metadata: asked }: KubeObject): KubeObject {
    const { namespace, name } = asked
    if (name.length > 253 || !/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(name)) {
      throw new ClusterError('Invalid', `${describe(kind, asked)}: metadata.name: must be a DNS name`)
    }
    const identity = { name, ...(namespace !== undefined && { namespace }) }
    const metadata = { ...identity, uid: this.options.newUid(), creationTimestamp: this.timestamp() }
    return { apiVersion, kind, metadata: isCore({ apiVersion }) ? metadata : { ...metadata, generation: 1 } }
  }

  private timestamp(): string {
    return this.options
      .now()
      .toISOString()
      .replace(/\.\d+Z$/, 'Z')
  }

  private schemaFor({ apiVersion, kind }: Resource): KindSchema | undefined {
    return this.options.schemas?.find((schema) => schema.kind === kind && schema.apiVersion === apiVersion)
  }

  private schemaOf(resource: Resource): MergeSchema {
    const schema = this.schemaFor(resource)?.schema ?? (isCore(resource) ? builtInSchema(resource.kind) : {})
    return schema.properties ? { ...schema, properties: { ...schema.properties, metadata: metadataSchema } } : schema
  }
}

/** A manager's fields of the status are counted apart, as the server does. */
const statusOwner = (manager: Writer): string => `${manager} status`

/** Core kinds are stored by their Go types: they have no generation here, and know no null. */
const isCore = ({ apiVersion }: { readonly apiVersion: string }): boolean => apiVersion === 'v1'

const notFound = (kind: string, name: ObjectName): ClusterError =>
  new ClusterError('NotFound', `${describe(kind, name)} not found`)

const meetPreconditions = (
  live: KubeObject | undefined,
  { kind, metadata }: { readonly kind: string; readonly metadata: ObjectMeta },
): void => {
  const { uid, resourceVersion } = metadata
  const conflict = (problem: string) => new ClusterError('Conflict', `${describe(kind, metadata)}: ${problem}`)
  if (uid !== undefined && live?.metadata.uid !== uid) {
    throw conflict(live === undefined ? 'it was deleted' : 'it was deleted and made again')
  }
  if (resourceVersion !== undefined && live?.metadata.resourceVersion !== resourceVersion) {
    throw conflict(live === undefined ? 'it was deleted' : 'it has changed')
  }
}
