import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { parse } from 'yaml'
import { eventually } from './support/wait.ts'

let root: string
let application: Server
const running = new Set<Standalone>()

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'postern-standalone-'))
  mkdirSync(join(root, 'manifests'))
  application = createServer((_, response) => response.end('hello\n')).listen(0, '127.0.0.1')
  await once(application, 'listening')
})

afterEach(async () => {
  for (const standalone of running) await standalone.end('SIGKILL')
  application.closeAllConnections()
  application.close()
  rmSync(root, { recursive: true, force: true })
})

const write = (file: string, text: string): void => writeFileSync(join(root, 'manifests', file), text)
const policy = (extra = ''): string => `apiVersion: postern.dev/v1alpha1
kind: AccessPolicy
metadata: { name: orders, namespace: shop }
spec:
  workloadSelector: { matchLabels: { app: orders } }
  ports: [{ port: 8080 }]
  interfaces: [{ name: read, match: [{ methods: [GET], paths: ["/orders"] }] }]
  roles: [{ name: Developer, interfaces: [read] }]
${extra}`
const key = (name: string, spec = 'access: [{ policy: { name: orders } }]'): string => `---
apiVersion: postern.dev/v1alpha1
kind: ApiKey
metadata: { name: ${name}, namespace: shop }
spec:
  ${spec}
`

class Standalone {
  readonly child: ChildProcess
  output = ''
  private guardPort = 0
  private adminPort = 0

