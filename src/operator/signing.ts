import { labels, operatorKeys, secrets } from '../api/names.ts'
import type { Secret } from '../api/object.ts'
import { type SigningKey, signingKey } from '../core/signature.ts'
import { type Cluster, ClusterError } from '../kube/cluster.ts'

/** The operator's own secrets. */
export interface OperatorKeys {
  readonly current: SigningKey
  readonly next: SigningKey
  /** HMAC key over what managed Secrets say of themselves. */
  readonly seal: Buffer
}

/** Reads the operator's keys, or makes them where there are none yet. Two operators that begin at once end up with the same. */
export async function loadOperatorKeys(
  cluster: Cluster,
  namespace: string,
  randomBytes: (count: number) => Uint8Array,
): Promise<OperatorKeys> {
  const name = { namespace, name: operatorKeys.secretName }
  const stored =
    (await cluster.get(secrets, name)) ??
    (await createKeys(cluster, namespace, randomBytes)) ??
    (await cluster.get(secrets, name))
  const read = (part: string): Buffer => {
    const bytes = Buffer.from((stored as Secret | undefined)?.data?.[part] ?? '', 'base64')
    if (bytes.length !== 32)
      throw new Error(`Secret ${namespace}/${operatorKeys.secretName}: data.${part} must hold 32 bytes`)
    return bytes
  }
  return {
    current: signingKey(read(operatorKeys.current)),
    next: signingKey(read(operatorKeys.next)),
    seal: read(operatorKeys.seal),
  }
}

/** Undefined where somebody else was faster. */
async function createKeys(
  cluster: Cluster,
  namespace: string,
  randomBytes: (count: number) => Uint8Array,
): Promise<Secret | undefined> {
  const draw = (): string => Buffer.from(randomBytes(32)).toString('base64')
  const secret: Secret = {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { namespace, name: operatorKeys.secretName, labels: { [labels.managed]: 'true' } },
    type: 'Opaque',
    data: { [operatorKeys.current]: draw(), [operatorKeys.next]: draw(), [operatorKeys.seal]: draw() },
  }
  try {
    return await cluster.create(secret)
  } catch (error) {
    if (error instanceof ClusterError && error.code === 'AlreadyExists') return undefined
    throw error
  }
}
