import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { configMaps } from '../../src/api/names.ts'
import type { ConfigMap } from '../../src/api/object.ts'
import { type ConnectedCluster, connect } from '../../src/kube/client.ts'
import type { Watch } from '../../src/kube/cluster.ts'
import type { ReflectorSettings } from '../../src/kube/reflector.ts'
import type { ControlPlane } from '../controlplane/access.ts'
import { whyNoControlPlane } from '../controlplane/find.ts'
import { useControlPlane } from '../controlplane/use.ts'
import { type Fault, type FaultProxy, type LineFault, type Seen, startFaultProxy } from '../support/fault-proxy.ts'
import { RecordingSink } from '../support/recording-sink.ts'
import { eventually } from '../support/wait.ts'

const reason = whyNoControlPlane()
const plane = reason === undefined ? await useControlPlane() : (undefined as unknown as ControlPlane)

describe.skipIf(reason !== undefined)(`watches of a real API server${reason ? `: ${reason}` : ''}`, () => {
  /** Past every fault. */
  let direct: ConnectedCluster
  let proxy: FaultProxy
  let through: ConnectedCluster
  let namespace: string
  let sink: RecordingSink
  let watch: Watch
  let problems: string[]

  beforeEach(async () => {
    proxy = await startFaultProxy(plane.kubeconfig)
    namespace = await plane.createNamespace()
    direct = connect({ kubeconfig: plane.kubeconfig, userAgent: 'postern-test' })
    sink = new RecordingSink()
    problems = []
  })
  afterEach(async () => {
    await watch.stop()
    await through.close()
    await direct.close()
    await proxy.close()
  })

  const labels = { watched: 'yes' }
  const configMap = (name: string, x: string): ConfigMap => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { namespace, name, labels },
    data: { x },
  })
  const apply = (name: string, x = '1') => direct.apply(configMap(name, x))
  const remove = (name: string) => direct.remove(configMaps, { namespace, name })
  const begin = async (settings: ReflectorSettings = {}, pageSize = 500): Promise<void> => {
    through = connect({
      kubeconfig: await proxy.kubeconfig(),
      userAgent: 'postern-test',
      pageSize,
      onProblem: (error) => problems.push((error as Error).message),
      callSettings: { tries: 1 },
      watchSettings: { backoff: { firstMilliseconds: 2, longestMilliseconds: 20 }, ...settings },
    })
    watch = through.watch(configMaps, { namespace, labels }, sink)
  }
  const synced = () => eventually('the watch to be synced', () => sink.isSynced)
  const streams = (count: number) =>
    eventually(`${count} open streams`, () => proxy.streams.length === count && proxy.streams)
  /** Waits until a marker that is written now has come through, and thus everything before it. */
  const caughtUp = async (marker = `z-${sink.calls.length}`) => {
    await apply(marker)
    await eventually(`${marker} to come through`, () => sink.objects.has(`${namespace}/${marker}`))
  }
  const watches = () => proxy.requests.filter(({ isWatch }) => isWatch)
  const fullReadings = () =>
    proxy.requests.filter(
      ({ url, isWatch }) => url.includes('sendInitialEvents') || (!isWatch && !url.includes('continue=')),
    )
  const status = (code: number, reason: string) => ({ kind: 'Status', code, reason, message: `made up: ${reason}` })
  const errorLine = (code: number, reason: string) => JSON.stringify({ type: 'ERROR', object: status(code, reason) })
  const noStreamedLists = ({ url }: Seen): Fault | undefined =>
    url.includes('sendInitialEvents') ? { answer: 422, body: status(422, 'Invalid') } : undefined
  const without = (calls: readonly string[]) => calls.filter((call) => !call.includes('z-'))

  describe('whatever goes wrong while a stream is opened', () => {
    const faults: [string, Fault][] = [
      ['the server fails', { answer: 500, body: status(500, 'InternalError') }],
      ['the server is overloaded', { answer: 429, headers: { 'retry-after': '0' } }],
      ['nobody knows us', { answer: 401 }],
      ['we may not', { answer: 403, body: status(403, 'Forbidden') }],
      ['the connection is cut', 'Cut'],
      ['the answer makes no sense', { answer: 200, body: 'hello\n' }],
    ]
    test.each(faults)('the first time: %s', async (_, fault) => {
      await apply('a')
      proxy.fault(({ number }) => (number <= 2 ? fault : undefined))
      await begin()
      await synced()
      expect(sink.calls).toEqual(['put a', 'synced'])
      expect(problems.length).toBeGreaterThan(0)
    })

    test.each(faults)('later on, it goes on from where it was: %s', async (_, fault) => {
      await apply('a')
      await begin()
      await synced()
      const before = proxy.requests.length
      proxy.fault(({ number }) => (number <= before + 4 ? fault : undefined))
      proxy.streams[0]!.cut()
      await eventually('the faults to be over', () => proxy.requests.length > before + 4)
      await apply('b')
      await caughtUp()
      expect(without(sink.calls)).toEqual(['put a', 'synced', 'put b'])
      expect(fullReadings()).toHaveLength(1)
    })

    test.each(faults)('in a list in pages: %s', async (_, fault) => {
      for (const name of ['a', 'b', 'c']) await apply(name)
      let left = 2
      proxy.fault((request) => {
        if (!request.url.includes('continue=') || left === 0) return noStreamedLists(request)
        left -= 1
        return fault
      })
      await begin({}, 2)
      await synced()
      expect(sink.calls).toEqual(['put a', 'put b', 'put c', 'synced'])
    })
  })

  describe('whatever happens to an open stream', () => {
    const marked = (name: string) => (line: string) => line.includes(`"name":"${name}"`)
    /** Does something to the first line about this object, once. */
    const once = (name: string, what: (line: string) => LineFault) => {
      let isDone = false
      proxy.fault(() => (line) => {
        if (isDone || !marked(name)(line)) return [line]
        isDone = true
        return what(line)
      })
    }

    test.each<[string, (line: string) => LineFault]>([
      ['it is cut', () => 'Cut'],
      ['it ends', () => 'End'],
      ['it breaks off within a line', (line) => ({ lastBytes: Buffer.from(line.slice(0, 40)) })],
      ['a line is no JSON', (line) => [`${line.slice(0, -1)},`]],
      ['a line is no event', () => ['{"type":"ADDED","object":{"kind":"ConfigMap"}}']],
      ['a line has a type that nobody knows', (line) => [line.replace('ADDED', 'CHANGED')]],
      ['the server reports an error', () => [errorLine(500, 'InternalError')]],
    ])('nothing is missed when %s', async (_, what) => {
      once('b', what)
      await begin()
      await synced()
      await apply('a')
      await apply('b')
      await apply('c')
      await caughtUp()
      expect(without(sink.calls)).toEqual(['synced', 'put a', 'put b', 'put c'])
      expect(fullReadings()).toHaveLength(1)
    })

    test('a line without an end is told', async () => {
      once('b', (line) => ({ lastBytes: Buffer.from(line.slice(0, 40)) }))
      await begin()
      await synced()
      await apply('b')
      await caughtUp()
      expect(problems.join()).toContain('within a line')
    })

    test('problems quote nothing of an object', async () => {
      once('b', (line) => [`${line.slice(0, -1)},`])
      await begin()
      await synced()
      await apply('b', 'geheim')
      await caughtUp()
      expect(problems.join()).toContain('not JSON')
      expect(problems.join()).not.toContain('geheim')
    })

    test('a host that has vanished is noticed', async () => {
      once('a', () => 'Silence')
      await begin({ idleSeconds: 0.3 })
      await synced()
      await apply('a')
      await caughtUp()
      expect(problems.join()).toContain('nothing was heard')
    })

    test('a host that vanishes before it answers is noticed', async () => {
      let left = 2
      proxy.fault(({ isWatch }) => (isWatch && left-- > 0 ? 'Silence' : undefined))
      await begin({ idleSeconds: 0.1 })
      await synced()
    })

    test('a stream that goes on past its end is ended', async () => {
      await begin({ streamSeconds: 1, overdueSeconds: 0.1, random: () => 0 })
      await synced()
      ;(await streams(1))[0]!.silence()
      await eventually('the first stream to be replaced', () => watches().length === 2)
      expect(problems.join()).toContain('did not end')
    })

    test('what an old stream still says is not heard', async () => {
      await begin({ idleSeconds: 0.3 })
      await synced()
      const [old] = await streams(1)
      old!.silence()
      const late = JSON.stringify({
        type: 'ADDED',
        object: { ...configMap('late', '1'), metadata: { namespace, name: 'late', uid: 'u', resourceVersion: '1' } },
      })
      await eventually('a new stream', () => watches().length >= 2)
      old!.inject(`${late}\n`)
      await caughtUp()
      expect(sink.calls.join()).not.toContain('late')
    })

    test('what is said twice is heard once', async () => {
      proxy.fault(() => (line) => [line, line])
      await begin()
      await synced()
      const { uid } = (await apply('a')).metadata
      await apply('a', '2')
      await remove('a')
      await apply('a', '3')
      await caughtUp()
      expect(without(sink.calls)).toEqual(['synced', 'put a', 'put a', 'gone a', 'put a'])
      expect(sink.objects.get(`${namespace}/a`)!.metadata.uid).not.toBe(uid)
    })

    test('echoes of the past are not heard', async () => {
      const said: string[] = []
      proxy.fault(() => (line) => {
        const echo = line.includes('"name":"echo"') ? said.splice(0) : []
        if (line.includes('"name":"a"')) said.push(line)
        return [...echo, line]
      })
      await begin()
      await synced()
      await apply('a', '1')
      await apply('a', '2')
      await remove('a')
      const { uid } = (await apply('a', '3')).metadata
      await apply('echo')
      await caughtUp()
      expect(without(sink.calls)).toEqual(['synced', 'put a', 'put a', 'gone a', 'put a', 'put echo'])
      expect(sink.objects.get(`${namespace}/a`)!.metadata.uid).toBe(uid)
    })

    test('text may come in any pieces, and hold what looks like line ends', async () => {
      const text = 'ä€😀\u2028\u2029\u0085\r\nend'
      proxy.fault(() => (line) => {
        const bytes = Buffer.from(`${line.replaceAll('\\u2028', '\u2028').replaceAll('\\u2029', '\u2029')}\n`)
        if (!line.includes('"name":"pieces"')) return [line]
        void (async () => {
          for (let i = 0; i < bytes.length; i += 7) {
            proxy.streams[0]!.inject(bytes.subarray(i, i + 7))
            await new Promise((resolve) => setImmediate(resolve))
          }
        })()
        return []
      })
      await begin()
      await synced()
      await apply('pieces', text)
      await eventually('the object', () => sink.objects.has(`${namespace}/pieces`))
      expect((sink.objects.get(`${namespace}/pieces`) as ConfigMap).data).toEqual({ x: text })
    })

    test('long lines come through, and endless ones do not fill the memory', async () => {
      await begin({ longestLineBytes: 1_500_000 })
      await synced()
      await apply('long', 'x'.repeat(1_000_000))
      await caughtUp()
      expect((sink.objects.get(`${namespace}/long`) as ConfigMap).data!.x).toHaveLength(1_000_000)
      const before = watches().length
      proxy.streams[0]!.inject('x'.repeat(2_000_000))
      await eventually('a new stream', () => watches().length > before)
      expect(problems.join()).toContain('longer than')
      await caughtUp()
    })
  })

  describe('when the server no longer knows where we were', () => {
    const expired: [string, () => Fault | undefined][] = [
      ['it answers 410', () => ({ answer: 410, body: status(410, 'Expired') })],
      ['it answers 410 without a word', () => ({ answer: 410 })],
      ['it says so in the stream', () => ({ answer: 200, body: `${errorLine(410, 'Expired')}\n` })],
      ['it says Gone in the stream', () => ({ answer: 200, body: `${errorLine(500, 'Gone')}\n` })],
      [
        'it is behind us',
        () => {
          const details = { causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }] }
          return { answer: 504, body: { ...status(504, 'Timeout'), details } }
        },
      ],
    ]
    test.each(expired)('everything is read again, once, and the difference told: %s', async (_, fault) => {
      for (const name of ['a', 'b', 'c']) await apply(name)
      await begin()
      await synced()
      let left = 1
      proxy.fault(({ url }) => (url.includes('resourceVersion=') && left-- > 0 ? fault() : undefined))
      await proxy.down()
      await remove('a')
      await apply('b', '2')
      await remove('c')
      await apply('c')
      await apply('d')
      await proxy.up()
      await caughtUp()
      const calls = without(sink.calls).slice(4)
      expect(calls.toSorted()).toEqual(['gone a', 'gone c', 'put b', 'put c', 'put d'])
      expect(calls.indexOf('gone c')).toBeLessThan(calls.indexOf('put c'))
      expect(fullReadings()).toHaveLength(2)
    })

    test.each([
      ['streamed', () => undefined],
      ['in pages', noStreamedLists],
    ])('a sink that learns from its own writes too is told what there is: %s', async (_, fault) => {
      proxy.fault(fault)
      const read: string[][] = []
      Object.assign(sink, { read: (names: ReadonlySet<string>) => read.push([...names]) })
      await apply('a')
      await begin()
      await synced()
      expect(read).toEqual([[`${namespace}/a`]])
      const [stream] = await streams(1)
      proxy.fault((request) => (request.url.includes('resourceVersion=') ? { answer: 410 } : fault(request)))
      await remove('a')
      await apply('b')
      stream!.cut()
      await eventually('another reading', () => read.length >= 2)
      expect(read[1]).toEqual([`${namespace}/b`])
      proxy.fault(fault)
    })

    test('within a list in pages the list is begun again', async () => {
      for (const name of ['a', 'b', 'c']) await apply(name)
      let left = 1
      proxy.fault((request) => {
        if (request.url.includes('continue=') && left-- > 0) return { answer: 410, body: status(410, 'Expired') }
        return noStreamedLists(request)
      })
      await begin({}, 2)
      await synced()
      expect(sink.calls).toEqual(['put a', 'put b', 'put c', 'synced'])
      expect(proxy.requests.filter(({ url }) => url.includes('limit=2') && !url.includes('continue='))).toHaveLength(2)
    })

    test('what was deleted and made again meanwhile is gone, then put', async () => {
      const { uid } = (await apply('a')).metadata
      await begin()
      await synced()
      await proxy.down()
      await remove('a')
      await apply('a', '2')
      await proxy.up()
      await caughtUp()
      expect(without(sink.calls)).toEqual(['put a', 'synced', 'gone a', 'put a'])
      expect(sink.objects.get(`${namespace}/a`)!.metadata.uid).not.toBe(uid)
    })

    test('old knowledge is kept until new has come', async () => {
      await apply('a')
      await begin()
      await synced()
      proxy.fault(({ url }) => {
        if (url.includes('resourceVersion=')) return { answer: 410 }
        return (line) => (line.includes('"name":"a"') ? 'Cut' : [line])
      })
      proxy.streams[0]!.cut()
      await eventually('some attempts', () => fullReadings().length >= 3)
      expect(sink.calls).toEqual(['put a', 'synced'])
      proxy.fault(() => undefined)
      await caughtUp()
      expect(without(sink.calls)).toEqual(['put a', 'synced'])
    })

    test('an object that is older after a restore is replaced', async () => {
      const old = await apply('a', '1')
      await apply('a', '2')
      await begin()
      await synced()
      const restored = JSON.stringify({ type: 'ADDED', object: old })
      proxy.fault(({ url }) => {
        if (url.includes('resourceVersion=')) return { answer: 410 }
        return (line) => [line.includes('"name":"a"') ? restored : line]
      })
      proxy.streams[0]!.cut()
      await eventually(
        'the old one',
        () => (sink.objects.get(`${namespace}/a`) as ConfigMap | undefined)?.data?.x === '1',
      )
      expect(sink.calls).toEqual(['put a', 'synced', 'gone a', 'put a'])
    })
  })

  describe('where lists cannot be streamed', () => {
    test('they are read in pages, and the stream goes on from there', async () => {
      for (let i = 0; i < 7; i++) await apply(`a-${i}`)
      let pages = 0
      proxy.fault((request) => {
        if (!request.url.includes('limit=3')) return noStreamedLists(request)
        pages += 1
        return undefined
      })
      await begin({}, 3)
      await synced()
      expect(pages).toBe(3)
      await apply('b')
      await remove('a-3')
      await caughtUp()
      expect(sink.names().filter((name) => !name.startsWith('z'))).toEqual([
        'a-0',
        'a-1',
        'a-2',
        'a-4',
        'a-5',
        'a-6',
        'b',
      ])
      proxy.streams[0]!.cut()
      await caughtUp()
      expect(proxy.requests.filter(({ url }) => url.includes('sendInitialEvents'))).toHaveLength(1)
    })

    test('what changes between two pages is not missed', async () => {
      for (const name of ['a', 'b', 'c', 'd']) await apply(name)
      let changes: Promise<unknown> | undefined
      proxy.fault((request) => {
        if (request.url.includes('continue=')) changes ??= Promise.all([remove('a'), apply('d', '2'), apply('e')])
        return noStreamedLists(request)
      })
      await begin({}, 2)
      await synced()
      await changes
      await caughtUp()
      expect(sink.names().filter((name) => !name.startsWith('z'))).toEqual(['b', 'c', 'd', 'e'])
      expect((sink.objects.get(`${namespace}/d`) as ConfigMap).data).toEqual({ x: '2' })
    })

    test('a server that never tells the end of what is there is asked for pages instead', async () => {
      await apply('a')
      proxy.fault(({ url }) => {
        if (!url.includes('sendInitialEvents')) return undefined
        return (line) =>
          line.includes('initial-events-end')
            ? [line.replace('initial-events-end', 'nothing'), errorLine(500, 'x')]
            : [line]
      })
      await begin()
      await synced()
      expect(sink.calls).toEqual(['put a', 'synced'])
    })
  })

  describe('the end', () => {
    /** Nothing may come after a stop, and no connection may stay. */
    const endsWell = async () => {
      await watch.stop()
      const calls = sink.calls.length
      const requests = proxy.requests.length
      await apply('after')
      await through.close()
      await eventually('every connection to be closed', () => proxy.connections.open === 0)
      expect(sink.calls).toHaveLength(calls)
      expect(proxy.requests).toHaveLength(requests)
    }

    test('while the stream is open', async () => {
      await begin()
      await synced()
      await endsWell()
    })

    test('before anything has begun', async () => {
      await begin()
      await endsWell()
      expect(sink.calls).toEqual([])
    })

    test('while the stream is being opened', async () => {
      proxy.fault(() => 'Silence')
      await begin()
      await eventually('the request', () => watches().length === 1)
      await endsWell()
    })

    test('while a page is being read', async () => {
      proxy.fault((request) => noStreamedLists(request) ?? 'Silence')
      await begin()
      await eventually('the list', () => proxy.requests.some(({ isWatch }) => !isWatch))
      await endsWell()
    })

    test('while it waits to try again', async () => {
      proxy.fault(() => ({ answer: 500 }))
      await begin({ backoff: { firstMilliseconds: 1_000_000, longestMilliseconds: 1_000_000 } })
      await eventually('a failure', () => problems.length === 1)
      await endsWell()
    })

    test('while the sink is being told', async () => {
      await apply('a')
      await apply('b')
      await begin()
      const put = sink.put.bind(sink)
      sink.put = (object) => {
        put(object)
        void watch.stop()
      }
      await eventually('the first', () => sink.calls.length > 0)
      await endsWell()
      expect(sink.calls).toEqual(['put a'])
    })
  })

  test('attempts grow rarer, and a storm of failures is none of requests', async () => {
    proxy.fault(() => ({ answer: 500 }))
    await begin({ backoff: { firstMilliseconds: 20, longestMilliseconds: 100_000 }, random: () => 0 })
    await eventually('the fifth failure', () => problems.length === 5)
    expect(watches()).toHaveLength(5)
  })

  test('the server is asked for a stream with bookmarks and an end', async () => {
    await begin({ random: () => 0.5 })
    await synced()
    const { url } = watches()[0]!
    for (const part of ['watch=true', 'allowWatchBookmarks=true', 'timeoutSeconds=450', 'labelSelector=watched=yes']) {
      expect(url).toContain(part)
    }
  })
})
