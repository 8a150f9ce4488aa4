/** Starts real gateways by the example configurations, with the addresses of a test in place of those of a cluster. */

import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { eventually } from '../support/wait.ts'

export interface Places {
  readonly app: number
  readonly decisions: number
  readonly decisionsGrpc: number
  readonly guard: number
}

export interface Gateway {
  readonly port: number
  stop(): Promise<void>
}

interface Program {
  readonly example: string
  readonly paths: readonly string[]
  readonly install: string
  /** Arguments, by the configuration file, its directory and the port to listen at. */
  readonly args: (file: string, directory: string, port: number) => readonly string[]
}

const cache = process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache')
const fetched = (name: string) => [`/usr/local/bin/${name}`, join(cache, 'postern', name, name)]
const envoy = {
  paths: fetched('envoy'),
  install: 'test/gateways/fetch.sh',
  args: (file: string) => ['-c', file, '--use-dynamic-base-id', '--concurrency', '1', '-l', 'warn'],
}

export const programs: Readonly<Record<string, Program>> = {
  'nginx auth_request': {
    example: 'nginx.conf',
    paths: ['/usr/sbin/nginx', '/usr/bin/nginx'],
    install: 'apt-get install nginx-light',
    args: (file, directory) => [
      '-p',
      directory,
      '-c',
      file,
      '-e',
      join(directory, 'error.log'),
      '-g',
      `daemon off; master_process off; pid ${join(directory, 'pid')};`,
    ],
  },
  'Caddy forward_auth': {
    example: 'Caddyfile',
    paths: ['/usr/bin/caddy'],
    install: 'apt-get install caddy',
    args: (file) => ['run', '--adapter', 'caddyfile', '--config', file],
  },
  'Traefik forwardAuth': {
    example: 'traefik.yaml',
    paths: fetched('traefik'),
    install: 'test/gateways/fetch.sh',
    args: (file, _, port) => [
      `--entryPoints.http.address=127.0.0.1:${port}`,
      `--providers.file.filename=${file}`,
      '--global.checkNewVersion=false',
      '--global.sendAnonymousUsage=false',
    ],
  },
  'Envoy HTTP ext_authz': { ...envoy, example: 'envoy-http.yaml' },
  'Envoy gRPC ext_authz': { ...envoy, example: 'envoy-grpc.yaml' },
  'HAProxy before a guarded port': {
    example: 'haproxy.cfg',
    paths: ['/usr/sbin/haproxy'],
    install: 'apt-get install haproxy',
    args: (file) => ['-db', '-f', file],
  },
}

export const pathOf = ({ paths }: Program): string | undefined => paths.find((path) => existsSync(path))

export async function startGateway(program: Program, places: Places): Promise<Gateway> {
  const directory = await mkdtemp(join(tmpdir(), 'postern-gateway-'))
  const port = await freePort()
  const example = await readFile(new URL(`../../deploy/gateways/${program.example}`, import.meta.url), 'utf8')
  const file = join(directory, program.example)
  await writeFile(file, adapt(example, program.example, directory, port, places))
  const child = spawn(pathOf(program)!, program.args(file, directory, port), {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { HOME: directory, PATH: process.env.PATH },
  })
  const output: string[] = []
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes: Buffer) => output.push(bytes.toString()))
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const stop = async () => {
    child.kill('SIGKILL')
    await exited
    await rm(directory, { recursive: true, force: true })
  }
  try {
    await eventually(`${program.example} to be served`, () => answers(port, child, output), 30)
  } catch (error) {
    await stop()
    throw error
  }
  return { port, stop }
}

/** A challenge comes from Postern: whatever else is answered, the configuration is not in force yet. */
async function answers(port: number, child: ChildProcess, output: readonly string[]): Promise<boolean> {
  if (child.exitCode !== null) throw new Error(`it ended: ${output.join('')}`)
  const response = await fetch(`http://127.0.0.1:${port}/app/ready`).catch(() => undefined)
  await response?.arrayBuffer()
  return response?.status === 401
}

function adapt(example: string, name: string, directory: string, port: number, places: Places): string {
  const text = example
    .replaceAll('postern-decisions.postern-system.svc:15480', `127.0.0.1:${places.decisions}`)
    .replaceAll('orders.shop.svc:8080', `127.0.0.1:${places.app}`)
    .replaceAll('orders.shop.svc:18080', `127.0.0.1:${places.guard}`)
    .replaceAll(/address: postern-decisions\.postern-system\.svc, port_value: (\d+)/g, (_, of: string) => {
      const at = of === '15481' ? places.decisionsGrpc : places.decisions
      return `address: 127.0.0.1, port_value: ${at}`
    })
    .replaceAll('address: orders.shop.svc, port_value: 8080', `address: 127.0.0.1, port_value: ${places.app}`)
    .replaceAll('address: 0.0.0.0, port_value: 8080', `address: 127.0.0.1, port_value: ${port}`)
    .replaceAll('listen 8080;', `listen 127.0.0.1:${port};`)
    .replaceAll('bind :8080', `bind 127.0.0.1:${port}`)
    .replaceAll(/^:8080 \{/gm, `:${port} {\n\tbind 127.0.0.1`)
  if (name !== 'nginx.conf') return text
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  const paths = temporary.map((kind) => `${kind}_temp_path ${directory}/${kind};`).join(' ')
  return text.replace('http {', `http { access_log off; ${paths}`)
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
