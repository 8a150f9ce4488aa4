import { randomBytes } from 'node:crypto'
import type { AccessPolicy } from '../../src/api/access-policy.ts'
import { openSet, type VerificationSet } from '../../src/core/authorize/set.ts'
import { digestOf, mintKey, parseKey } from '../../src/core/key.ts'
import { compilePolicy } from '../../src/core/policy.ts'
import { type AdmittedKey, writeConfigMaps, writeContent } from '../../src/core/reconcile/publish.ts'
import { signingKey } from '../../src/core/signature.ts'

export interface BenchSet {
  /** The files of the set, as a directory would hold them. */
  readonly files: ReadonlyMap<string, Buffer>
  readonly publicKeys: readonly string[]
  /** Live keys, in the order in which they were made. */
  readonly keys: readonly string[]
  readonly expiredKey: string
}

/** A verification set of the policy bench/bench with so many keys, made by the very code that publishes. */
export function makeSet(count: number, spec: object = {}): BenchSet {
  const shards = [1, 2, 4, 8, 16, 32].find((candidate) => count / candidate <= 8500)
  if (shards === undefined) throw new Error(`${count} keys do not fit into 32 shards`)
  const compiled = compilePolicy(
    {
      apiVersion: 'postern.dev/v1alpha1',
      kind: 'AccessPolicy',
      metadata: { name: 'bench', namespace: 'bench', uid: 'uid-of-bench' },
      spec: {
        workloadSelector: { matchLabels: { app: 'bench' } },
        ports: [{ port: 8080 }],
        verification: { shards },
        ...spec,
      },
    } as AccessPolicy,
    'pstn',
  )
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.problems))
  const keys = Array.from({ length: count }, () => mintKey('pstn', randomBytes))
  const expiredKey = mintKey('pstn', randomBytes)
  const admitted = [...keys, expiredKey].map(
    (key, index): AdmittedKey => ({
      namespace: 'bench',
      name: `client-${index}`,
      keyId: parseKey(key, 'pstn')!.keyId,
      enabled: true,
      createdTime: '2026-01-01T00:00:00Z',
      roles: [],
      access: [{ interfaces: [...compiled.value.interfaces.values()] }],
      addresses: [],
      values: [
        {
          digest: digestOf(key).toString('base64url'),
          notBefore: 0,
          notAfter: key === expiredKey ? Math.floor(Date.now() / 1000) - 60 : 0,
        },
      ],
    }),
  )
  const now = new Date()
  const content = writeContent(compiled.value, admitted, new Set(), now)
  if (content.omitted.size > 0) throw new Error(`${content.omitted.size} keys did not fit`)
  const [current, next] = [signingKey(randomBytes(32)), signingKey(randomBytes(32))]
  const edition = {
    epoch: now.getTime(),
    sequence: 1,
    publishedTime: now,
    signingKey: current,
    nextPublicKey: next.publicKey,
  }
  const files = new Map(
    writeConfigMaps(compiled.value, content, edition).flatMap(({ data = {} }) =>
      Object.entries(data).map(([name, text]) => [name, Buffer.from(text)] as const),
    ),
  )
  return { files, publicKeys: [current.publicKey, next.publicKey], keys, expiredKey }
}

/** Opens a set in one go, and says how long its longest step took, in milliseconds. */
export function loadSet({ files, publicKeys }: BenchSet): {
  readonly set: VerificationSet
  readonly totalMilliseconds: number
  readonly longestStepMilliseconds: number
} {
  const steps = openSet(files, { namespace: 'bench', policy: 'bench', publicKeys })
  const begun = performance.now()
  let longestStepMilliseconds = 0
  for (;;) {
    const before = performance.now()
    const step = steps.next()
    longestStepMilliseconds = Math.max(longestStepMilliseconds, performance.now() - before)
    if (!step.done) continue
    if (step.value.outcome !== 'opened') throw new Error(JSON.stringify(step.value))
    return { set: step.value.set, totalMilliseconds: performance.now() - begun, longestStepMilliseconds }
  }
}
