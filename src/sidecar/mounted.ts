import { type FSWatcher, watch } from 'node:fs'
import { readdir, readFile, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as otherWork } from 'node:timers/promises'
import type { ObjectName } from '../api/object.ts'
import { manifestFile, policyFile, signatureFile } from '../api/verification.ts'
import { decide } from '../core/authorize/decide.ts'
import type { Allowed, Authorizer, BodyFindings, Decision, RequestFacts } from '../core/authorize/decision.ts'
import { Limiter } from '../core/authorize/limit.ts'
import { type Opened, openSet, type VerificationSet } from '../core/authorize/set.ts'
import type { Log } from '../runtime/log.ts'

export interface MountedOptions {
  readonly policy: ObjectName & { readonly namespace: string }
  /** Any where undefined. */
  readonly policyUid: string | undefined
  readonly directory: string
  /** Base64url. */
  readonly publicKeys: readonly string[]
  readonly log: Log
  /** Unix milliseconds. */
  readonly now: () => number
  /** A newer set decides from now on. */
  readonly changed: () => void
  readonly refused: (reason: string) => void
  /** How often to look where watching does not work; every five seconds where absent. */
  readonly pollMilliseconds?: number
}

/** What the kubelet moves when it puts new files in place. */
const dataLink = '..data'
const debounceMilliseconds = 50
const defaultPollMilliseconds = 5000
/** How often a directory may be replaced while it is read, before reading is left to the next poll. */
const maxAttempts = 5

/**
 * The verification set in a mounted directory. The newest that is whole and signed decides; what cannot be verified is
 * counted, and the last good one stays.
 *
 * The kubelet replaces all files of a volume at once by moving the link `..data`. Watching the directory sees every move;
 * watching a file, or the link, sees the first alone. Polling is for where watching does not work.
 */
export class MountedSet implements Authorizer {
  current: VerificationSet | undefined
  private readonly options: MountedOptions
  private readonly publicKeys: Set<string>
  /** Of no set: what keys have spent stays spent when another one is loaded. */
  private readonly limiter = new Limiter()
  private readonly loaded = Promise.withResolvers<void>()
  private watcher: FSWatcher | undefined
  private debounce: NodeJS.Timeout | undefined
  private poll: NodeJS.Timeout | undefined
  private reading: Promise<void> | undefined
  private readAgain = false
  private stopped = false
  private lastRefusal = ''
  /** Manifest and signature that led to the present state, where no other part was to blame. */
  private settledManifest: Buffer | undefined

  constructor(options: MountedOptions) {
    this.options = options
    this.publicKeys = new Set(options.publicKeys)
  }

  decide(facts: RequestFacts, body?: BodyFindings): Decision {
    return decide(this.current, facts, this.options.now() / 1000, { limiter: this.limiter, body })
  }

  consider(facts: RequestFacts, body?: BodyFindings): Decision {
    return decide(this.current, facts, this.options.now() / 1000, { body })
  }

  stillAllowed(allowed: Allowed): boolean {
    const decision = this.consider(allowed.facts, allowed.body)
    return decision.allow && (decision.audited !== undefined || decision.key?.keyId === allowed.key?.keyId)
  }

  /** Resolves when there is a set to decide by. */
  ready(): Promise<void> {
    return this.loaded.promise
  }

  /** Resolves when the directory has been read for the first time, whatever was in it. */
  async start(): Promise<void> {
    this.watch()
    this.poll = setInterval(() => {
      this.watch()
      void this.read()
    }, this.options.pollMilliseconds ?? defaultPollMilliseconds)
    await this.read()
  }

  async stop(): Promise<void> {
    this.stopped = true
    clearInterval(this.poll)
    clearTimeout(this.debounce)
    this.watcher?.close()
    await this.reading
  }

  private watch(): void {
    if (this.watcher !== undefined || this.stopped) return
    const { directory, log } = this.options
    try {
      this.watcher = watch(directory, (_event, name) => {
        if (name === null || name === dataLink || name === manifestFile || name === signatureFile) this.readSoon()
      })
      this.watcher.on('error', (error) => this.unwatch(error))
    } catch (error) {
      // Not there yet, or no more watches to be had: polling goes on, and tries this again.
      log.debug('The directory cannot be watched, it is polled', { directory, error })
    }
  }

