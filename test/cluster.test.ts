import { randomUUID } from 'node:crypto'
import { describe, test } from 'vitest'
import { nameKey } from '../src/api/object.ts'
import { MemoryCluster } from '../src/kube/memory.ts'
import { ownResources } from '../src/kube/resources.ts'
import { clusterContract } from './cluster/contract.ts'
import { gadgetSchema, gadgets } from './cluster/gadget.ts'
import { realWorld } from './cluster/real-world.ts'
import { whyNoControlPlane } from './controlplane/find.ts'
import { useControlPlane } from './controlplane/use.ts'

clusterContract('a cluster in memory', async () => {
  const cluster = new MemoryCluster({
    now: () => new Date(),
    newUid: randomUUID,
    resources: [...ownResources, gadgets],
    schemas: [gadgetSchema],
  })
  return {
    cluster,
    newNamespace: async () => `n-${randomUUID()}`,
    put: (object) => cluster.put(object),
    replace: (object) => cluster.replace(object),
    delete: (resource, name) => cluster.delete(resource, name),
    notes: async ({ metadata }) =>
      cluster
        .events()
        .filter(({ regarding }) => nameKey(regarding.metadata) === nameKey(metadata))
        .map(({ note }) => note),
    collectsGarbage: true,
  }
})

const reason = whyNoControlPlane()
if (reason === undefined) {
  const plane = await useControlPlane()
  clusterContract('a real API server', () => realWorld(plane))
} else describe.skip(`a real API server: ${reason}`, () => test('is not there', () => {}))