  constructor(state = 'state') {
    const { port } = application.address() as { port: number }
    this.child = spawn(
      process.execPath,
      [
        'src/main.ts',
        'standalone',
        '--manifests',
        join(root, 'manifests'),
        '--state',
        join(root, state),
        '--guard',
        `shop/orders@127.0.0.1:0=127.0.0.1:${port}`,
        '--admin',
        '127.0.0.1:0',
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    )
    for (const stream of [this.child.stdout!, this.child.stderr!])
      stream.on('data', (bytes) => (this.output += String(bytes)))
    running.add(this)
  }

  async ready(): Promise<this> {
    await eventually('standalone to listen', () => this.ports())
    await eventually(
      'standalone to be ready',
      async () => (await fetch(`http://127.0.0.1:${this.adminPort}/readyz`)).status === 200,
    )
    return this
  }

  async status(presented: string | undefined, path = '/orders'): Promise<number> {
    const headers: Record<string, string> = presented === undefined ? {} : { authorization: `Bearer ${presented}` }
    const response = await fetch(`http://127.0.0.1:${this.guardPort}${path}`, { headers })
    await response.arrayBuffer()
    return response.status
  }

  async answers(presented: string | undefined, status: number): Promise<void> {
    await eventually(`the answer ${status}`, async () => (await this.status(presented)) === status)
  }

  async metrics(): Promise<string> {
    return (await fetch(`http://127.0.0.1:${this.adminPort}/metrics`)).text()
  }

  async end(signal: NodeJS.Signals): Promise<number | null> {
    running.delete(this)
    if (this.child.exitCode === null && this.child.signalCode === null && this.child.kill(signal))
      await once(this.child, 'exit')
    return this.child.exitCode
  }

  private ports(): boolean {
    const up = this.output.split('\n').find((line) => line.includes('Standalone is up'))
    if (up === undefined) return false
    const { guards, admin } = JSON.parse(up) as { guards: { port: number }[]; admin: { port: number } }
    this.guardPort = guards[0]!.port
    this.adminPort = admin.port
    return true
  }
}

const secretFile = (name: string, part = 'key'): string => join(root, 'state', 'secrets', 'shop', name, part)
const secretOf = (name: string): string => readFileSync(secretFile(name), 'utf8')
const statusOf = (
  name: string,
): { status?: { conditions?: { type: string; status: string; reason: string; message: string }[] } } | undefined => {
  const file = join(root, 'state', 'status', 'ApiKey', 'shop', `${name}.yaml`)
  return existsSync(file) ? parse(readFileSync(file, 'utf8')) : undefined
}
const reasonOf = (name: string): string | undefined =>
  statusOf(name)?.status?.conditions?.find(({ type }) => type === 'Ready')?.reason

test('lets a change of a manifest change the answer of the running sidecar', async () => {
  write('policy.yaml', policy())
  write('keys.yaml', key('a'))
  const standalone = await new Standalone().ready()
  await eventually('the key', () => existsSync(secretFile('a')))
  const presented = secretOf('a')
  await standalone.answers(presented, 200)
  expect(await standalone.status(undefined)).toBe(401)
  expect(statSync(secretFile('a')).mode & 0o777).toBe(0o600)

  write('keys.yaml', key('a', 'enabled: false\n  access: [{ policy: { name: orders } }]'))
  await standalone.answers(presented, 401)
  write('keys.yaml', key('a'))
  await standalone.answers(presented, 200)
  write('policy.yaml', policy('  suspended: true\n'))
  await standalone.answers(presented, 403)
  write('policy.yaml', policy())
  await standalone.answers(presented, 200)
  write('keys.yaml', '')
  await standalone.answers(presented, 401)
  await eventually('the Secret to be gone', () => !existsSync(secretFile('a')))
  expect(await standalone.end('SIGINT')).toBe(0)
})

test('reports what is wrong with a manifest, and changes nothing else', async () => {
  write('policy.yaml', policy())
  write('keys.yaml', key('a'))
  const standalone = await new Standalone().ready()
  await eventually('the key', () => reasonOf('a') === 'Ready')
  const presented = secretOf('a')
  const reports = (line: string): Promise<unknown> =>
    eventually(`the report ${line}`, () => standalone.output.includes(line))

  write('bad.yaml', `${key('b', 'displayNmae: x')}${key('c', 'allowedAddresses: ["010.0.0.1"]')}${key('d')}`)
  const bad = join(root, 'manifests', 'bad.yaml')
  await reports(`${bad}:6:3: ApiKey shop/b: .spec.displayNmae: is not a known field`)
  await reports(`${bad}:12:22: ApiKey shop/c: .spec.allowedAddresses[0]: must be an IPv4 or IPv6 address`)
  await eventually('the good one', () => reasonOf('d') === 'Ready')
  expect(statusOf('b')).toBeUndefined()

  // An object that was good keeps what it was.
  write('keys.yaml', key('a', 'acces: []'))
  await reports(`${join(root, 'manifests', 'keys.yaml')}:6:3: ApiKey shop/a: .spec.acces: is not a known field`)
  write('policy.yaml', policy('  roles: {'))
  await reports(join(root, 'manifests', 'policy.yaml'))
  expect(await standalone.status(presented)).toBe(200)

  write('policy.yaml', policy('  public: [{ paths: ["/a/../b"] }]\n'))
  await reports('.spec.public[0].paths[0]: is not a canonical path (dot-seg)')
  write('twice.yaml', key('d'))
  await reports(`${join(root, 'manifests', 'twice.yaml')}:2:1: ApiKey shop/d: .: is in ${bad} too, which counts`)
  // A file that comes first by name takes nothing over.
  write('a.yaml', key('d', 'enabled: false'))
  await reports(`${join(root, 'manifests', 'a.yaml')}:2:1: ApiKey shop/d: .: is in ${bad} too, which counts`)
  expect(await standalone.status(secretOf('d'))).toBe(200)
  write(
    'secret.yaml',
    'apiVersion: v1\nkind: Secret\nmetadata: { name: s }\nstringData:\n  pin: 73573\n  ..: x\ndata: { token: hunter-2 }\n',
  )
  await reports('secret.yaml:5:3: Secret default/s: .stringData.pin: must be text; put a number into quotes')
  await reports('secret.yaml:6:3: Secret default/s: .stringData...: must have a name of letters')
  await reports('secret.yaml:7:9: Secret default/s: .data.token: must be base64')
  expect(standalone.output).not.toMatch(/73573|hunter/)
  write('typo.yaml', key('e').replace('ApiKey', 'ApiKeys') + key('f').replace('v1alpha1', 'v1'))
  await reports('typo.yaml:3:1: ApiKeys shop/e: .kind: is not a kind of postern.dev')
  await reports('typo.yaml:8:1: ApiKey shop/f: .apiVersion: must be postern.dev/v1alpha1')
  write('keys.yaml', key('a', 'secret: { name: other }\n  access: [{ policy: { name: orders } }]'))
  await reports('ApiKey shop/a: .spec.secret.name: is immutable')
  expect(await standalone.status(presented)).toBe(200)
})

test('says in the status what a key waits for', async () => {
  write('policy.yaml', policy())
  const digest = `source: { digest: "sha256:${'ab'.repeat(32)}" }\n  access: [{ policy: { name: orders } }]`
  write(
    'keys.yaml',
    [
      key('lost', 'access: [{ policy: { name: nowhere } }]'),
      key('role', 'access: [{ policy: { name: orders }, roles: [Admin] }]'),
      key('interface', 'access: [{ policy: { name: orders }, interfaces: [write] }]'),
      key('first', digest),
      key('good'),
    ].join(''),
  )
  await new Standalone().ready()
  await eventually('all of them', () =>
    ['lost', 'role', 'interface', 'first', 'good'].every((name) => reasonOf(name) !== undefined),
  )
  await eventually('the good one', () => reasonOf('good') === 'Ready' && reasonOf('first') === 'Ready')
  expect(['lost', 'role', 'interface'].map(reasonOf)).toEqual(['PolicyNotFound', 'RoleUnknown', 'InterfaceUnknown'])
  // Of two keys that are made in one second, neither is the older.
  const second = Math.floor(Date.now() / 1000)
  await eventually('another second', () => Math.floor(Date.now() / 1000) > second)
  write('more.yaml', key('second', digest))
  await eventually('the duplicate', () => reasonOf('second') === 'DuplicateKey')
  expect(reasonOf('first')).toBe('Ready')
})

test('keeps keys, editions and uids over a crash, and is alone on its state', async () => {
  write('policy.yaml', policy())
  write('keys.yaml', key('a') + key('b'))
  const first = await new Standalone().ready()
  await eventually('the keys', () => reasonOf('a') === 'Ready' && reasonOf('b') === 'Ready')
  const presented = secretOf('a')
  await first.answers(presented, 200)
  const intruder = new Standalone()
  await once(intruder.child, 'exit')
  expect(intruder.output).toContain(`${join(root, 'state')} is in use by process ${first.child.pid}`)
  const before = {
    status: statusOf('a'),
    manifest: readFileSync(join(root, 'state', 'verification', 'shop', 'orders', 'manifest.json'), 'utf8'),
  }
  await first.end('SIGKILL')

  rmSync(join(root, 'state', 'secrets', 'shop', 'b'), { recursive: true })
  const second = await new Standalone().ready()
  await second.answers(presented, 200)
  expect(secretOf('a')).toBe(presented)
  await eventually('a new value for the one that was deleted', () => existsSync(secretFile('b')))
  await second.answers(secretOf('b'), 200)
  expect((statusOf('a') as { metadata?: object }).metadata).toMatchObject({
    uid: (before.status as { metadata: { uid: string } }).metadata.uid,
  })
  await second.end('SIGTERM')

  writeFileSync(secretFile('a'), `${presented.slice(0, -1)}!`)
  const third = await new Standalone().ready()
  await eventually('the edit to be seen', () => reasonOf('a') === 'SecretTampered')
  await third.answers(presented, 401)
})

test('keeps what a manifest that is broken at the start may have said before', async () => {
  write('policy.yaml', policy())
  write('keys.yaml', key('a') + key('b'))
  const first = await new Standalone().ready()
  await eventually('the keys', () => reasonOf('a') === 'Ready' && reasonOf('b') === 'Ready')
  const presented = ['a', 'b'].map(secretOf)
  await first.end('SIGTERM')

  write('policy.yaml', policy('  roles: {'))
  write('keys.yaml', `${key('a')}${key('b', 'access: [')}`)
  const second = await new Standalone().ready()
  // A key that comes now becomes Ready by the policy of before, after everything else has been looked at.
  write('more.yaml', key('c'))
  await eventually('the new key', () => existsSync(secretFile('c')) && reasonOf('c') === 'Ready')
  await second.answers(secretOf('c'), 200)
  for (const one of presented) expect(await second.status(one)).toBe(200)
  expect(['a', 'b'].map(secretOf)).toEqual(presented)
  // Once everything can be read again, it is known what is gone.
  write('policy.yaml', policy())
  write('keys.yaml', key('a'))
  await second.answers(presented[1], 401)
  await second.answers(presented[0], 200)
  expect(secretOf('a')).toBe(presented[0])
})

test('does not begin on a status that cannot be read, for a key would be lost', async () => {
  write('policy.yaml', policy())
  write('keys.yaml', key('a'))
  const first = await new Standalone().ready()
  await eventually('the key', () => reasonOf('a') === 'Ready')
  const presented = secretOf('a')
  await first.end('SIGTERM')
  const file = join(root, 'state', 'status', 'ApiKey', 'shop', 'a.yaml')
  writeFileSync(file, `${readFileSync(file, 'utf8')}: [`)
  const second = new Standalone()
  await once(second.child, 'exit')
  expect(second.child.exitCode).toBe(1)
  expect(second.output).toContain(`${file}:`)
  expect(secretOf('a')).toBe(presented)
})

test.each<[string, number, string, (options: Options) => Partial<Options>]>([
  ['no directory of manifests', 2, '--manifests', ({ manifests }) => ({ manifests: `${manifests}/none` })],
  ['a malformed guard', 2, '--guard nonsense: must have the form', () => ({ guard: ['nonsense'] })],
  [
    'two guards at one place',
    2,
    '--guard: two guards listen at 127.0.0.1:18099',
    () => ({ guard: ['a/b@127.0.0.1:18099=127.0.0.1:80', 'a/c@127.0.0.1:18099=127.0.0.1:81'] }),
  ],
  ['a state directory that cannot be made', 1, '--state', ({ manifests }) => ({ state: `${manifests}/file/state` })],
])('says what is wrong with its arguments: %s', async (_, code, message, change) => {
  write('file', '')
  const options = { manifests: join(root, 'manifests'), state: join(root, 'state'), guard: ['a/b@127.0.0.1:0=h:80'] }
  const { manifests, state, guard } = { ...options, ...change(options) }
  const args = ['--manifests', manifests, '--state', state, ...guard.flatMap((one) => ['--guard', one])]
  const child = spawn(process.execPath, ['src/main.ts', 'standalone', ...args, '--admin', '127.0.0.1:0'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let output = ''
  child.stderr.on('data', (bytes) => (output += String(bytes)))
  await once(child, 'close')
  expect(output).toContain(message)
  expect(child.exitCode).toBe(code)
})
interface Options {
  readonly manifests: string
  readonly state: string
  readonly guard: readonly string[]
}

test('tells a key to nobody but its Secret', async () => {
  write('policy.yaml', policy())
  write(
    'keys.yaml',
    key('a') + key('b', 'secret: { template: { config: "token=$(key)" } }\n  access: [{ policy: { name: orders } }]'),
  )
  const standalone = await new Standalone().ready()
  await eventually('the keys', () => reasonOf('a') === 'Ready' && reasonOf('b') === 'Ready')
  const keys = [secretOf('a'), readFileSync(secretFile('b', 'config'), 'utf8').replace('token=', '')]
  for (const presented of keys) {
    await standalone.answers(presented, 200)
    expect(await standalone.status(presented, '/other')).toBe(403)
    expect(await standalone.status(`${presented}x`)).toBe(401)
  }
  const texts = [standalone.output, await standalone.metrics()]
  for (const entry of readdirSync(join(root, 'state'), { recursive: true, withFileTypes: true })) {
    const file = join(entry.parentPath, entry.name)
    if (entry.isFile() && !file.startsWith(join(root, 'state', 'secrets'))) texts.push(readFileSync(file, 'latin1'))
  }
  expect(texts.length).toBeGreaterThan(8)
  for (const presented of keys) {
    const secret = presented.split('_')[2]!
    for (const text of texts)
      for (const form of [secret, Buffer.from(presented).toString('base64')]) expect(text).not.toContain(form)
  }
})
