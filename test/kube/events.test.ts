import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { KubeObject } from '../../src/api/object.ts'
import { Credentials } from '../../src/kube/credentials.ts'
import { EventRecorder } from '../../src/kube/events.ts'
import { Transport } from '../../src/kube/transport.ts'
import type { ControlPlane } from '../controlplane/access.ts'
import { whyNoControlPlane } from '../controlplane/find.ts'
import { useControlPlane } from '../controlplane/use.ts'
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts'
import { ManualTimers } from '../support/manual-timers.ts'
import { eventually } from '../support/wait.ts'

const reason = whyNoControlPlane()
const plane = reason === undefined ? await useControlPlane() : (undefined as unknown as ControlPlane)

interface StoredEvent {
  readonly note: string
  readonly series?: { readonly count: number }
}

describe.skipIf(reason !== undefined)(`events on a real API server${reason ? `: ${reason}` : ''}`, () => {
  let proxy: FaultProxy
  let transport: Transport
  let timers: ManualTimers
  let recorder: EventRecorder
  let namespace: string

  beforeEach(async () => {
    proxy = await startFaultProxy(plane.kubeconfig)
    namespace = await plane.createNamespace()
    transport = new Transport({
      credentials: new Credentials({ kubeconfig: await proxy.kubeconfig() }),
      userAgent: 'postern-test',
      tries: 1,
    })
    timers = new ManualTimers()
    recorder = new EventRecorder({ transport, timers, now: () => new Date('2026-01-02T03:04:05.678Z') })
  })
  afterEach(async () => {
    recorder.close()
    await transport.close()
    await proxy.close()
  })

  const about = (name: string): KubeObject => ({
    apiVersion: 'postern.dev/v1alpha1',
    kind: 'ApiKey',
    metadata: { namespace, name, uid: `uid-${name}`, resourceVersion: '7' },
  })
  const record = (name: string, note: string) =>
    recorder.record({ regarding: about(name), type: 'Warning', reason: 'Broken', action: 'Reconcile', note })
  const stored = async () => {
    const { stdout } = await plane.kubectl(['get', 'events.events.k8s.io', '-n', namespace, '-o', 'json'])
    return (JSON.parse(stdout) as { items: StoredEvent[] }).items
  }
  const handled = (count: number) =>
    eventually(`${count} events to be handled`, () => {
      const { written, dropped } = recorder.statistics()
      return written + dropped === count
    })

  test('say what happened to what', async () => {
    record('a', 'it is broken')
    await handled(1)
    expect(await stored()).toMatchObject([
      {
        action: 'Reconcile',
        eventTime: '2026-01-02T03:04:05.678000Z',
        note: 'it is broken',
        reason: 'Broken',
        regarding: { apiVersion: 'postern.dev/v1alpha1', kind: 'ApiKey', name: 'a', namespace, uid: 'uid-a' },
        reportingController: 'postern',
        type: 'Warning',
      },
    ])
  })

  test('are counted when they repeat: at once for the second, then from time to time', async () => {
    record('a', 'again')
    await handled(1)
    record('a', 'again')
    await handled(2)
    expect(await stored()).toMatchObject([{ series: { count: 2 } }])
    for (let i = 0; i < 5; i++) record('a', 'again')
    await timers.pass(59_000)
    expect(recorder.statistics().written).toBe(2)
    await timers.pass(1000)
    await handled(3)
    expect(await stored()).toMatchObject([{ series: { count: 7 } }])
  })

  test('are new ones when they come back after long', async () => {
    record('a', 'rare')
    await handled(1)
    await timers.pass(400_000)
    record('a', 'rare')
    await handled(2)
    expect(await stored()).toHaveLength(2)
    await timers.pass(1_000_000)
    expect(timers.pending).toBe(0)
  })

  test('are dropped when there are too many about one object, and others still come', async () => {
    for (let i = 0; i < 30; i++) record('a', `note ${i}`)
    record('b', 'other')
    await handled(31)
    expect(recorder.statistics()).toEqual({ written: 26, dropped: 5 })
    await timers.pass(300_000)
    record('a', 'allowed again')
    await handled(32)
    expect(recorder.statistics().written).toBe(27)
  })

  test('are cut to what the server takes', async () => {
    record('a', 'ä'.repeat(2000))
    await handled(1)
    const [{ note } = { note: '' }] = await stored()
    expect(Buffer.byteLength(note)).toBeLessThanOrEqual(1024)
    expect(note).toMatch(/^ä+…$/)
  })

  test('cost nothing but themselves when the server fails, and are tried again when they come again', async () => {
    proxy.fault(() => ({ answer: 500 }))
    record('a', 'lost')
    await handled(1)
    expect(recorder.statistics()).toEqual({ written: 0, dropped: 1 })
    proxy.fault(() => undefined)
    record('a', 'lost')
    await handled(2)
    expect(await stored()).toMatchObject([{ note: 'lost' }])
  })

  test('are not heard of any more after the end', async () => {
    recorder.close()
    record('a', 'late')
    expect(recorder.statistics()).toEqual({ written: 0, dropped: 0 })
    expect(timers.pending).toBe(0)
  })
})
