import { type AddressRange, parseCidr } from '../core/address.ts'
import { keyObject } from '../core/signature.ts'
import { UsageError } from '../runtime/usage-error.ts'
import { defaultLimits, type Limits } from './http1/limits.ts'
import type { Endpoint } from './http1/proxy-listener.ts'

/** What a sidecar guards, and by what. */
export interface SidecarOptions {
  readonly guards: readonly GuardOptions[]
  /** For each policy, where its verification set is mounted. */
  readonly verification: readonly VerificationOptions[]
  /** Ed25519 keys that may have signed the sets, base64url. */
  readonly publicKeys: readonly string[]
  /** Health, readiness and metrics; none where undefined. */
  readonly admin: Endpoint | undefined
  readonly limits: Limits
  readonly decisions?: DecisionOptions | undefined
}

/** Where gateways may ask about requests that pass through them, for any of the policies. */
export interface DecisionOptions {
  /** For HTTP/1.1; none where undefined. */
  readonly http?: Endpoint | undefined
  /** For gRPC; none where undefined. */
  readonly grpc?: Endpoint | undefined
  /** Addresses that may ask. */
  readonly trustedPeers: readonly AddressRange[]
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

/** The options as they were written, each as often as it was given. */
export interface SidecarTexts extends DecisionTexts {
  /** `NAMESPACE/POLICY@HOST:PORT=HOST:PORT`: listen at the first address, guard the application at the second. */
  readonly guard: readonly string[]
  /** `NAMESPACE/POLICY=DIRECTORY` */
  readonly verification: readonly string[]
  readonly publicKey: readonly string[]
  /** `NAMESPACE/POLICY=UID` */
  readonly policyUid: readonly string[]
  /** `NAME=NUMBER`, by the names of Limits. */
  readonly limit: readonly string[]
  readonly admin: Endpoint | undefined
}

export interface DecisionTexts {
  readonly decisions?: Endpoint | undefined
  readonly decisionsGrpc?: Endpoint | undefined
  /** Addresses and CIDRs, separated by commas */
  readonly trustedPeers?: readonly string[]
}

/** Reads what was written. Throws an error that names everything that is wrong with it. */
export function readSidecarOptions(texts: SidecarTexts): SidecarOptions {
  const problems: string[] = []
  const read = <T>(flag: string, given: readonly string[], parse: (text: string) => T | undefined, form: string): T[] =>
    given.flatMap((text) => {
      const value = parse(text)
      if (value === undefined) problems.push(`--${flag} ${text}: must have the form ${form}`)
      return value === undefined ? [] : [value]
    })

  const guards = read('guard', texts.guard, parseGuard, 'NAMESPACE/POLICY@HOST:PORT=HOST:PORT')
  const uids = new Map(read('policy-uid', texts.policyUid, parseAssignment, 'NAMESPACE/POLICY=UID'))
  const directories = read('verification', texts.verification, parseAssignment, 'NAMESPACE/POLICY=DIRECTORY')
  const verification = directories.map(([policy, directory]) => ({ policy, directory, policyUid: uids.get(policy) }))
  const publicKeys = read('public-key', texts.publicKey, parsePublicKey, '32 bytes in base64url')
  const changes = read(
    'limit',
    texts.limit,
    parseLimit,
    `NAME=NUMBER, with a name of ${Object.keys(defaultLimits).join(', ')}`,
  )
  const decisions = readDecisions(texts, problems)
  const limits = { ...defaultLimits, ...Object.fromEntries(changes) }

  const options = { guards, verification, publicKeys, admin: texts.admin, limits, decisions }
  problems.push(...optionProblems(options))
  for (const policy of uids.keys()) {
    if (!directories.some(([known]) => known === policy)) {
      problems.push(`--policy-uid ${policy}: there is no --verification ${policy}`)
    }
  }
  if (problems.length > 0) throw new UsageError(problems.join('\n'))
  return options
}

/** Reads guards alone. Throws an error that names each that is malformed. */
export function readGuards(texts: readonly string[]): GuardOptions[] {
  const wrong = texts.filter((text) => parseGuard(text) === undefined)
  if (texts.length === 0) throw new UsageError('--guard: at least one is needed')
  if (wrong.length > 0) {
    throw new UsageError(
      wrong.map((text) => `--guard ${text}: must have the form NAMESPACE/POLICY@HOST:PORT=HOST:PORT`).join('\n'),
    )
  }
  return texts.map((text) => parseGuard(text)!)
}

/** Where gateways may ask, and which; undefined where none may. What is malformed goes to `problems`. */
export function readDecisions(
  { decisions: http, decisionsGrpc: grpc, trustedPeers: texts = [] }: DecisionTexts,
  problems: string[],
): DecisionOptions | undefined {
  const trustedPeers = texts
    .flatMap((text) => text.split(','))
    .flatMap((text) => {
      const range = parseCidr(text)
      if (range === undefined)
        problems.push(`--trusted-peers ${text}: must have the form ADDRESS or CIDR without host bits`)
      return range ?? []
    })
  return http || grpc || trustedPeers.length > 0 ? { http, grpc, trustedPeers } : undefined
}

/** Whatever of the options does not go together. */
export function optionProblems({
  guards,
  verification,
  publicKeys,
  decisions,
}: Pick<SidecarOptions, 'guards' | 'verification' | 'publicKeys' | 'decisions'>): string[] {
  const problems: string[] = []
  const asked = decisions?.http !== undefined || decisions?.grpc !== undefined
  if (guards.length === 0 && !asked) problems.push('--guard: at least one is needed, or --decisions')
  if (asked && verification.length === 0) problems.push('--verification: --decisions needs at least one')
  if (!asked && (decisions?.trustedPeers.length ?? 0) > 0)
    problems.push('--trusted-peers: there is nothing to ask without --decisions or --decisions-grpc')
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

function parseLimit(text: string): [name: string, value: number] | undefined {
  const [name, value, ...more] = text.split('=')
  if (name === undefined || !Object.hasOwn(defaultLimits, name) || more.length > 0) return undefined
  return /^[1-9]\d{0,8}$/.test(value ?? '') ? [name, Number(value)] : undefined
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
