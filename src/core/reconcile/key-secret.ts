import { createHmac, timingSafeEqual } from 'node:crypto'
import type { ApiKeySpec } from '../../api/api-key.ts'
import { annotations, apiKeys, labels, managerName, secretData } from '../../api/names.ts'
import type { KubeObject, Secret } from '../../api/object.ts'
import { digestFromText, digestOf, digestToText, partsOf } from '../key.ts'

/** One value of a key, without the value. */
export interface KeyValue {
  /** Counts the values of a key, from 1. */
  readonly revision: number
  /** SHA-256 of the whole key, base64url. */
  readonly digest: string
  /** RFC 3339. */
  readonly createdTime: string
}

/** What a key's Secret turns out to be. */
export type SecretFacts =
  | { readonly state: 'Absent' }
  /** Somebody else's, of the same name. With an owner that Kubernetes will remove, it may go by itself. */
  | { readonly state: 'NotOwned'; readonly ofFormerKey: boolean }
  /** Ours, but its value or what we wrote about it was changed. */
  | { readonly state: 'Tampered' }
  | {
      readonly state: 'Valid'
      readonly keyId: string
      readonly values: readonly KeyValue[]
      /** The Secret as it should be, where it is not: an object to apply. Holds the key. */
      readonly repair: Secret | undefined
    }

/** The key and what belongs to it. */
export interface KeyOwner {
  readonly name: string
  readonly namespace: string
  readonly uid: string
  readonly spec: ApiKeySpec
}

export const secretNameOf = ({ name, spec }: Pick<KeyOwner, 'name' | 'spec'>): string => spec.secret?.name ?? name

