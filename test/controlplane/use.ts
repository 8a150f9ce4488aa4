import { type IncomingMessage, request } from 'node:http'
import { text } from 'node:stream/consumers'
import { afterAll, inject } from 'vitest'
import { type Address, accessTo, type ControlPlane } from './access.ts'

/**
 * The control plane that all test files share: the cluster of KUBECONFIG_TEST, or one that starts for the first file that
 * asks. Await it at the top of a test file, where no timeout runs while it is built for the first time:
 *
 *     const plane = await useControlPlane()
 *
 * Each test works in a namespace of its own (`plane.createNamespace()`). Whatever acts on all namespaces, such as an
 * operator, or changes the cluster's own objects differently from others, belongs on a control plane of its own
 * (`startControlPlane()`), since other files run at the same time.
 */
export async function useControlPlane(): Promise<ControlPlane> {
  const plane = accessTo(await sharedAddress())
  const namespaces: string[] = []
  if (plane.servingCertificate === undefined) {
    afterAll(async () => {
      if (namespaces.length > 0) await plane.kubectl(['delete', 'namespace', '--wait=false', ...namespaces])
    })
  }
  return {
    ...plane,
    async createNamespace(labels) {
      const name = await plane.createNamespace(labels)
      namespaces.push(name)
      return name
    },
  }
}

async function sharedAddress(): Promise<Address> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    request({ socketPath: inject('controlPlaneSocket'), path: '/' }, resolve)
      .on('error', reject)
      .end()
  })
  const body = await text(response)
  if (response.statusCode !== 200) throw new Error(`no control plane: ${body}`)
  return JSON.parse(body) as Address
}
