import { randomUUID } from 'node:crypto'
import { nameKey } from '../src/api/object.ts'
import { MemoryCluster } from '../src/kube/memory.ts'
import { ownResources } from '../src/kube/resources.ts'
import { clusterContract } from './cluster/contract.ts'
import { gadgetSchema, gadgets } from './cluster/gadget.ts'

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
