import type { PolicyPlan } from '../core/reconcile/access-policy.ts'
import type { Publication } from '../core/reconcile/api-key.ts'
import type { AdmittedKey } from '../core/reconcile/publish.ts'

/** What each policy's published set says of each key, as far as this process has seen it match the cluster. */
export class Publications {
  private readonly policies = new Map<string, Published>()

  /** Takes in a look at a policy. Returns the keys, as namespace/name, whose state is another than before. */
  note(
    policy: string,
    { admitted, omitted, isPublished }: Pick<PolicyPlan, 'admitted' | 'omitted' | 'isPublished'>,
  ): string[] {
    if (!isPublished) return []
    const before = this.policies.get(policy)
    const keys = new Map<string, string>()
    for (const [name, key] of admitted) if (!omitted.has(name)) keys.set(name, fingerprint(key))
    this.policies.set(policy, { keys, omitted })
    return [
      ...new Set([...keys.keys(), ...omitted, ...(before?.keys.keys() ?? []), ...(before?.omitted ?? [])]),
    ].filter(
      (name) => keys.get(name) !== before?.keys.get(name) || omitted.has(name) !== (before?.omitted.has(name) ?? false),
    )
  }

  forget(policy: string): void {
    this.policies.delete(policy)
  }

  state(policy: string, key: string, wanted: AdmittedKey): Publication {
    const published = this.policies.get(policy)
    if (published?.keys.get(key) === fingerprint(wanted)) return 'Published'
    return published?.omitted.has(key) ? 'CapacityExceeded' : 'Pending'
  }
}

interface Published {
  readonly keys: ReadonlyMap<string, string>
  readonly omitted: ReadonlySet<string>
}

const fingerprint = (key: AdmittedKey): string => JSON.stringify(key)
