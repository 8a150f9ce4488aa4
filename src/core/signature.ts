import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto'

/** Ed25519 (RFC 8032) over manifests. Keys travel as their 32 raw bytes in base64url. */
export interface SigningKey {
  readonly publicKey: string
  readonly privateKey: KeyObject
}

/** Names a public key: the first 16 hexadecimal digits of its SHA-256. */
export const publicKeyId = (publicKey: string): string =>
  createHash('sha256').update(Buffer.from(publicKey, 'base64url')).digest('hex').slice(0, 16)

const pkcs8Prefix = Buffer.from('302e020100300506032b657004220420', 'hex')

/** The key pair that follows from 32 secret bytes. */
export function signingKey(seed: Uint8Array): SigningKey {
  const privateKey = createPrivateKey({ key: Buffer.concat([pkcs8Prefix, seed]), format: 'der', type: 'pkcs8' })
  return { privateKey, publicKey: createPublicKey(privateKey).export({ format: 'jwk' }).x! }
}

/** One line of `manifest.sig`. */
export const signatureLine = (key: SigningKey, manifest: string): string =>
  `${publicKeyId(key.publicKey)} ${sign(null, Buffer.from(manifest), key.privateKey).toString('base64url')}\n`

/** Whether any line of `signatures` is a signature over the manifest by any of the keys. */
export function isSigned(manifest: Buffer, signatures: string, publicKeys: Iterable<string>): boolean {
  const trusted = new Map(Array.from(publicKeys, (key) => [publicKeyId(key), key]))
  return signatures.split('\n', 8).some((line) => {
    const [id, signature, ...rest] = line.split(' ')
    const publicKey = trusted.get(id!)
    if (publicKey === undefined || !signature || rest.length > 0) return false
    return verify(null, manifest, keyObject(publicKey), Buffer.from(signature, 'base64url'))
  })
}

/** Throws where the text is not an Ed25519 public key. */
export const keyObject = (publicKey: string): KeyObject =>
  createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: publicKey }, format: 'jwk' })
