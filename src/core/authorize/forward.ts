import type { IdentityHeader } from '../../api/access-policy.ts'
import { digestOf, hasKeyPrefix } from '../key.ts'
import { type Client, findClient, peerIsTrusted } from './client-address.ts'
import { findCredential, withoutQueryCredential } from './credential.ts'
import type { Allowed, KeyEntry } from './decision.ts'
import type { Inquiry } from './inquiry.ts'

/** What the application receives of a request that may pass. With no key found, the request is public. */
export function forward(inquiry: Inquiry): Allowed {
  const { facts, guard, key, target } = inquiry
  // An application under audit is to notice nothing of it: it may have keys of its own.
  const isAudit = guard.document.mode === 'Audit'
  const forwardCredential = isAudit || guard.document.forwardCredential
  const believesProxy = peerIsTrusted(guard.clientAddress, facts.peer)
  let lines = ''
  for (let index = 0; index < facts.fields.length; index += 2) {
    const name = facts.fields[index]!
    switch (guard.classify(name)) {
      case 'pass':
        if (inquiry.nominated?.includes(name.toLowerCase())) continue
        break
      case 'host':
      case 'inspected':
        break
      case 'credential':
        if (!forwardCredential) continue
        break
      case 'authorization':
        if (!forwardCredential && holdsKey(inquiry, facts.fields[index + 1]!)) continue
        break
      case 'from-proxy':
        if (!believesProxy) continue
        break
      default:
        continue
    }
    lines += `${name}: ${facts.fields[index + 1]}\r\n`
  }
  const name = isAudit ? undefined : inquiry.interface
  if (key && name !== undefined)
    for (const header of guard.document.identityHeaders) lines += identityLine(header, key, name)
  const client = findClient(guard.clientAddress, facts, guard.classify)
  if (client) lines += forwardedForLine(client)
  return {
    allow: true,
    facts,
    key,
    interface: name,
    target: target.path + (forwardCredential ? target.query : withoutQueryCredential(guard.places, target.query)),
    fieldLines: lines,
    body: inquiry.body,
    allowance: isAudit ? undefined : inquiry.allowance,
  }
}

const forwardedForLine = ({ text }: Client): string => `X-Forwarded-For: ${text}\r\n`

/** Whether an Authorization field carries the key, rather than something that the application wants for itself. */
function holdsKey({ place, guard, set }: Inquiry, value: string): boolean {
  if (place === 'authorization') return true
  // A public path: nothing was looked at, but a key that came along is still none of the application's business.
  const { keyPrefix } = guard.document
  const presented = findCredential(guard.places, ['authorization', value], '', guard.classify, keyPrefix)
  if (presented.place !== 'authorization') return false
  return presented.candidates.some(({ key }) => hasKeyPrefix(key, keyPrefix) || set!.find(digestOf(key)) !== undefined)
}

const identityLine = (header: IdentityHeader, key: KeyEntry, interfaceName: string): string =>
  `${header.name}: ${identityValue(header, key, interfaceName)}\r\n`

/** What an identity header says of a request that presented this key. */
export function identityValue({ value }: IdentityHeader, key: KeyEntry, interfaceName: string): string {
  switch (value) {
    case 'KeyId':
      return key.keyId
    case 'KeyName':
      return key.name
    case 'KeyNamespace':
      return key.namespace
    case 'Roles':
      return key.roles.join(',')
    case 'Interface':
      return interfaceName
  }
}
