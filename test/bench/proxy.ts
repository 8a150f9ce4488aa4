import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bundle } from '../../build.ts'
import { makeSet } from './sets.ts'

/**
 * The whole path of a request, side by side: each contender alone on core 0, load and application on core 1; whoever is not
 * measured is stopped. Three rounds, interleaved; medians. Machines are noisy: compare ratios within one run, and CPU rather
 * than rates.
 */
const rounds = 3
const secondsPerCase = 4
const nginx = '/usr/sbin/nginx'
const clockTicksPerSecond = 100

interface Contender {
  readonly name: string
  readonly keys: number
  readonly port: number
  readonly processes: readonly ChildProcess[]
  readonly key: string
}

interface Sample {
  readonly rate: number
  readonly cpuPerThousand: number
  readonly p50One: number
  readonly p99Many: number
  readonly residentMebibytes: number
}

export async function proxyBench(): Promise<object[]> {
  for (const program of [nginx, '/usr/bin/wrk'])
    if (!existsSync(program)) throw new Error(`${program} is missing: apt-get install nginx-light wrk`)
  const directory = mkdtempSync(join(tmpdir(), 'postern-bench-'))
  const started: ChildProcess[] = []
  try {
    await bundle('src/main.ts', join(directory, 'dist'))
    execFileSync('go', ['build', '-trimpath', '-o', join(directory, 'peer'), '.'], {
      cwd: 'test/bench/peers/go',
      env: { ...process.env, GOFLAGS: '-buildvcs=false' },
    })
    const bench = new Bench(directory, started)
    const upstream = await bench.nginx(
      'upstream',
      1,
      `location / { default_type application/json; return 200 '${'x'.repeat(200)}'; }`,
    )
    const contenders = [
      await bench.nginxPlain(upstream.port),
      await bench.nginxAuthRequest(upstream.port),
      await bench.goProxy(upstream.port),
      await bench.nodeProxy(upstream.port),
      ...(await Promise.all([1, 10_000, 100_000].map((count) => bench.postern(upstream.port, count)))),
    ]
    for (const contender of contenders) await verify(contender)
    for (const contender of contenders) signal(contender, 'SIGSTOP')
    const samples = new Map(contenders.map((contender) => [contender, [] as Sample[]]))
    const direct: number[] = []
    for (let round = 0; round < rounds; round++) {
      direct.push(wrk(upstream.port, '', 1).p50)
      for (const contender of contenders) samples.get(contender)!.push(await measure(contender))
    }
    return tabulate(samples, median(direct))
  } finally {
    for (const child of started) child.kill('SIGKILL')
    rmSync(directory, { recursive: true, force: true })
  }
}

class Bench {
  private readonly directory: string
  private readonly started: ChildProcess[]
  private readonly keysFile: string
  private readonly plainKeys: readonly string[]

  constructor(directory: string, started: ChildProcess[]) {
    this.directory = directory
    this.started = started
    this.plainKeys = makeSet(10).keys
    this.keysFile = join(directory, 'keys')
    writeFileSync(this.keysFile, this.plainKeys.join('\n'))
  }

  async nginxPlain(upstream: number): Promise<Contender> {
    const started = await this.nginx(
      'nginx, plain proxy',
      0,
      `location / { ${forwarding} proxy_pass http://up; }`,
      upstreamBlock('up', upstream),
    )
    return { ...started, keys: 0, key: '' }
  }

  async nginxAuthRequest(upstream: number): Promise<Contender> {
    const authorizerPort = await freePort()
    const authorizer = this.run(0, join(this.directory, 'peer'), [], {
      MODE: 'authorizer',
      LISTEN: `127.0.0.1:${authorizerPort}`,
      KEYS_FILE: this.keysFile,
    })
    const locations = `location / { ${forwarding} auth_request /authorize; proxy_set_header Authorization ""; proxy_pass http://up; }
      location = /authorize { internal; ${forwarding} proxy_pass http://authorizer; proxy_pass_request_body off; proxy_set_header Content-Length ""; }`
    const started = await this.nginx(
      'nginx + auth_request (Go)',
      0,
      locations,
      upstreamBlock('up', upstream) + upstreamBlock('authorizer', authorizerPort),
    )
    return { ...started, processes: [...started.processes, authorizer], keys: 10, key: this.plainKeys[5]! }
  }

