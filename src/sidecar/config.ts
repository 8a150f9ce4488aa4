import { parseArgs } from 'node:util'
import { keyObject } from '../core/signature.ts'
import { type LogLevel, logLevels } from '../runtime/log.ts'
import type { Endpoint } from './http1/proxy-listener.ts'

/** What a sidecar guards, and by what. */
export interface SidecarOptions {
  readonly guards: readonly GuardOptions[]
  /** For each policy of the guards, where its verification set is mounted. */
  readonly verification: readonly VerificationOptions[]
  /** Ed25519 keys that may have signed the sets, base64url. */
  readonly publicKeys: readonly string[]
  /** Health, readiness and metrics; none where undefined. */
  readonly admin: Endpoint | undefined
}

export interface GuardOptions {
  /** `namespace/name` of the AccessPolicy. */
  readonly policy: string
  readonly listen: Endpoint
  readonly upstream: Endpoint
}

export interface VerificationOptions {
  /** `namespace/name` of the AccessPolicy. */
  readonly policy: string
  readonly directory: string
  /** Sets of a policy that had this name before are refused; any is taken where undefined. */
  readonly policyUid: string | undefined
}

export interface SidecarArguments extends SidecarOptions {
  readonly logLevel: LogLevel
}

export const defaultAdmin: Endpoint = { host: '127.0.0.1', port: 15490 }

export const usage = `postern sidecar: guards ports of one pod

  --guard NAMESPACE/POLICY@HOST:PORT=HOST:PORT   listen at the first address, guard the application at the second; may be given several times
  --verification NAMESPACE/POLICY=DIRECTORY      where the policy's verification ConfigMaps are mounted; once for each policy
  --public-key BASE64URL                         an Ed25519 key that signs verification sets; may be given several times
  --policy-uid NAMESPACE/POLICY=UID              refuse sets of another policy that had this name
  --admin HOST:PORT                              health, readiness and metrics (default 127.0.0.1:15490)
  --log-level LEVEL                              ${logLevels.join(', ')} (default info)
`

/** Reads the arguments behind `postern sidecar`. Throws an error that names everything that is wrong with them. */
export function parseSidecarArguments(args: readonly string[]): SidecarArguments {
  const { values } = parseArgs({
    args: [...args],
    options: {
      guard: { type: 'string', multiple: true, default: [] },
      verification: { type: 'string', multiple: true, default: [] },
      'public-key': { type: 'string', multiple: true, default: [] },
      'policy-uid': { type: 'string', multiple: true, default: [] },
      admin: { type: 'string' },
      'log-level': { type: 'string', default: 'info' },
    },
  })
  const problems: string[] = []
  const read = <T>(flag: string, texts: readonly string[], parse: (text: string) => T | undefined, form: string): T[] =>
    texts.flatMap((text) => {
      const value = parse(text)
      if (value === undefined) problems.push(`--${flag} ${text}: must have the form ${form}`)
      return value === undefined ? [] : [value]
    })

  const guards = read('guard', values.guard, parseGuard, 'NAMESPACE/POLICY@HOST:PORT=HOST:PORT')
  const uids = new Map(read('policy-uid', values['policy-uid'], parseAssignment, 'NAMESPACE/POLICY=UID'))
  const directories = read('verification', values.verification, parseAssignment, 'NAMESPACE/POLICY=DIRECTORY')
  const verification = directories.map(([policy, directory]) => ({ policy, directory, policyUid: uids.get(policy) }))
  const publicKeys = read('public-key', values['public-key'], parsePublicKey, '32 bytes in base64url')
  const [admin] = read('admin', values.admin === undefined ? [] : [values.admin], parseEndpoint, 'HOST:PORT')
  const logLevel = logLevels.find((level) => level === values['log-level'])
  if (logLevel === undefined)
    problems.push(`--log-level ${values['log-level']}: must be one of ${logLevels.join(', ')}`)

  const options = { guards, verification, publicKeys, admin: admin ?? defaultAdmin, logLevel: logLevel ?? 'info' }
  problems.push(...optionProblems(options))
  for (const policy of uids.keys()) {
    if (!directories.some(([known]) => known === policy))
      problems.push(`--policy-uid ${policy}: there is no --verification ${policy}`)
  }
  if (problems.length > 0) throw new Error(problems.join('\n'))
  return options
}

/** Whatever of the options does not go together. */
export function optionProblems({ guards, verification, publicKeys }: SidecarOptions): string[] {
  const problems: string[] = []
  if (guards.length === 0) problems.push('--guard: at least one is needed')
  if (publicKeys.length === 0) problems.push('--public-key: at least one is needed')
  const mounted = verification.map(({ policy }) => policy)
  for (const policy of new Set(guards.map((guard) => guard.policy))) {
    if (!mounted.includes(policy)) problems.push(`--guard ${policy}: there is no --verification ${policy}`)
  }
  for (const policy of duplicates(mounted)) problems.push(`--verification ${policy}: is given twice`)
  const places = guards.filter(({ listen }) => listen.port !== 0).map(({ listen }) => `${listen.host}:${listen.port}`)
  for (const place of duplicates(places)) problems.push(`--guard: two guards listen at ${place}`)
  return problems
}

const duplicates = (texts: readonly string[]): Set<string> =>
  new Set(texts.filter((text, index) => texts.indexOf(text) !== index))

const policyName = /^[a-z0-9][a-z0-9-]{0,62}\/[a-z0-9][a-z0-9-]{0,62}$/

function parseGuard(text: string): GuardOptions | undefined {
  const [policy, places, ...more] = text.split('@')
  const [listenText, upstreamText, ...others] = places?.split('=') ?? []
  const listen = parseEndpoint(listenText)
  const upstream = parseEndpoint(upstreamText)
  if (policy === undefined || !policyName.test(policy) || more.length > 0 || others.length > 0) return undefined
  return listen === undefined || upstream === undefined || upstream.port === 0
    ? undefined
    : { policy, listen, upstream }
}

function parseAssignment(text: string): [policy: string, value: string] | undefined {
  const equals = text.indexOf('=')
  const policy = text.slice(0, Math.max(0, equals))
  const value = text.slice(equals + 1)
  return policyName.test(policy) && value !== '' ? [policy, value] : undefined
}

/** A name, an IPv4 address, or an IPv6 address in brackets. */
function parseEndpoint(text: string | undefined): Endpoint | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([a-zA-Z0-9.-]+)):(\d{1,5})$/.exec(text ?? '')
  const port = Number(match?.[3])
  const host = match?.[1] ?? match?.[2]
  return host === undefined || port > 65535 ? undefined : { host, port }
}

function parsePublicKey(text: string): string | undefined {
  if (Buffer.from(text, 'base64url').toString('base64url') !== text || text.length !== 43) return undefined
  try {
    keyObject(text)
    return text
  } catch {
    return undefined
  }
}
