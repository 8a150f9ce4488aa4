import { copyFile, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { configMaps, secrets } from '../../src/api/names.ts'
import type { ConfigMap, KubeObject } from '../../src/api/object.ts'
import { type ConnectedCluster, type ConnectOptions, connect } from '../../src/kube/client.ts'
import { ClusterError, type ClusterErrorCode } from '../../src/kube/cluster.ts'
import type { ControlPlane } from '../controlplane/access.ts'
import { whyNoControlPlane } from '../controlplane/find.ts'
import { useControlPlane } from '../controlplane/use.ts'
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts'
import { eventually } from '../support/wait.ts'

const reason = whyNoControlPlane()
const plane = reason === undefined ? await useControlPlane() : (undefined as unknown as ControlPlane)

describe.skipIf(reason !== undefined)(`calls to a real API server${reason ? `: ${reason}` : ''}`, () => {
  let proxy: FaultProxy
  let namespace: string
  const clusters: ConnectedCluster[] = []

  beforeAll(async () => {
    namespace = await plane.createNamespace()
  })
  beforeEach(async () => {
    proxy = await startFaultProxy(plane.kubeconfig)
  })
  afterEach(async () => {
    await Promise.all(clusters.splice(0).map((cluster) => cluster.close()))
    await proxy.close()
  })

  /** Through the proxy, and impatient. */
  const connected = async (options: Partial<ConnectOptions> = {}): Promise<ConnectedCluster> => {
    const cluster = connect({
      kubeconfig: await proxy.kubeconfig(),
      userAgent: 'postern-test/1',
      callSettings: { backoff: { firstMilliseconds: 1, longestMilliseconds: 5 } },
      ...options,
    })
    clusters.push(cluster)
    return cluster
  }
  const configMap = (name: string, data: Record<string, string> = {}): ConfigMap => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { namespace, name },
    data,
  })
  const refusal = (code: ClusterErrorCode, message = '') =>
    expect.toSatisfy(
      (error) => error instanceof ClusterError && error.code === code && error.message.includes(message),
      `${code} ${message}`,
    )
  const look = (cluster: ConnectedCluster) => cluster.get(configMaps, { namespace, name: 'none' })
  /** Fails the first so many requests. */
  const first = (count: number, fault: Parameters<FaultProxy['fault']>[0]) =>
    proxy.fault((request) => (request.number <= count ? fault(request) : undefined))

  describe('connections', () => {
    test('are few and kept: two hundred calls at once need sixteen, the next hundred none', async () => {
      const cluster = await connected()
      await Promise.all(Array.from({ length: 200 }, () => look(cluster)))
      expect(proxy.connections.most).toBeLessThanOrEqual(16)
      for (let i = 0; i < 100; i++) await look(cluster)
      expect(proxy.connections.total).toBeLessThanOrEqual(16)
    })

    test('are closed in the end, and then nothing more is asked', async () => {
      const cluster = await connected()
      await look(cluster)
      const watch = cluster.watch(configMaps, { namespace }, { put: () => {}, gone: () => {}, synced: () => {} })
      await eventually('the stream to be open', () => proxy.streams.length === 1)
      await cluster.close()
      await eventually('the connections to be closed', () => proxy.connections.open === 0)
      await expect(look(cluster)).rejects.toEqual(refusal('Unavailable', 'closed'))
      await watch.stop()
    })
  })

  describe('repeating', () => {
    test.each([500, 502, 503, 504])('a reading is repeated when the server fails with %i', async (status) => {
      const cluster = await connected()
      first(3, () => ({ answer: status }))
      expect(await look(cluster)).toBeUndefined()
      expect(proxy.requests).toHaveLength(4)
    })

    test.each(['Cut', 'CutAfter'] as const)('an apply is repeated when its connection breaks: %s', async (fault) => {
      const cluster = await connected()
      first(2, () => fault)
      await cluster.apply(configMap(`apply-${fault.toLowerCase()}`, { x: '1' }))
      expect(proxy.requests).toHaveLength(3)
    })

    test('a creation is not repeated when its outcome is unknown', async () => {
      const cluster = await connected()
      first(1, () => 'CutAfter')
      await expect(cluster.create(configMap('created'))).rejects.toEqual(
        refusal('Unavailable', `ConfigMap ${namespace}/created`),
      )
      expect(proxy.requests).toHaveLength(1)
      first(2, () => ({ answer: 503 }))
      await expect(cluster.create(configMap('another'))).rejects.toEqual(refusal('Unavailable'))
      expect(proxy.requests).toHaveLength(2)
    })

    test('a removal is repeated only where the uid makes it safe', async () => {
      const cluster = await connected()
      const { uid } = (await cluster.create(configMap('removed'))).metadata
      const name = { namespace, name: 'removed' }
      const failing = (count: number) => {
        const begin = proxy.requests.length
        first(begin + count, () => ({ answer: 503 }))
      }
      failing(1)
      await expect(cluster.remove(configMaps, name)).rejects.toEqual(refusal('Unavailable'))
      failing(1)
      await cluster.remove(configMaps, name, { uid: uid! })
    })

    test('when the server asks for patience, everything waits and is repeated', async () => {
      const cluster = await connected()
      first(2, () => ({ answer: 429, headers: { 'retry-after': '0' } }))
      await cluster.create(configMap('patient'))
      expect(proxy.requests).toHaveLength(3)
    })

    test('long patience is left to the caller', async () => {
      const cluster = await connected()
      first(1, () => ({ answer: 429, headers: { 'retry-after': '30' } }))
      const error = await look(cluster).catch((error: unknown) => error)
      expect(error).toEqual(refusal('TooManyRequests'))
      expect((error as ClusterError).retryAfterSeconds).toBe(30)
      expect(proxy.requests).toHaveLength(1)
    })

    test('there is an end to it', async () => {
      const cluster = await connected()
      proxy.fault(() => ({ answer: 503 }))
      await expect(look(cluster)).rejects.toEqual(refusal('Unavailable', '503'))
      expect(proxy.requests).toHaveLength(5)
    })

    test('what is wrong is not repeated', async () => {
      const cluster = await connected()
      const wrong = { ...configMap('wrong'), data: { 'a/b': '1' } }
      await expect(cluster.apply(wrong)).rejects.toEqual(refusal('Invalid', `ConfigMap ${namespace}/wrong`))
      expect(proxy.requests).toHaveLength(1)
    })

    test('a server that does not answer is given up', async () => {
      const cluster = await connected({ callSettings: { trySeconds: 0.05, callSeconds: 0.3, tries: 3 } })
      proxy.fault(() => 'Silence')
      await expect(look(cluster)).rejects.toEqual(refusal('Unavailable', 'no answer in time'))
    })

    test('a server that cannot be reached is named with what was wanted of it', async () => {
      const cluster = await connected()
      await proxy.down()
      await expect(look(cluster)).rejects.toEqual(refusal('Unavailable', `ConfigMap ${namespace}/none`))
      await expect(look(cluster)).rejects.toEqual(refusal('Unavailable', 'ECONNREFUSED'))
      await proxy.up()
      expect(await look(cluster)).toBeUndefined()
    })
  })

  describe('credentials', () => {
    const tokenFile = async (text: string) => {
      const file = join(proxy.directory, 'token')
      await writeFile(file, text)
      return file
    }

    test('a token in a file is read without its line end', async () => {
      const user = { tokenFile: await tokenFile('first\n') }
      proxy.accept('first')
      expect(await look(await connected({ kubeconfig: await proxy.kubeconfig({ user }) }))).toBeUndefined()
    })

    test('a token that was replaced is read when the old one is refused', async () => {
      const user = { tokenFile: await tokenFile('first') }
      proxy.accept('first')
      const cluster = await connected({ kubeconfig: await proxy.kubeconfig({ user }) })
      await look(cluster)
      await tokenFile('second')
      await look(cluster)
      expect(proxy.requests).toHaveLength(2)
      proxy.accept('second')
      await cluster.create(configMap('renewed'))
      expect(proxy.requests).toHaveLength(4)
    })

    test('a token that was replaced is used after a while even if the old one works', async () => {
      const user = { tokenFile: await tokenFile('first') }
      proxy.accept('first', 'second')
      const cluster = await connected({ kubeconfig: await proxy.kubeconfig({ user }), credentialSeconds: 0 })
      await look(cluster)
      await tokenFile('second')
      proxy.accept('second')
      await look(cluster)
      expect(proxy.requests).toHaveLength(2)
    })

    test('one refusal is forgiven, also of an unchanged token, and a second is told', async () => {
      const cluster = await connected()
      first(1, () => ({ answer: 401 }))
      expect(await look(cluster)).toBeUndefined()
      proxy.accept('nobody')
      const error = await look(cluster).catch((error: unknown) => error)
      expect(error).toEqual(refusal('Unauthorized', `ConfigMap ${namespace}/none`))
      expect(proxy.requests).toHaveLength(4)
    })

    test('a new authority is trusted as soon as its file is there', async () => {
      const caFile = join(proxy.directory, 'ca.crt')
      await copyFile(await proxy.renewCertificate(), caFile)
      const cluster = await connected({ kubeconfig: await proxy.kubeconfig({ caFile }) })
      await look(cluster)
      await copyFile(await proxy.renewCertificate(), caFile)
      await proxy.down()
      await proxy.up()
      expect(await look(cluster)).toBeUndefined()
    })

    test('an authority that nobody knows is not trusted', async () => {
      const cluster = await connected()
      await proxy.renewCertificate()
      await expect(look(cluster)).rejects.toEqual(refusal('Unavailable'))
      expect(proxy.requests).toHaveLength(0)
    })

    test('a plugin is run once, and again when its token is refused', async () => {
      const script = join(proxy.directory, 'plugin.mjs')
      const count = join(proxy.directory, 'count')
      await writeFile(count, '')
      await writeFile(
        script,
        `import { appendFileSync, readFileSync } from 'node:fs'
         appendFileSync(${JSON.stringify(count)}, 'x')
         const token = 'token-' + readFileSync(${JSON.stringify(count)}, 'utf8').length
         console.log(JSON.stringify({ apiVersion: 'client.authentication.k8s.io/v1', kind: 'ExecCredential', status: { token } }))`,
      )
      const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: process.execPath, args: [script] }
      proxy.accept('token-1')
      const cluster = await connected({ kubeconfig: await proxy.kubeconfig({ user: { exec } }), credentialSeconds: 0 })
      await look(cluster)
      await look(cluster)
      expect(await readFile(count, 'utf8')).toBe('x')
      proxy.accept('token-2')
      await look(cluster)
      expect(await readFile(count, 'utf8')).toBe('xx')
    })

    test('client certificates are shown, and what they may not do is refused', async () => {
      const cluster = await connected({ kubeconfig: await plane.kubeconfigFor({ user: 'nobody-special' }) })
      const error = await look(cluster).catch((error: unknown) => error)
      expect(error).toEqual(refusal('Forbidden', 'nobody-special'))
    })

    test('no error shows a token', async () => {
      const user = { token: 'geheim-geheim' }
      const cluster = await connected({ kubeconfig: await proxy.kubeconfig({ user }), callSettings: { tries: 1 } })
      const failures: unknown[] = []
      for (const fault of ['Cut', { answer: 500, body: 'oops' }, { answer: 401 }] as const) {
        proxy.fault(() => fault)
        failures.push(await look(cluster).catch((error: unknown) => error))
      }
      await proxy.down()
      failures.push(await look(cluster).catch((error: unknown) => error))
      for (const failure of failures) {
        expect(failure).toBeInstanceOf(ClusterError)
        const { message, stack, cause } = failure as ClusterError
        expect([message, stack, JSON.stringify(cause), String(cause)].join()).not.toContain('geheim')
      }
    })

    test.each([
      ['a file that is not there', async () => ({ kubeconfig: join(proxy.directory, 'none') }), 'ENOENT'],
      ['a context that is not there', async () => ({ context: 'none' }), 'there is no context none'],
      ['a file that is not YAML', async () => ({ kubeconfig: await tokenFile('{') }), 'kubeconfig'],
      ['a file about nothing', async () => ({ kubeconfig: await tokenFile('{}') }), 'there is no current context'],
    ])('%s is told at once', async (_, options, message) => {
      const given = { kubeconfig: await proxy.kubeconfig(), userAgent: 'test', ...(await options()) }
      expect(() => connect(given)).toThrow(refusal('Invalid', message))
    })

    test('a kubeconfig that vanishes is told by the call that needs it', async () => {
      const kubeconfig = await proxy.kubeconfig()
      const cluster = await connected({ kubeconfig, credentialSeconds: 0 })
      await look(cluster)
      await rm(kubeconfig)
      await expect(look(cluster)).rejects.toEqual(refusal('Invalid', kubeconfig))
    })
  })

  describe('answers', () => {
    test('fields that nobody here knows survive', async () => {
      const cluster = await connected()
      await cluster.apply(configMap('future'))
      proxy.fault(() => (line) => [line.replace('"metadata":{', '"futureField":{"a":[1]},"metadata":{"newField":"b",')])
      const object = (await cluster.get(configMaps, { namespace, name: 'future' })) as KubeObject & {
        futureField: unknown
      }
      expect(object.futureField).toEqual({ a: [1] })
      expect(object.metadata).toHaveProperty('newField', 'b')
    })

    test('a kind that is not served is not the absence of an object', async () => {
      const cluster = await connected()
      const widgets = { apiVersion: 'tests.postern.dev/v9', kind: 'Widget', plural: 'widgets', namespaced: true }
      await expect(cluster.get(widgets, { namespace, name: 'a' })).rejects.toEqual(refusal('NotFound', 'not served'))
    })

    test('what a server says about a Secret is not repeated', async () => {
      const cluster = await connected()
      const message = 'data.x: expected string, got "geheim"'
      const causes = [{ field: 'data.x', message, reason: 'FieldValueInvalid' }]
      for (const answer of [422, 500]) {
        const status = { kind: 'Status', reason: 'Invalid', message, details: { name: 'a', causes }, code: answer }
        proxy.fault(() => ({ answer, body: status }))
        const error = await cluster.get(secrets, { namespace, name: 'a' }).catch((error: unknown) => error)
        expect((error as Error).message).toMatch(new RegExp(`^Secret ${namespace}/a: .*data\\.x$`))
        expect((error as Error).message).not.toContain('geheim')
      }
    })

    test('an answer that is not JSON is told without quoting it', async () => {
      const cluster = await connected()
      proxy.fault(() => ({ answer: 200, body: '{"data":{"x":"geheim' }))
      const error = await cluster.get(secrets, { namespace, name: 'a' }).catch((error: unknown) => error)
      expect(error).toEqual(refusal('Unavailable', 'not JSON'))
      expect(JSON.stringify([(error as Error).message, (error as Error).stack, (error as Error).cause])).not.toContain(
        'geheim',
      )
    })
  })

  describe('lists', () => {
    const makeSeven = async () => {
      const own = await plane.createNamespace()
      const names = Array.from({ length: 7 }, (_, i) => `page-${i}`)
      const cluster = await connected({ pageSize: 3 })
      const make = (name: string) =>
        cluster.apply({ ...configMap(name), metadata: { namespace: own, name, labels: { paged: own } } })
      await Promise.all(names.map(make))
      return { own, names, cluster, make, scope: { namespace: own, labels: { paged: own } } }
    }
    const pages = () => proxy.requests.filter(({ url }) => url.includes('limit=3'))

    test('come in pages, as they were when the first was asked for', async () => {
      const { own, names, cluster, make, scope } = await makeSeven()
      const listed: string[] = []
      for await (const { metadata } of cluster.list(configMaps, scope)) {
        listed.push(metadata.name)
        if (listed.length !== 3) continue
        await cluster.remove(configMaps, { namespace: own, name: 'page-4' })
        await make('page-45')
      }
      expect(listed).toEqual(names)
      expect(pages()).toHaveLength(3)
    })

    test('go on with what is there now when the server has forgotten that moment', async () => {
      const { own, cluster, scope } = await makeSeven()
      let forgets = true
      proxy.fault(({ url }) => {
        const token = /continue=([^&]+)/.exec(url)?.[1]
        if (token === undefined || !forgets) return undefined
        forgets = false
        const moment = JSON.parse(Buffer.from(token, 'base64').toString()) as object
        const next = Buffer.from(JSON.stringify({ ...moment, rv: -1 })).toString('base64')
        return { answer: 410, body: { kind: 'Status', reason: 'Expired', code: 410, metadata: { continue: next } } }
      })
      const listed: string[] = []
      for await (const { metadata } of cluster.list(configMaps, scope)) {
        listed.push(metadata.name)
        if (listed.length === 3) await cluster.remove(configMaps, { namespace: own, name: 'page-4' })
      }
      expect(listed).toEqual(['page-0', 'page-1', 'page-2', 'page-3', 'page-5', 'page-6'])
    })
  })
})
