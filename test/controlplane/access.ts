import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { type Certificate, makeClientCertificate } from './certificates.ts'
import { type ApiRequests, apiRequests } from './requests.ts'

/** A real API server, as a test uses it: as its administrator, where nothing else is said. */
export interface ControlPlane extends ApiRequests {
  /** Of an administrator. */
  readonly kubeconfig: string
  readonly server: string
  /** What signed the API server's certificate. */
  readonly caFile: string | undefined
  /** Verifies under `caFile` at 127.0.0.1 and localhost: for a proxy in front. Undefined where the cluster is not ours. */
  readonly servingCertificate: Certificate | undefined
  kubectl(args: readonly string[], options?: KubectlOptions): Promise<Finished>
  /** The path of a kubeconfig that speaks for this user or ServiceAccount; the account must exist. */
  kubeconfigFor(who: Identity): Promise<string>
  /** Makes a namespace of a name that nothing else uses. It goes with the control plane. */
  createNamespace(labels?: Readonly<Record<string, string>>): Promise<string>
}

export interface KubectlOptions {
  /** Standard input, for `-f -`; what is not text is sent as JSON. */
  readonly input?: string | object
  /** Default: the administrator's. */
  readonly kubeconfig?: string
}

export interface Finished {
  readonly stdout: string
  readonly stderr: string
  readonly code: number
}

export type Identity =
  | { readonly user: string; readonly groups?: readonly string[] }
  | { readonly serviceAccount: { readonly namespace: string; readonly name: string } }

/** Everything that another process needs to use a control plane that this one started: plain data. */
export interface Address {
  /** Kubeconfigs and kubectl's cache are written there. */
  readonly directory: string
  readonly kubeconfig: string
  readonly kubectl: string
  readonly server: string
  readonly caFile: string | undefined
  readonly servingCertificate: Certificate | undefined
  /** Signs client certificates; without it users are impersonated. */
  readonly clientAuthority: Certificate | undefined
}

interface Kubeconfig {
  readonly clusters: readonly object[]
  readonly contexts: readonly { readonly name: string; readonly context: object }[]
  readonly users: readonly { readonly name: string; readonly user: object }[]
}

export function accessTo(address: Address): ControlPlane {
  const { directory, kubeconfig, server, caFile, servingCertificate } = address

  const kubectl = async (args: readonly string[], options: KubectlOptions = {}): Promise<Finished> => {
    const child = spawn(address.kubectl, ['--kubeconfig', options.kubeconfig ?? kubeconfig, ...args], {
      env: { PATH: process.env.PATH, HOME: directory, KUBECACHEDIR: join(directory, 'kubectl-cache') },
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    child.stdin.on('error', () => {})
    child.stdin.end(typeof options.input === 'object' ? JSON.stringify(options.input) : options.input)
    const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
    return { stdout, stderr, code: typeof code === 'number' ? code : 1 }
  }

  const must = async (args: readonly string[], options?: KubectlOptions): Promise<string> => {
    const { stdout, stderr, code } = await kubectl(args, options)
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${stderr.trim()}`)
    return stdout
  }

  const kubeconfigOf = async (user: object): Promise<string> => {
    const own = JSON.parse(await must(['config', 'view', '--raw', '--minify', '--flatten', '-o', 'json'])) as Kubeconfig
    const file = join(directory, 'kubeconfigs', `${randomBytes(6).toString('hex')}.json`)
    mkdirSync(join(directory, 'kubeconfigs'), { recursive: true })
    const name = own.users[0]?.name ?? ''
    writeFileSync(file, JSON.stringify({ ...own, users: [{ name, user }] }), { mode: 0o600 })
    return file
  }

  const credentialsOf = async (user: string, groups: readonly string[]): Promise<object> => {
    if (address.clientAuthority === undefined) {
      const own = JSON.parse(
        await must(['config', 'view', '--raw', '--minify', '--flatten', '-o', 'json']),
      ) as Kubeconfig
      return { ...own.users[0]?.user, as: user, 'as-groups': groups }
    }
    const name = `client-${randomBytes(6).toString('hex')}`
    const made = await makeClientCertificate(directory, name, address.clientAuthority, user, groups)
    const base64 = (file: string) => readFileSync(file).toString('base64')
    return { 'client-certificate-data': base64(made.certFile), 'client-key-data': base64(made.keyFile) }
  }

  return {
    kubeconfig,
    server,
    caFile,
    servingCertificate,
    kubectl,
    ...apiRequests(kubeconfig),
    async kubeconfigFor(who) {
      if ('user' in who) return kubeconfigOf(await credentialsOf(who.user, who.groups ?? []))
      const { namespace, name } = who.serviceAccount
      const token = await must(['create', 'token', name, '--namespace', namespace, '--duration', '2h'])
      return kubeconfigOf({ token: token.trim() })
    },
    async createNamespace(labels = {}) {
      const name = `test-${randomBytes(5).toString('hex')}`
      const object = { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } }
      await must(['create', '-f', '-'], { input: object })
      return name
    },
  }
}
