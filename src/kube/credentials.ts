import { readFileSync } from 'node:fs'
import type { RequestOptions } from 'node:https'
import { dirname } from 'node:path'
import { KubeConfig, makeAbsolutePath } from '@kubernetes/client-node/dist/config.js'
import { parse } from 'yaml'
import { ClusterError } from './cluster.ts'
import { systemTimers, type Timers } from './timers.ts'

export interface CredentialsOptions {
  /** A kubeconfig file. Default: what KUBECONFIG names, `~/.kube/config`, or the Pod's own service account. */
  readonly kubeconfig?: string | undefined
  /** Default: the kubeconfig's current context. */
  readonly context?: string | undefined
  /** How long files and tokens are used before they are read again. Default 60. */
  readonly cacheSeconds?: number | undefined
  readonly timers?: Timers | undefined
}

/** How to reach the API server, and as whom. The same object as long as nothing was read again. */
export interface Access {
  readonly origin: string
  /** Path before every other, without a slash at its end; mostly empty. */
  readonly basePath: string
  readonly tls: TlsMaterial
  /** Secret. */
  readonly headers: Readonly<Record<string, string>>
}

/** As `tls.connect` takes it. */
export interface TlsMaterial {
  readonly ca?: string | Buffer
  readonly cert?: string | Buffer
  readonly key?: string | Buffer
  readonly rejectUnauthorized?: boolean
  readonly servername?: string
}

/** Reads kubeconfig, certificates and tokens, and reads them again from time to time, for all of them rotate. */
export class Credentials {
  private readonly options: CredentialsOptions
  private readonly timers: Timers
  private config: KubeConfig
  private cached: { readonly access: Promise<Access>; readonly until: number } | undefined

  /** Reads the kubeconfig; throws a ClusterError that names what is wrong with it. */
  constructor(options: CredentialsOptions) {
    this.options = options
    this.timers = options.timers ?? systemTimers
    this.config = load(options)
  }

  /** The namespace that the context names, or `default`. */
  get namespace(): string {
    return this.config.getContextObject(this.config.currentContext)?.namespace?.trim() || 'default'
  }

  /** Rejects with Unavailable where a file cannot be read or a credential plugin fails. */
  access(): Promise<Access> {
    const now = this.timers.now()
    if (this.cached === undefined || this.cached.until <= now) {
      const access = this.read()
      this.cached = { access, until: now + (this.options.cacheSeconds ?? 60) * 1000 }
      access.catch(() => this.expire(access))
    }
    return this.cached.access
  }

  /** Has everything read again, and plugins run again, unless that has been done since `access` was handed out. */
  async renew(access: Access): Promise<void> {
    const current = await this.cached?.access.catch(() => undefined)
    if (current !== access) return
    this.config = load(this.options)
    this.cached = undefined
  }

  private async read(): Promise<Access> {
    try {
      // A plugin keeps its token until that expires; everything else is cheap to read anew.
      if (this.cached !== undefined && !this.config.getCurrentUser()?.exec) this.config = load(this.options)
      return await accessOf(this.config)
    } catch (error) {
      if (error instanceof ClusterError) throw error
      throw new ClusterError('Unavailable', `credentials for the API server: ${messageOf(error)}`, { cause: error })
    }
  }

  private expire(access: Promise<Access>): void {
    if (this.cached?.access === access) this.cached = undefined
  }
}

const load = ({ kubeconfig, context }: CredentialsOptions): KubeConfig => {
  const config = new FullKubeConfig()
  try {
    if (kubeconfig === undefined) config.loadFromDefault()
    else config.loadFromFile(kubeconfig)
  } catch (error) {
    throw new ClusterError('Invalid', `kubeconfig ${kubeconfig ?? ''}: ${messageOf(error)}`, { cause: error })
  }
  if (context !== undefined) config.setCurrentContext(context)
  const problem = problemOf(config)
  if (problem !== undefined) throw new ClusterError('Invalid', `kubeconfig ${kubeconfig ?? ''}: ${problem}`)
  return config
}

const problemOf = (config: KubeConfig): string | undefined => {
  const context = config.currentContext
  if (!context) return 'there is no current context'
  if (!config.getContextObject(context)) return `there is no context ${context}`
  const cluster = config.getCurrentCluster()
  if (cluster?.server === 'http://localhost:8080') return 'there is none, and this is not a Pod of a cluster'
  if (!cluster || !URL.canParse(cluster.server)) return `context ${context}: its cluster has no server address`
  if (!config.getCurrentUser()) return `context ${context}: there is no such user`
  if (cluster.proxyUrl) return `context ${context}: proxy-url is not supported`
  return undefined
}

const accessOf = async (config: KubeConfig): Promise<Access> => {
  const options: RequestOptions = {}
  await config.applyToHTTPSOptions(options)
  const { ca, cert, key, rejectUnauthorized, servername, auth } = options
  const headers = Object.entries({
    ...(auth && { Authorization: `Basic ${Buffer.from(auth).toString('base64')}` }),
    ...(options.headers as Record<string, string> | undefined),
  }).map(([name, value]) => [name, value.trim()])
  const { origin, pathname } = new URL(config.getCurrentCluster()!.server)
  const tls = Object.fromEntries(
    Object.entries({ ca, cert, key, rejectUnauthorized, servername }).filter(([, value]) => value !== undefined),
  )
  return { origin, basePath: pathname.replace(/\/+$/, ''), tls, headers: Object.fromEntries(headers) }
}

/** KubeConfig that knows a user's `tokenFile`, which the library passes over. */
class FullKubeConfig extends KubeConfig {
  override loadFromFile(...[file, options]: Parameters<KubeConfig['loadFromFile']>): void {
    super.loadFromFile(file, options)
    const users = (parse(readFileSync(file, 'utf8')) as { users?: readonly RawUser[] }).users ?? []
    this.users = this.users.map((user) => {
      const tokenFile = users.find(({ name }) => name === user.name)?.user?.tokenFile
      if (!tokenFile || user.token) return user
      const config = { tokenFile: makeAbsolutePath(dirname(file), tokenFile) }
      return { ...user, authProvider: { name: 'tokenFile', config } }
    })
  }
}

interface RawUser {
  readonly name: string
  readonly user?: { readonly tokenFile?: string }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
