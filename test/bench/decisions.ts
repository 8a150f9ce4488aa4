import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bundle } from '../../build.ts'
import { CheckClient, framed } from '../wire/check-client.ts'
import { encodeCheckRequest } from '../wire/check-messages.ts'
import { type BenchSet, makeSet } from './sets.ts'

/**
 * Answers to gateways, side by side: each contender alone on core 0, load on core 1; whoever is not measured is stopped.
 * Three rounds, interleaved; medians. Ratios are by processor time, which drifts less than rates do.
 */
const rounds = 3
const secondsPerCase = 4
const connections = 32
const checkPath = '/envoy.service.auth.v3.Authorization/Check'

interface Contender {
  readonly name: string
  readonly protocol: 'HTTP' | 'gRPC'
  readonly keys: number
  readonly key: string
  readonly port: number
  readonly path: string
  readonly child: ChildProcess
}

interface Sample {
  readonly rate: number
  readonly cpuPerThousand: number
}

export async function decisionsBench(): Promise<object[]> {
  for (const program of ['/usr/bin/wrk', '/usr/bin/h2load'])
    if (!existsSync(program)) throw new Error(`${program} is missing: apt-get install wrk nghttp2-client`)
  const directory = mkdtempSync(join(tmpdir(), 'postern-bench-'))
  const started: ChildProcess[] = []
  try {
    await bundle('src/main.ts', join(directory, 'dist'))
    const contenders = [
      ...(await bareNode(directory, makeSet(10), started)),
      ...(await postern(directory, makeSet(10), 10, started)),
      ...(await postern(directory, makeSet(10_000), 10_000, started)),
    ]
    for (const contender of contenders) await ready(contender)
    for (const { child } of contenders) child.kill('SIGSTOP')
    const samples = new Map(contenders.map((contender) => [contender, [] as Sample[]]))
    for (let round = 0; round < rounds; round++)
      for (const contender of contenders) samples.get(contender)!.push(measure(contender, directory))
    return tabulate(samples)
  } finally {
    for (const child of started) child.kill('SIGKILL')
    rmSync(directory, { recursive: true, force: true })
  }
}

async function bareNode(directory: string, { keys }: BenchSet, started: ChildProcess[]): Promise<Contender[]> {
  const keysFile = join(directory, 'keys')
  writeFileSync(keysFile, keys.join('\n'))
  const contenders: Contender[] = []
  for (const protocol of ['HTTP', 'gRPC'] as const) {
    const port = await freePort()
    const child = run(started, ['test/bench/peers/node-authorizer.ts'], {
      MODE: protocol === 'HTTP' ? 'http' : 'grpc',
      LISTEN: `127.0.0.1:${port}`,
      KEYS_FILE: keysFile,
      KEY_LENGTH: String(keys[5]!.length),
    })
    const path = protocol === 'HTTP' ? '/' : checkPath
    contenders.push({ name: 'bare Node authorizer', protocol, keys: 10, key: keys[5]!, port, path, child })
  }
  return contenders
}

async function postern(directory: string, set: BenchSet, count: number, started: ChildProcess[]): Promise<Contender[]> {
  const mount = join(directory, `set-${count}`)
  mkdirSync(mount)
  for (const [name, bytes] of set.files) writeFileSync(join(mount, name), bytes)
  const [http, grpc] = [await freePort(), await freePort()]
  const child = run(started, [
    join(directory, 'dist', 'postern.js'),
    'sidecar',
    '--verification',
    `bench/bench=${mount}`,
    ...set.publicKeys.flatMap((key) => ['--public-key', key]),
    '--decisions',
    `127.0.0.1:${http}`,
    '--decisions-grpc',
    `127.0.0.1:${grpc}`,
    '--trusted-peers',
    '127.0.0.1',
    '--admin',
    `127.0.0.1:${await freePort()}`,
    '--log-level',
    'error',
  ])
  const common = { name: 'Postern', keys: count, key: set.keys[count >> 1]!, child }
  return [
    { ...common, protocol: 'HTTP', port: http, path: '/authz/nginx/bench/bench' },
    { ...common, protocol: 'gRPC', port: grpc, path: checkPath },
  ]
}

