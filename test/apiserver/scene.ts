import { createHash } from 'node:crypto'
import { accessPolicies, apiKeys, secrets } from '../../src/api/names.ts'
import { eventually } from '../support/wait.ts'
import type { Installed } from './installed.ts'

/** A namespace of a test's own, with what tests say again and again. */
export async function newScene(postern: Installed, namespaceLabels: Readonly<Record<string, string>> = {}) {
  const { objects, plane } = postern
  const namespace = await plane.createNamespace(namespaceLabels)
  const at = (name: string) => ({ namespace, name })
  const asking = (policy = 'orders') => ({ access: [{ policy: { name: policy } }] })
  return {
    namespace,
    at,
    policy: (spec: object = {}, name = 'orders') =>
      objects.apply(accessPolicies, {
        metadata: at(name),
        spec: { workloadSelector: { matchLabels: { app: name } }, ports: [{ port: 8080 }], ...spec },
      }),
    key: (name: string, spec: object = asking()) => objects.apply(apiKeys, { metadata: at(name), spec }),
    secret: (name: string, data: Readonly<Record<string, string>>) =>
      objects.apply(secrets, {
        metadata: at(name),
        data: Object.fromEntries(Object.entries(data).map(([key, text]) => [key, base64(text)])),
      }),
    asking,
    value: (name: string) => postern.keyIn(namespace, name),
    ready: (name: string, reason = 'Ready') => objects.untilCondition(apiKeys, at(name), 'Ready', reason),
    policyReady: (name = 'orders', reason = 'Ready') =>
      objects.untilCondition(accessPolicies, at(name), 'Ready', reason),
    /** Waits until a sidecar with the published set would say this. */
    judged: (key: string, verdict: string, policy = 'orders') =>
      eventually(
        `the key to be ${verdict}`,
        async () => (await postern.verdict(namespace, policy, key)) === verdict,
        30,
      ),
  }
}

export const base64 = (text: string): string => Buffer.from(text).toString('base64')
/** SHA-256 in hexadecimal. */
export const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex')
