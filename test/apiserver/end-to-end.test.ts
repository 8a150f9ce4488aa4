import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { accessPolicies, apiKeys, configMaps, secrets } from '../../src/api/names.ts'
import { configMapName, type Manifest, manifestFile, signatureFile } from '../../src/api/verification.ts'
import { signatureLine, signingKey } from '../../src/core/signature.ts'
import { type ConfigMapVolume, configMapsIn, mountConfigMaps } from '../support/kubelet.ts'
import { keyOf } from '../support/verification.ts'
import { eventually } from '../support/wait.ts'
import { type SidecarProcess, startSidecarProcess } from '../wire/sidecar-process.ts'
import { type Installed, install } from './installed.ts'
import type { Stored } from './objects.ts'
import { base64, digestOf, newScene } from './scene.ts'

vi.setConfig({ testTimeout: 90_000 })

/** Everything from the API server to the application, and a key of a person who has none. */
let postern: Installed
let scene: Awaited<ReturnType<typeof newScene>>
let application: Server
let volume: ConfigMapVolume
let sidecar: SidecarProcess
const intruder = keyOf(13)
/** Every key that was ever a value of ours, for the search at the end. */
const everyKey = new Set<string>()

beforeAll(async () => {
  postern = await install()
  scene = await newScene(postern)
  await Promise.all([scene.policy(), scene.policy({ ports: [{ port: 9090 }] }, 'other')])
  await Promise.all([scene.policyReady(), scene.policyReady('other')])
  application = createServer((request, response) => {
    response.end(JSON.stringify({ url: request.url, headers: request.headers }))
  }).listen(0, '127.0.0.1')
  await once(application, 'listening')
  const directory = join(postern.directory, 'volume')
  volume = await mountConfigMaps({
    read: configMapsIn(postern.plane, scene.namespace),
    names: [configMapName('orders')],
    directory,
  })
  volume.follow(50)
  sidecar = await startSidecarProcess(
    [{ policy: `${scene.namespace}/orders`, directory }],
    (application.address() as AddressInfo).port,
    postern.operator.publicKeys()[0]!,
    ['--log-level', 'debug'],
  )
})
afterAll(async () => {
  await sidecar?.stop()
  await volume?.unmount()
  application?.close()
  await postern?.stop()
})

const ask = (key?: string): Promise<Response> =>
  fetch(`http://127.0.0.1:${sidecar.portOf(`${scene.namespace}/orders`)}/things`, {
    headers: key === undefined ? {} : { Authorization: `Bearer ${key}` },
  })
const answers = (key: string, status: number): Promise<unknown> =>
  eventually(`${status} with the key`, async () => (await ask(key)).status === status, 30)

/** The value of an ApiKey that this namespace gets. */
async function keyFor(name: string): Promise<string> {
  await scene.key(name)
  await scene.ready(name)
  const key = await scene.value(name)
  everyKey.add(key)
  return key
}

test('from apply to a request that passes, and back', async () => {
  expect((await ask()).status).toBe(401)
  const key = await keyFor('exporter')
  await answers(key, 200)
  const { url, headers } = (await (await ask(key)).json()) as { url: string; headers: Record<string, string> }
  expect([url, headers['x-postern-key-name'], headers.authorization]).toEqual(['/things', 'exporter', undefined])
  expect((await ask()).status).toBe(401)
  await scene.key('exporter', { ...scene.asking(), enabled: false })
  await answers(key, 401)
  await scene.key('exporter', { ...scene.asking(), enabled: true })
  await answers(key, 200)
  await postern.objects.delete(apiKeys, scene.at('exporter'))
  await answers(key, 401)
})