function run(
  started: ChildProcess[],
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): ChildProcess {
  const child = spawn('taskset', ['-c', '0', process.execPath, ...args], {
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  started.push(child)
  return child
}

const headersFor = (key: string): Readonly<Record<string, string>> => ({
  Host: 'orders.shop.svc',
  'user-agent': 'bench/1.0',
  accept: '*/*',
  'x-original-method': 'GET',
  'x-original-uri': '/orders/4711',
  'x-forwarded-for': '192.0.2.1',
  'x-api-key': key,
})

function checkMessage(key: string): Buffer {
  const headers = {
    ':method': 'GET',
    ':path': '/orders/4711',
    ':authority': 'orders.shop.svc',
    ':scheme': 'https',
    'user-agent': 'bench/1.0',
    accept: '*/*',
    'x-forwarded-for': '192.0.2.1',
    'x-request-id': '3b0f5c9e-2f0b-4b3f-9a34-0b2f6f6f2f10',
    'x-api-key': key,
  }
  const http = { method: 'GET', path: '/orders/4711', host: 'orders.shop.svc', scheme: 'https', protocol: 'HTTP/1.1' }
  const source = { address: { socketAddress: { address: '192.0.2.1', portValue: 4711 } } }
  return framed(encodeCheckRequest({ attributes: { source, request: { http: { ...http, headers } } } }))
}

/** Waits until a good key passes, and sees that no other does. */
async function ready(contender: Contender): Promise<void> {
  const deadline = Date.now() + 20_000
  while (!(await passes(contender, contender.key).catch(() => false))) {
    if (Date.now() > deadline) throw new Error(`${contender.name} (${contender.protocol}) lets a valid key not pass`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  const unknown = contender.key.replace(/.{8}$/, 'AAAAAAAA')
  if (await passes(contender, unknown)) throw new Error(`${contender.name} lets a bad key pass`)
}

async function passes({ protocol, port, path }: Contender, key: string): Promise<boolean> {
  if (protocol === 'HTTP') {
    const { Host: _, ...headers } = headersFor(key)
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { headers })
    await response.arrayBuffer()
    return response.status === 200
  }
  const client = new CheckClient(port)
  try {
    return (await client.send(checkMessage(key))).response?.okResponse !== undefined
  } finally {
    client.close()
  }
}

function measure(contender: Contender, directory: string): Sample {
  contender.child.kill('SIGCONT')
  load(contender, directory, 1)
  const before = cpuSeconds(contender.child)
  const { requests, rate } = load(contender, directory, secondsPerCase)
  const cpuPerThousand = ((cpuSeconds(contender.child) - before) / requests) * 1000
  contender.child.kill('SIGSTOP')
  return { rate, cpuPerThousand }
}

function load(
  contender: Contender,
  directory: string,
  seconds: number,
): { readonly requests: number; readonly rate: number } {
  const { protocol, port, path, key } = contender
  const url = `http://127.0.0.1:${port}${path}`
  const onCore = (args: readonly string[]): string =>
    execFileSync('taskset', ['-c', '1', ...args], { encoding: 'utf8' })
  if (protocol === 'HTTP') {
    const headers = Object.entries(headersFor(key)).flatMap(([name, value]) => ['-H', `${name}: ${value}`])
    const text = onCore(['wrk', '-t1', `-c${connections}`, `-d${seconds}s`, ...headers, url])
    if (/Non-2xx|Socket errors/.test(text)) throw new Error(`questions failed: ${text}`)
    return {
      requests: Number(/(\d+) requests in/.exec(text)![1]),
      rate: Number(/Requests\/sec: +([0-9.]+)/.exec(text)![1]),
    }
  }
  const file = join(directory, 'check')
  writeFileSync(file, checkMessage(key))
  // A gateway has one connection a worker, and many questions on each.
  const shape = ['-c', '2', '-m', String(connections / 2), '-D', String(seconds), '-d', file]
  const text = onCore(['h2load', ...shape, '-H', 'content-type: application/grpc', '-H', 'te: trailers', url])
  const [, succeeded, failed] = /(\d+) succeeded, (\d+) failed/.exec(text)!
  if (Number(failed) > 0 || /[1-9]\d* (?:4xx|5xx)/.test(text)) throw new Error(`questions failed: ${text}`)
  return { requests: Number(succeeded), rate: Number(/finished in .*?, ([0-9.]+) req\/s/.exec(text)![1]) }
}

/** The fields of /proc/PID/stat behind the name: user and system time. */
function cpuSeconds({ pid }: ChildProcess): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

function tabulate(samples: ReadonlyMap<Contender, readonly Sample[]>): object[] {
  const of = (list: readonly Sample[], pick: (sample: Sample) => number): number =>
    list.map(pick).sort((a, b) => a - b)[Math.floor(list.length / 2)]!
  const bare = new Map(
    [...samples].flatMap(([{ name, protocol }, list]) =>
      name.startsWith('bare') ? [[protocol, of(list, ({ cpuPerThousand }) => cpuPerThousand)] as const] : [],
    ),
  )
  return [...samples].map(([{ name, protocol, keys }, list]) => {
    const cpu = of(list, ({ cpuPerThousand }) => cpuPerThousand)
    return {
      system: name,
      protocol,
      keys,
      'decisions/s': Math.round(of(list, ({ rate }) => rate)),
      'CPU s per 1,000': Number(cpu.toFixed(4)),
      '× bare Node (by CPU)': Number((bare.get(protocol)! / cpu).toFixed(2)),
    }
  })
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}
