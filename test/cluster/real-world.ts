import { expect } from 'vitest'
import type { KubeObject } from '../../src/api/object.ts'
import { connect } from '../../src/kube/client.ts'
import { ownResources } from '../../src/kube/resources.ts'
import type { ControlPlane } from '../controlplane/access.ts'
import type { World } from './contract.ts'
import { gadgetDefinition, gadgets } from './gadget.ts'

/** A real API server; somebody else is kubectl. */
export const realWorld = async (plane: ControlPlane): Promise<World> => {
  const kubectl = async (args: readonly string[], input?: object): Promise<string> => {
    const { code, stdout, stderr } = await plane.kubectl(args, input === undefined ? {} : { input })
    expect(code, stderr).toBe(0)
    return stdout
  }
  const write = async (args: readonly string[], object: KubeObject) => {
    return JSON.parse(await kubectl([...args, '-f', '-', '-o', 'json'], object)) as KubeObject
  }
  await kubectl(['apply', '--server-side', '-f', '-'], gadgetDefinition)
  await kubectl(['wait', '--for=condition=Established', `crd/${gadgetDefinition.metadata.name}`])
  const cluster = connect({
    kubeconfig: plane.kubeconfig,
    userAgent: 'postern-test',
    resources: [...ownResources, gadgets],
  })
  return {
    cluster,
    newNamespace: () => plane.createNamespace(),
    put: (object) => write(['apply', '--server-side', '--field-manager=user', '--force-conflicts'], object),
    replace: (object) => write(['replace', '--validate=ignore'], object),
    delete: async ({ plural, apiVersion }, { namespace = '', name }) => {
      const group = apiVersion.includes('/') ? `.${apiVersion.split('/')[0]}` : ''
      await kubectl(['delete', `${plural}${group}`, name, '--namespace', namespace, '--wait=false'])
    },
    notes: async ({ metadata: { namespace = '', name } }) => {
      const events = await kubectl(['get', 'events.events.k8s.io', '--namespace', namespace, '-o', 'json'])
      const { items } = JSON.parse(events) as { items: { regarding: { name: string }; note: string }[] }
      return items.filter(({ regarding }) => regarding.name === name).map(({ note }) => note)
    },
    collectsGarbage: plane.servingCertificate !== undefined,
  }
}