/** The Secret for a key. `seal` authenticates what it says of its values. */
export function renderSecret(owner: KeyOwner, key: string, values: readonly KeyValue[], seal: Buffer): Secret {
  const { prefix, keyId, secret, check } = partsOf(key)!
  const template = owner.spec.secret?.template ?? {
    [secretData.key]: '$(key)',
    [secretData.keyId]: '$(keyId)',
    [secretData.secret]: '$(secret)',
  }
  const layout = [
    Object.keys(template),
    Object.keys(owner.spec.secret?.labels ?? {}),
    Object.keys(owner.spec.secret?.annotations ?? {}),
  ].map((names) => names.sort().join())
  const placeholders: Readonly<Record<string, string>> = { key, keyId, secret: secret + check }
  const fill = (text: string): string =>
    text.replace(/\$\((key|keyId|secret)\)/g, (_, name: string) => placeholders[name]!)
  const data = Object.fromEntries(
    Object.entries(template).map(([name, text]) => [name, Buffer.from(fill(text)).toString('base64')]),
  )
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: {
      name: secretNameOf(owner),
      namespace: owner.namespace,
      labels: { ...owner.spec.secret?.labels, [labels.managed]: 'true', 'app.kubernetes.io/managed-by': managerName },
      annotations: {
        ...owner.spec.secret?.annotations,
        [annotations.values]: sealValues(owner.uid, { prefix, keyId, values, layout }, data, seal),
      },
      ownerReferences: [
        {
          apiVersion: apiKeys.apiVersion,
          kind: apiKeys.kind,
          name: owner.name,
          uid: owner.uid,
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
    },
    type: 'Opaque',
    data,
  }
}

/** Reads a Secret of the name that the key's should have. */
export function inspectSecret(owner: KeyOwner, secret: Secret | undefined, seal: Buffer): SecretFacts {
  if (!secret) return { state: 'Absent' }
  const owners = secret.metadata.ownerReferences ?? []
  // Our label may have been taken off: what we wrote under our seal still tells that it is ours, and the label comes back.
  if (!owners.some(({ uid }) => uid === owner.uid)) {
    return {
      state: 'NotOwned',
      ofFormerKey: owners.some(({ kind, name }) => kind === apiKeys.kind && name === owner.name),
    }
  }
  const sealed = openValues(owner.uid, secret, seal)
  const current = sealed?.values.at(-1)
  if (!sealed || !current) return { state: 'Tampered' }
  const key = findKey(secret, sealed, current.digest)
  if (key === undefined) return { state: 'Tampered' }
  const wanted = renderSecret(owner, key, sealed.values, seal)
  const repair = isAsWanted(secret, wanted)
    ? undefined
    : {
        ...wanted,
        metadata: { ...wanted.metadata, uid: secret.metadata.uid!, resourceVersion: secret.metadata.resourceVersion! },
      }
  return { state: 'Valid', keyId: sealed.keyId, values: sealed.values, repair }
}

interface Sealed {
  /** What generated keys began with when this one was made. */
  readonly prefix: string
  readonly keyId: string
  readonly values: readonly KeyValue[]
  /** Names of data, labels and annotations that we wrote: one that is no longer wanted shows only here. */
  readonly layout: readonly string[]
}

function sealValues(uid: string, { prefix, keyId, values, layout }: Sealed, data: Data, seal: Buffer): string {
  const shown = values.map((value) => ({ ...value, digest: digestToText(value.digest) }))
  const text = JSON.stringify({ prefix, keyId, values: shown, layout })
  const mac = macOf(uid, text + writtenData(layout, data), seal).toString('base64url')
  return JSON.stringify({ prefix, keyId, values: shown, layout, mac })
}

/** Undefined where anything that we wrote, data included, is not as we wrote it. */
function openValues(uid: string, { metadata, data = {} }: Secret, seal: Buffer): Sealed | undefined {
  try {
    const text = metadata.annotations?.[annotations.values] ?? ''
    const { mac, prefix, keyId, values, layout } = JSON.parse(text) as Sealed & { readonly mac: string }
    const given = Buffer.from(mac, 'base64url')
    const sealed = JSON.stringify({ prefix, keyId, values, layout })
    const expected = macOf(uid, sealed + writtenData(layout, data), seal)
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined
    return {
      prefix,
      keyId,
      values: values.map((value) => ({ ...value, digest: digestFromText(value.digest) })),
      layout,
    }
  } catch {
    return undefined
  }
}

type Data = Readonly<Record<string, string>>

/** The entries of the data that we wrote, as a text; what others added beside them is theirs. */
const writtenData = ([names = '']: readonly string[], data: Data): string =>
  JSON.stringify(names.split(',').map((name) => [name, data[name]]))

const macOf = (uid: string, text: string, seal: Buffer): Buffer =>
  createHmac('sha256', seal).update(`${uid} ${text}`).digest()

/**
 * The key in a Secret, by its digest: as a whole, or as its id and secret where a template has them apart. The template
 * that wrote the data may have been another than today's.
 */
function findKey(secret: Secret, { prefix, keyId }: Sealed, digest: string): string | undefined {
  for (const encoded of Object.values(secret.data ?? {})) {
    if (encoded.length > longestData) continue
    const text = Buffer.from(encoded, 'base64').toString('latin1')
    // Overlapping on purpose: a template may put letters right before the secret.
    for (const match of text.matchAll(/(?=([0-9A-Za-z]{49}))/g)) {
      const key = `${prefix}_${keyId}_${match[1]}`
      if (partsOf(key) && digestOf(key).toString('base64url') === digest) return key
    }
  }
  return undefined
}

/** More than any template renders to, in base64; others may put a megabyte into the same Secret. */
const longestData = 128 * 1024

/** Whether the Secret holds everything that we want in it; what others added is theirs. */
function isAsWanted(secret: Secret, wanted: Secret): boolean {
  const holds = (actual: Readonly<Record<string, string>> = {}, part: Readonly<Record<string, string>> = {}): boolean =>
    Object.entries(part).every(([name, value]) => actual[name] === value)
  return (
    holds(secret.data, wanted.data) &&
    holds(secret.metadata.labels, wanted.metadata.labels) &&
    holds(secret.metadata.annotations, wanted.metadata.annotations)
  )
}

/** An object as what it is an object of, for messages. */
export const titleOf = ({ kind, metadata }: KubeObject): string => `${kind} ${metadata.namespace}/${metadata.name}`
