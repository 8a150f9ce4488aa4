import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { get } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import type { ControlPlane } from '../controlplane/access.ts'
import { type OwnControlPlane, startControlPlane } from '../controlplane/start.ts'
import { useControlPlane } from '../controlplane/use.ts'
import { configMapsIn, mountConfigMaps } from '../support/kubelet.ts'
import { eventually } from '../support/wait.ts'

const plane = await useControlPlane()

const configMap = (name: string, data: Record<string, string>, metadata: object = {}) => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, ...metadata },
  data,
})

const applied = async (on: ControlPlane, namespace: string, object: object): Promise<{ metadata: { uid: string } }> => {
  const args = ['apply', '--server-side', '--namespace', namespace, '--filename', '-', '--output', 'json']
  const { stdout, stderr, code } = await on.kubectl(args, { input: object })
  expect(stderr).toBe('')
  expect(code).toBe(0)
  return JSON.parse(stdout) as { metadata: { uid: string } }
}

const keyOf = async (on: ControlPlane, namespace: string, name: string): Promise<string> => {
  const args = [
    'get',
    'configmap',
    name,
    '--namespace',
    namespace,
    '--ignore-not-found',
    '--output',
    'jsonpath={.data.key}',
  ]
  const { stdout, stderr } = await on.kubectl(args)
  expect(stderr).toBe('')
  return stdout
}

describe('the shared control plane', () => {
  test('gives every test a namespace of its own, with the labels asked for', async () => {
    const [one, other] = await Promise.all([plane.createNamespace({ team: 'a' }), plane.createNamespace()])
    expect(one).not.toBe(other)
    const { stdout } = await plane.kubectl(['get', 'namespaces', '--selector', 'team=a', '--output', 'name'])
    expect(stdout.split('\n')).toContain(`namespace/${one}`)
  })

  test('keeps what is applied on the server side', async () => {
    const namespace = await plane.createNamespace()
    await applied(plane, namespace, configMap('settings', { key: 'first' }))
    await applied(plane, namespace, configMap('settings', { key: 'second' }))
    expect(await keyOf(plane, namespace, 'settings')).toBe('second')
  })

  test('refuses a ServiceAccount what RBAC does not grant, and allows what it does', async () => {
    const namespace = await plane.createNamespace()
    await plane.kubectl(['create', 'serviceaccount', 'reader', '--namespace', namespace])
    const kubeconfig = await plane.kubeconfigFor({ serviceAccount: { namespace, name: 'reader' } })
    const read = ['get', 'configmaps', '--namespace', namespace]

    const before = await plane.kubectl(read, { kubeconfig })
    expect(before.code).toBe(1)
    expect(before.stderr).toContain(
      `User "system:serviceaccount:${namespace}:reader" cannot list resource "configmaps"`,
    )

    const binding = ['create', 'rolebinding', 'reader', '--clusterrole=view', `--serviceaccount=${namespace}:reader`]
    await plane.kubectl([...binding, '--namespace', namespace])
    await eventually('the grant', async () => (await plane.kubectl(read, { kubeconfig })).code === 0)
    const secrets = await plane.kubectl(['get', 'secrets', '--namespace', namespace], { kubeconfig })
    expect(secrets.stderr).toContain('forbidden')
  })

  test('knows a user by name and groups', async () => {
    const kubeconfig = await plane.kubeconfigFor({ user: 'jane/ops', groups: ['team:a', 'team:b'] })
    const { stdout } = await plane.kubectl(['auth', 'whoami', '--output', 'json'], { kubeconfig })
    const { userInfo } = (JSON.parse(stdout) as { status: { userInfo: object } }).status
    expect(userInfo).toMatchObject({ username: 'jane/ops', groups: expect.arrayContaining(['team:a', 'team:b']) })
  })

  // Of a cluster that is not ours we cannot say.
  test.skipIf(plane.servingCertificate === undefined)(
    'answers nobody without credentials, except about its health',
    async () => {
      expect(await statusWithoutCredentials('/readyz')).toBe(200)
      expect(await statusWithoutCredentials('/version')).toBe(401)
      expect(await statusWithoutCredentials('/api/v1/namespaces')).toBe(401)
    },
  )

  test('removes what an object owned when the object is deleted', async () => {
    const namespace = await plane.createNamespace()
    const owner = await applied(plane, namespace, configMap('owner', {}))
    const { uid } = owner.metadata
    const ownerReferences = [{ apiVersion: 'v1', kind: 'ConfigMap', name: 'owner', uid }]
    await applied(plane, namespace, configMap('owned', { key: 'here' }, { ownerReferences }))
    await applied(plane, namespace, configMap('free', { key: 'here' }))

    await plane.kubectl(['delete', 'configmap', 'owner', '--namespace', namespace])
    await eventually('the removal', async () => (await keyOf(plane, namespace, 'owned')) === '')
    expect(await keyOf(plane, namespace, 'free')).toBe('here')
  })
})

test('a mounted volume follows the ConfigMaps of the API server', async () => {
  const namespace = await plane.createNamespace()
  const directory = mkdtempSync(join(tmpdir(), 'postern-volume-'))
  const volume = await mountConfigMaps({ read: configMapsIn(plane, namespace), names: ['a', 'b'], directory })
  const fileIs = (name: string, text: string) => () => readFileSync(join(directory, name), 'utf8') === text
  try {
    await applied(plane, namespace, configMap('a', { one: '1' }))
    await applied(plane, namespace, configMap('b', { two: '1' }))
    expect(await volume.sync()).toBe(true)
    expect(fileIs('one', '1')() && fileIs('two', '1')()).toBe(true)

    volume.follow(20)
    await applied(plane, namespace, configMap('a', { one: '2' }))
    await eventually('the new text', fileIs('one', '2'))
    await plane.kubectl(['delete', 'configmap', 'b', '--namespace', namespace])
    await eventually('the removal', () => !existsSync(join(directory, 'two')))
    expect(volume.lastError()).toBeUndefined()
  } finally {
    await volume.unmount()
    rmSync(directory, { recursive: true })
  }
})

describe('a control plane of its own', () => {
  let own: OwnControlPlane | undefined
  afterAll(() => own?.stop())

  test('keeps its data and its address over restarts of the API server and of etcd', async () => {
    own = await startControlPlane({ controllerManager: false })
    const control = own
    const namespace = await control.createNamespace()
    await applied(control, namespace, configMap('settings', { key: 'kept' }))

    for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
      const refused: string[] = []
      const whileDown = async () => {
        refused.push((await control.kubectl(['get', 'namespaces'])).stderr)
      }
      await control.restartApiServer({ signal, whileDown })
      expect(refused.join()).toContain('refused')
      expect(await keyOf(control, namespace, 'settings')).toBe('kept')
    }
    await control.restartEtcd()
    expect(await keyOf(control, namespace, 'settings')).toBe('kept')
    await applied(control, namespace, configMap('settings', { key: 'changed' }))
  }, 90_000)
})

const statusWithoutCredentials = (path: string): Promise<number | undefined> =>
  new Promise((resolve, reject) => {
    const ca = plane.caFile === undefined ? undefined : readFileSync(plane.caFile)
    const asked = get(`${plane.server}${path}`, { ca, agent: false }, (response) => {
      response.resume()
      resolve(response.statusCode)
    })
    asked.on('error', reject)
  })
