import type { PolicyDocument } from '../../api/verification.ts'
import type { Allowed } from '../../core/authorize/decision.ts'
import { identityValue } from '../../core/authorize/forward.ts'
import type { Guard } from '../../core/authorize/guard.ts'

export interface IdentityField {
  readonly name: string
  /** Visible ASCII and spaces: gateways take anything else for an error, which some of them let pass. */
  readonly value: string
}

/** What the application is told about whose key it was; nothing where the request is public. */
export function identityFields({ key, interface: name }: Allowed, document: PolicyDocument): readonly IdentityField[] {
  if (key === undefined || name === undefined) return []
  return document.identityHeaders.map((header) => ({
    name: header.name,
    value: inAscii(identityValue(header, key, name)),
  }))
}

/** The same as lines of a head, each with its CRLF. */
export const identityLines = (allowed: Allowed, { document }: Guard): string =>
  identityFields(allowed, document)
    .map(({ name, value }) => `${name}: ${value}\r\n`)
    .join('')

const inAscii = (text: string): string =>
  /^[ -~]*$/.test(text) ? text : text.toWellFormed().replace(/[^ -~]/gu, encodeURIComponent)

/**
 * Whether a client sent an identity header under a name that many servers take for it, as `X_Auth_Subject`. Gateways
 * replace the header itself, but pass on what merely looks like it.
 */
export function hasDisguisedIdentity(fields: readonly string[], { identityHeaders }: PolicyDocument): boolean {
  for (let index = 0; index < fields.length; index += 2) {
    const name = fields[index]!
    if (/^[A-Za-z0-9-]*$/.test(name)) continue
    const normal = normalName(name)
    if (identityHeaders.some((header) => normalName(header.name) === normal)) return true
  }
  return false
}

const normalName = (name: string): string => name.toLowerCase().replace(/[^a-z0-9]/g, '-')