  async goProxy(upstream: number): Promise<Contender> {
    const port = await freePort()
    const child = this.run(0, join(this.directory, 'peer'), [], {
      MODE: 'proxy',
      LISTEN: `127.0.0.1:${port}`,
      KEYS_FILE: this.keysFile,
      UPSTREAM: `http://127.0.0.1:${upstream}`,
    })
    return { name: 'Go ReverseProxy + map', keys: 10, port, processes: [child], key: this.plainKeys[5]! }
  }

  async nodeProxy(upstream: number): Promise<Contender> {
    const port = await freePort()
    const child = this.run(0, process.execPath, ['test/bench/peers/node.ts'], {
      LISTEN: `127.0.0.1:${port}`,
      KEYS_FILE: this.keysFile,
      UPSTREAM: `http://127.0.0.1:${upstream}`,
    })
    return { name: 'Node http + undici + Set', keys: 10, port, processes: [child], key: this.plainKeys[5]! }
  }

  async postern(upstream: number, count: number): Promise<Contender> {
    const set = makeSet(count)
    const mount = join(this.directory, `set-${count}`)
    mkdirSync(join(mount, '..v1'), { recursive: true })
    for (const [name, bytes] of set.files) {
      writeFileSync(join(mount, '..v1', name), bytes)
      symlinkSync(join('..data', name), join(mount, name))
    }
    symlinkSync('..v1', join(mount, '..data'))
    const [port, adminPort] = [await freePort(), await freePort()]
    const child = this.run(0, process.execPath, [
      join(this.directory, 'dist', 'postern.js'),
      'sidecar',
      ...['--guard', `bench/bench@127.0.0.1:${port}=127.0.0.1:${upstream}`],
      ...['--verification', `bench/bench=${mount}`],
      ...set.publicKeys.flatMap((key) => ['--public-key', key]),
      ...['--admin', `127.0.0.1:${adminPort}`, '--log-level', 'error'],
    ])
    return { name: 'Postern sidecar', keys: count, port, processes: [child], key: set.keys[count >> 1]! }
  }

  async nginx(name: string, core: 0 | 1, locations: string, http = ''): Promise<Omit<Contender, 'keys' | 'key'>> {
    const port = await freePort()
    const home = join(this.directory, `nginx-${port}`)
    mkdirSync(home)
    const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
      .map((kind) => `${kind}_temp_path ${home}/${kind};`)
      .join(' ')
    const file = join(home, 'nginx.conf')
    const server = `server { listen 127.0.0.1:${port}; ${locations} }`
    writeFileSync(
      file,
      `worker_processes 1; daemon off; pid ${home}/pid; error_log ${home}/error crit; events { worker_connections 4096; }
       http { access_log off; keepalive_requests 1000000000; keepalive_timeout 3600s; ${paths} ${http} ${server} }`,
    )
    return { name, port, processes: [this.run(core, nginx, ['-e', join(home, 'error'), '-c', file])] }
  }

