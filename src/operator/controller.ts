import { isDeepStrictEqual } from 'node:util'
import type { KubeObject } from '../api/object.ts'
import type { Plan } from '../core/reconcile/plan.ts'
import type { Cluster } from '../kube/cluster.ts'

/**
 * Carries out a Plan for the object that it is about: the only place that writes to the cluster. What differs from nothing
 * is not written. Rejects with the ClusterError of the first write that fails; what follows it comes with the next look.
 *
 * @param written hears of every object as the cluster now has it
 * @returns whether objects were written, so that the next look will find another state
 */
export async function carryOut(
  cluster: Cluster,
  object: KubeObject,
  plan: Plan,
  written: (object: KubeObject) => void,
): Promise<boolean> {
  for (const wanted of plan.create) written(await cluster.create(wanted))
  for (const wanted of plan.apply) written(await cluster.apply(wanted))
  for (const { resource, name } of plan.remove) await cluster.remove(resource, name)
  if (plan.status !== undefined && !isDeepStrictEqual(plan.status, object.status)) {
    const { name, namespace } = object.metadata
    const { apiVersion, kind } = object
    const metadata = { name, ...(namespace !== undefined && { namespace }) }
    written(await cluster.applyStatus({ apiVersion, kind, metadata, status: plan.status }))
  }
  for (const event of plan.events) cluster.emit({ regarding: object, ...event })
  return plan.create.length + plan.apply.length + plan.remove.length > 0
}