describe('an editor of ConfigMaps', () => {
  const own = (): Promise<Stored> => mapOf('orders')
  const mapOf = async (policy: string): Promise<Stored> =>
    (await postern.objects.get(configMaps, scene.at(configMapName(policy))))!
  const write = async (data: Readonly<Record<string, string>>): Promise<void> => {
    await postern.objects.patch(configMaps, scene.at(configMapName('orders')), { data })
  }
  const refusals = async (reason: string): Promise<number> => {
    const line = `postern_set_refused_total{policy="${scene.namespace}/orders",reason="${reason}"}`
    const found = (await sidecar.metrics()).split('\n').find((each) => each.startsWith(line))
    return Number(found?.slice(line.length) ?? 0)
  }

  /** A line for the intruder's key, in the first profile that there is. */
  const withIntruder = (data: Readonly<Record<string, string>>): Record<string, string> => {
    const digest = Buffer.from(digestOf(intruder), 'hex').toString('base64url')
    const line = `${JSON.stringify(['intruder00000000', digest, 0, 0, 0, 0, 'intruder'])}\n`
    const lines = [...data['keys-0']!.split(/(?<=\n)/), line].sort((a, b) => (digestIn(a) < digestIn(b) ? -1 : 1))
    return { ...data, 'keys-0': lines.join('') }
  }
  const digestIn = (line: string): string => Buffer.from(JSON.parse(line)[1], 'base64url').toString('hex')
  /** Hashes and lengths as they would be, and a number that is newer. */
  const consistent = (data: Readonly<Record<string, string>>): Record<string, string> => {
    const manifest = JSON.parse(data[manifestFile]!) as Manifest
    const parts = Object.keys(manifest.parts).map((name) => [
      name,
      { sha256: digestOf(data[name]!), bytes: data[name]!.length },
    ])
    const forged = { ...manifest, sequence: manifest.sequence + 1000, parts: Object.fromEntries(parts) }
    return { ...data, [manifestFile]: JSON.stringify(forged) }
  }

  const attacks: readonly [string, string, (good: Stored, older: Stored) => Promise<Record<string, string>>][] = [
    ['adds a line', 'PartMismatch', async ({ data }) => withIntruder(data!)],
    ['adds a line and sets the hashes right', 'SignatureInvalid', async ({ data }) => consistent(withIntruder(data!))],
    [
      'adds a line and signs it himself',
      'SignatureInvalid',
      async ({ data }) => {
        const forged = consistent(withIntruder(data!))
        return { ...forged, [signatureFile]: signatureLine(signingKey(Buffer.alloc(32, 7)), forged[manifestFile]!) }
      },
    ],
    [
      'takes the signature away',
      'SignatureInvalid',
      async ({ data }) => ({ ...consistent(data!), [signatureFile]: '' }),
    ],
    ['puts the set of another policy in place', 'PolicyMismatch', async () => ({ ...(await mapOf('other')).data })],
    ['puts an older set in place', 'Rollback', async (_, older) => ({ ...older.data })],
  ]

  test.each(attacks)('%s, and is refused', async (what, reason, attack) => {
    const name = `attacked-${attacks.findIndex(([each]) => each === what)}`
    const revoked = await keyFor(`${name}-revoked`)
    await answers(revoked, 200)
    const older = await own()
    await postern.objects.delete(apiKeys, scene.at(`${name}-revoked`))
    const key = await keyFor(name)
    await answers(key, 200)
    await answers(revoked, 401)
    // While the operator runs, it rewrites what was edited before a volume is ever brought up to date.
    await postern.operator.stop('SIGTERM')
    const before = await refusals(reason)
    const good = await own()
    await write(await attack(good, older))
    await eventually(`the refusal ${reason}`, async () => (await refusals(reason)) > before)
    expect([(await ask(intruder)).status, (await ask(revoked)).status, (await ask(key)).status]).toEqual([
      401, 401, 200,
    ])
    await postern.operator.start()
    const mended = await eventually('the set to be mended', async () => {
      const map = await own()
      return (
        map.data!['keys-0'] === good.data!['keys-0'] && (await postern.publishedSet(scene.namespace, 'orders')) && map
      )
    })
    expect(Object.keys(mended.data!).sort()).toEqual(Object.keys(good.data!).sort())
    // What comes after an attack is taken again.
    const later = await keyFor(`${name}-later`)
    await answers(later, 200)
    expect([(await ask(intruder)).status, (await ask(key)).status]).toEqual([401, 200])
  })

  test('cannot grant himself anything while the operator runs, either', async () => {
    const before = await own()
    await write(withIntruder(before.data!))
    await eventually('the set to be mended', async () => (await own()).data!['keys-0'] === before.data!['keys-0'])
    expect((await ask(intruder)).status).toBe(401)
  })
})