  private run(
    core: 0 | 1,
    program: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): ChildProcess {
    const child = spawn('taskset', ['-c', String(core), program, ...args], {
      env: { PATH: process.env.PATH, ...env },
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    this.started.push(child)
    return child
  }
}

const upstreamBlock = (name: string, port: number): string =>
  `upstream ${name} { server 127.0.0.1:${port}; keepalive 128; keepalive_requests 1000000000; }`
// In every location: a proxy_set_header in one drops those of the server, and upstream keep-alive with them.
const forwarding =
  'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $remote_addr;'

async function verify({ name, port, key }: Contender): Promise<void> {
  const ask = async (authorization: string): Promise<number> => {
    const response = await fetch(`http://127.0.0.1:${port}/`, {
      headers: authorization === '' ? {} : { authorization },
    })
    await response.arrayBuffer()
    return response.status
  }
  const deadline = Date.now() + 20_000
  for (;;) {
    const status = await ask(`Bearer ${key}`).catch(() => 0)
    if (status === 200) break
    if (Date.now() > deadline) throw new Error(`${name} answers ${status} to a valid key`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  if (key !== '' && ((await ask('')) !== 401 || (await ask('Bearer unknown')) !== 401))
    throw new Error(`${name} lets a bad key pass`)
}

async function measure(contender: Contender): Promise<Sample> {
  signal(contender, 'SIGCONT')
  const header = `Authorization: Bearer ${contender.key}`
  wrk(contender.port, header, 32, 1)
  const one = wrk(contender.port, header, 1, 2)
  const before = cpuSeconds(contender)
  const many = wrk(contender.port, header, 32)
  const cpu = cpuSeconds(contender) - before
  const residentMebibytes = pidsOf(contender).reduce((sum, pid) => sum + residentKibibytes(pid), 0) / 1024
  signal(contender, 'SIGSTOP')
  return {
    rate: many.rate,
    cpuPerThousand: (cpu / many.requests) * 1000,
    p50One: one.p50,
    p99Many: many.p99,
    residentMebibytes,
  }
}

interface Load {
  readonly requests: number
  readonly rate: number
  /** Microseconds. */
  readonly p50: number
  readonly p99: number
}

function wrk(port: number, header: string, connections: number, seconds = secondsPerCase): Load {
  const headers = header === '' ? [] : ['-H', header]
  const text = execFileSync(
    'taskset',
    [
      '-c',
      '1',
      'wrk',
      '-t1',
      `-c${connections}`,
      `-d${seconds}s`,
      '--latency',
      ...headers,
      `http://127.0.0.1:${port}/`,
    ],
    { encoding: 'utf8' },
  )
  if (/Non-2xx|Socket errors/.test(text)) throw new Error(`requests failed: ${text}`)
  const percentile = (percent: number): number => {
    const [, number, unit] = new RegExp(`^ +${percent}% +([0-9.]+)(us|ms|s)$`, 'm').exec(text)!
    return Number(number) * { us: 1, ms: 1000, s: 1_000_000 }[unit as 'us' | 'ms' | 's']
  }
  const requests = Number(/(\d+) requests in/.exec(text)![1])
  return {
    requests,
    rate: Number(/Requests\/sec: +([0-9.]+)/.exec(text)![1]),
    p50: percentile(50),
    p99: percentile(99),
  }
}

function signal({ processes }: Pick<Contender, 'processes'>, name: 'SIGSTOP' | 'SIGCONT'): void {
  for (const pid of pidsOf({ processes })) process.kill(pid, name)
}

/** The processes and their children. */
function pidsOf({ processes }: Pick<Contender, 'processes'>): number[] {
  const children = new Map<number, number[]>()
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    const parent = statOf(Number(entry))?.[1]
    if (parent !== undefined) children.set(Number(parent), [...(children.get(Number(parent)) ?? []), Number(entry)])
  }
  const withChildren = (pid: number): number[] => [pid, ...(children.get(pid) ?? []).flatMap(withChildren)]
  return processes.flatMap(({ pid }) => withChildren(pid!))
}

const cpuSeconds = (contender: Contender): number =>
  pidsOf(contender).reduce((sum, pid) => {
    const stat = statOf(pid)
    return sum + (stat ? (Number(stat[11]) + Number(stat[12])) / clockTicksPerSecond : 0)
  }, 0)

/** The fields of /proc/PID/stat behind the name. */
function statOf(pid: number): string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')
  } catch {
    return undefined
  }
}

const residentKibibytes = (pid: number): number =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0)

function tabulate(samples: ReadonlyMap<Contender, readonly Sample[]>, direct: number): object[] {
  const rows = [...samples].map(([{ name, keys }, list]) => ({
    name,
    keys,
    of: (pick: (sample: Sample) => number) => median(list.map(pick)),
  }))
  const cpuOf = (name: string): number =>
    rows.find((row) => row.name.startsWith(name))!.of((sample) => sample.cpuPerThousand)
  const [plain, auth] = [cpuOf('nginx, plain'), cpuOf('nginx + auth')]
  return rows.map(({ name, keys, of }) => {
    const cpu = of((sample) => sample.cpuPerThousand)
    return {
      system: name,
      keys,
      'requests/s': Math.round(of((sample) => sample.rate)),
      'CPU s per 1,000': round(cpu, 4),
      '× nginx plain (by CPU)': round(plain / cpu, 2),
      '× auth_request (by CPU)': round(auth / cpu, 2),
      'p50 added, 1 connection (µs)': round(of((sample) => sample.p50One) - direct, 0),
      'p99, 32 connections (ms)': round(of((sample) => sample.p99Many) / 1000, 1),
      'RSS (MiB)': Math.round(of((sample) => sample.residentMebibytes)),
    }
  })
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!
const round = (value: number, digits: number): number => Number(value.toFixed(digits))

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
