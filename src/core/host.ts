import { parseAddress } from './address.ts'

const hostField =
  /^(?:([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?)\.?|(\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]))(?::[0-9]{1,5})?$/

/** The host of a Host field or an authority: lower case, without port or a dot at the end. Undefined where it is malformed. */
export function parseHost(text: string): string | undefined {
  const match = hostField.exec(text)
  if (!match) return undefined
  const [, name, literal] = match
  if (literal !== undefined && !parseAddress(literal.slice(1, -1))) return undefined
  return (name ?? literal)!.toLowerCase()
}

/** Which hosts a policy answers to. */
export interface HostMatcher {
  readonly exact: ReadonlySet<string>
  /** What must follow the first label, with its dot. */
  readonly wildcards: ReadonlySet<string>
}

export const compileHosts = (hosts: readonly string[]): HostMatcher => ({
  exact: new Set(hosts.filter((host) => !host.startsWith('*.'))),
  wildcards: new Set(hosts.filter((host) => host.startsWith('*.')).map((host) => host.slice(1))),
})

export function hostMatches({ exact, wildcards }: HostMatcher, host: string): boolean {
  if (exact.size === 0 && wildcards.size === 0) return true
  const dot = host.indexOf('.')
  return exact.has(host) || (dot > 0 && wildcards.has(host.slice(dot)))
}