  private unwatch(error: unknown): void {
    this.options.log.debug('The directory cannot be watched any more, it is polled', { error })
    this.watcher?.close()
    this.watcher = undefined
  }

  /** One move of the link is several events. */
  private readSoon(): void {
    this.settledManifest = undefined
    clearTimeout(this.debounce)
    this.debounce = setTimeout(() => void this.read(), debounceMilliseconds)
  }

  /** One reading at a time; a call during one means another after it. */
  private async read(): Promise<void> {
    if (this.reading !== undefined) {
      this.readAgain = true
      return this.reading
    }
    this.reading = this.readUntilSettled()
    await this.reading
    this.reading = undefined
  }

  private async readUntilSettled(): Promise<void> {
    do {
      this.readAgain = false
      try {
        await this.readOnce()
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error)
        this.refuse(isMissing(error) ? 'ManifestMissing' : 'Unreadable', message)
      }
    } while (this.readAgain && !this.stopped)
  }

  private async readOnce(): Promise<void> {
    const files = await this.readFiles()
    if (files === undefined || this.stopped) return
    const { policy, policyUid, log } = this.options
    const expected = { ...policy, policy: policy.name, policyUid, publicKeys: this.publicKeys, current: this.current }
    const startedAt = performance.now()
    const opening = openSet(files, expected)
    let step = opening.next()
    while (step.done !== true) {
      // Opening a large set takes many milliseconds; requests are not to wait for it.
      await otherWork()
      step = opening.next()
    }
    const opened: Opened = step.value
    if (opened.outcome === 'refused') {
      this.refuse(opened.reason, opened.message)
      return
    }
    this.lastRefusal = ''
    this.settledManifest = files.get(manifestFile)
    if (opened.outcome === 'unchanged') return
    const { set } = opened
    this.current = set
    // Whoever signed this one says who may sign the next.
    this.publicKeys.add(set.manifest.nextPublicKey)
    const { epoch, sequence, keys } = set.manifest
    const milliseconds = Math.round(performance.now() - startedAt)
    log.info('Loaded a verification set', { epoch, sequence, keys, milliseconds })
    this.loaded.resolve()
    this.options.changed()
  }

  /** Undefined where nothing can have changed since the last reading. */
  private async readFiles(): Promise<Map<string, Buffer> | undefined> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const directory = await this.resolve()
        const names = (await readdir(directory)).filter(isPart)
        if (this.settledManifest !== undefined && names.includes(manifestFile)) {
          const manifest = await readFile(join(directory, manifestFile))
          if (manifest.equals(this.settledManifest)) return undefined
        }
        const contents = await Promise.all(names.map((name) => readFile(join(directory, name))))
        return new Map(names.map((name, index) => [name, contents[index]!]))
      } catch (error) {
        // The directory was replaced between two of these calls: read the new one.
        if (!isMissing(error) || attempt === maxAttempts) throw error
      }
    }
  }

  /** The directory that `..data` points to now, or the mount itself where files are put there directly. */
  private async resolve(): Promise<string> {
    const { directory } = this.options
    try {
      return join(directory, await readlink(join(directory, dataLink)))
    } catch (error) {
      if (!isMissing(error)) throw error
      return directory
    }
  }

  private refuse(reason: string, message: string): void {
    const refusal = `${reason}: ${message}`
    if (refusal === this.lastRefusal) return
    this.lastRefusal = refusal
    const { log, refused } = this.options
    if (reason === 'ManifestMissing' && this.current === undefined) {
      log.info('There is no verification set yet', { detail: message })
      return
    }
    refused(reason)
    log.warn('Refused a verification set', { reason, detail: message, serving: this.current?.manifest.sequence })
  }
}

const isPart = (name: string): boolean =>
  name === manifestFile || name === signatureFile || name === policyFile || /^(?:grants-\d+\.json|keys-\d+)$/.test(name)

const isMissing = (error: unknown): boolean => error instanceof Error && 'code' in error && error.code === 'ENOENT'