test('the examples become Ready, those that are to', async () => {
  const { code, stderr } = await postern.plane.kubectl(['apply', '-f', 'deploy/examples'])
  expect(code, stderr).toBe(0)
  const reasons = { 'shop/trial': 'Disabled', 'shop/campaign': 'Expired' } as Readonly<Record<string, string>>
  let examined = 0
  for (const kind of [accessPolicies, apiKeys]) {
    for (const namespace of ['shop', 'billing']) {
      for (const { metadata } of await postern.objects.list(kind, namespace)) {
        const reason = reasons[`${namespace}/${metadata.name}`] ?? 'Ready'
        await postern.objects.untilCondition(kind, { namespace, name: metadata.name }, 'Ready', reason)
        examined += 1
      }
    }
  }
  expect(examined).toBeGreaterThan(5)
  for (const namespace of ['shop', 'billing']) {
    for (const secret of await postern.objects.list(secrets, namespace)) {
      for (const [name, encoded] of Object.entries(secret.data ?? {})) {
        if (name === 'key' || name === 'token') everyKey.add(Buffer.from(encoded, 'base64').toString())
      }
    }
  }
})

test('a key is found nowhere but in its Secret', async () => {
  // Keys that are refused must not be told either: mistyped, unknown, and those of Secrets that cannot serve.
  const mistyped = `${[...everyKey][0]!.slice(0, -1)}!`
  const weak = 'a-weak-value-of-the-vault'
  everyKey.add(intruder).add(mistyped).add(weak)
  await scene.secret('vault', { key: weak })
  const existing = { secretRef: { name: 'vault', key: 'key' } }
  await scene.key('weak', { ...scene.asking(), source: { existing } })
  await scene.ready('weak', 'KeyWeak')
  for (const key of everyKey) await ask(key)
  await fetch(`http://127.0.0.1:${sidecar.portOf(`${scene.namespace}/orders`)}/?api_key=${intruder}`)

  const everything = async (path: string): Promise<readonly Stored[]> =>
    ((await postern.plane.get(path)) as { items: Stored[] }).items
  const places: Record<string, string> = {
    'log of the operator': postern.operator.log(),
    'log of the sidecar': sidecar.lines.join('\n'),
    'metrics of the operator': (await postern.operator.ask('/metrics')).body,
    'metrics of the sidecar': await sidecar.metrics(),
    events: JSON.stringify(await everything('/apis/events.k8s.io/v1/events')),
    ConfigMaps: JSON.stringify(await everything('/api/v1/configmaps')),
    ApiKeys: JSON.stringify(await everything('/apis/postern.dev/v1alpha1/apikeys')),
    AccessPolicies: JSON.stringify(await everything('/apis/postern.dev/v1alpha1/accesspolicies')),
    'metadata of Secrets': JSON.stringify(
      (await everything('/api/v1/secrets')).map(({ metadata }) => withoutLast(metadata)),
    ),
  }
  expect(everyKey.size).toBeGreaterThan(10)
  for (const [place, text] of Object.entries(places)) {
    expect(text.length, place).toBeGreaterThan(100)
    for (const key of everyKey) {
      // The part that is secret, in whatever surroundings or coat.
      const part = key.split('_').at(-1)!.slice(0, 32)
      for (const form of [part, encodeURIComponent(part), ...base64Forms(part)]) {
        expect(text.includes(form), `${place} tells a key`).toBe(false)
      }
    }
  }
  const stored = JSON.stringify((await everything('/api/v1/secrets')).map(({ data }) => data))
  expect(stored).toContain(base64(await scene.value('attacked-0')))
})

/** What is in the base64 of any longer text that holds this one, wherever it stands in it. */
const base64Forms = (text: string): string[] =>
  [0, 1, 2].map((before) => base64(' '.repeat(before) + text).slice(before === 0 ? 0 : before + 1, -4))

/** What kubectl itself notes of an object that it applied. */
function withoutLast(metadata: Stored['metadata']): object {
  const { 'kubectl.kubernetes.io/last-applied-configuration': _, ...annotations } = metadata.annotations ?? {}
  return { ...metadata, annotations }
}
