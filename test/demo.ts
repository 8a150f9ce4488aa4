/**
 * `npm run demo`: Postern on this machine, on the manifests of deploy/examples, before a small application. Prints curl
 * lines, each with the status that it gives, and stays until SIGINT. With `--check` it runs these lines itself instead,
 * and exits with 1 where one gives another status.
 */

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { createServer as createTcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const deadlineSeconds = 30

/** @param state where standalone keeps its files; @param url of the guarded port */
function curlLines(state: string, url: string): string[] {
  const curl = (options: string, path: string, status: number): string =>
    `curl -s -o /dev/null -w '%{http_code}\n' ${options}${options === '' ? '' : ' '}${url}${path} # ${status}`.replace(
      '\n',
      '\\n',
    )
  const key = (name: string, part = 'key'): string => `$(cat ${join(state, 'secrets', name, part)})`
  const bearer = (name: string): string => `-H "Authorization: Bearer ${key(name)}"`
  return [
    '# a key in three places: Bearer, Basic, X-API-Key',
    curl(bearer('billing/exporter'), '/orders', 200),
    curl(`-u "${key('billing/exporter', 'keyId')}:${key('billing/exporter', 'secret')}"`, '/orders/4711', 200),
    curl(`-H "X-API-Key: ${key('billing/exporter')}"`, '/orders', 200),
    '# a key that was made elsewhere',
    curl('-H "Authorization: Bearer example-0a1b2c3d4e5f6g7h8i9j-known-to-all"', '/orders', 200),
    '# a role that does not suffice, and one that does',
    curl(`-X POST ${bearer('billing/exporter')}`, '/orders', 403),
    curl(`-X POST ${bearer('shop/backoffice')}`, '/orders', 200),
    '# a public path, and one that is denied whatever the key',
    curl('', '/healthz', 200),
    curl(`-X POST ${bearer('shop/backoffice')}`, '/orders/internal/audit', 403),
    curl(`--path-as-is -X POST ${bearer('shop/backoffice')}`, '/orders/x/../internal/audit', 400),
    '# no key, an unknown one, and two at once',
    curl('', '/orders', 401),
    curl('-H "Authorization: Bearer nobody-ever-made-this-key"', '/orders', 401),
    curl(`${bearer('billing/exporter')} -H "X-API-Key: ${key('billing/exporter')}"`, '/orders', 401),
    '# a key that is disabled, one that has expired, and one that is for other addresses',
    curl(bearer('shop/trial'), '/orders', 401),
    curl(bearer('shop/campaign'), '/orders', 401),
    curl(bearer('shop/warehouse'), '/orders', 403),
  ]
}

async function demo(check: boolean): Promise<number> {
  const state = mkdtempSync(join(tmpdir(), 'postern-demo-'))
  const ended = Promise.withResolvers<void>()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => ended.resolve())
  const application = await startApplication()
  const { port: applicationPort } = application.address() as { port: number }
  const [guardPort, adminPort] = [await portLike(18080), await portLike(15490)]
  const standalone = spawn(
    process.execPath,
    [
      'src/main.ts',
      'standalone',
      ...['--manifests', 'deploy/examples', '--state', state],
      ...['--guard', `shop/orders@127.0.0.1:${guardPort}=127.0.0.1:${applicationPort}`],
      ...['--admin', `127.0.0.1:${adminPort}`, '--log-level', 'warn'],
    ],
    // A group of its own, so that SIGINT from the terminal ends it through us, in order.
    { stdio: 'inherit', detached: true },
  )
  try {
    await ready(standalone, adminPort, state)
    const lines = curlLines(state, `http://127.0.0.1:${guardPort}`)
    if (check) return await runAll(lines.filter((line) => !line.startsWith('#')))
    process.stdout.write(
      `\nPostern guards http://127.0.0.1:${guardPort} by the manifests in deploy/examples. In another terminal:\n\n`,
    )
    process.stdout.write(`${lines.join('\n')}\n\n`)
    process.stdout.write('Change a manifest, and the answers change. Metrics: ')
    process.stdout.write(`http://127.0.0.1:${adminPort}/metrics. Ctrl-C ends it.\n`)
    await Promise.race([ended.promise, once(standalone, 'exit')])
    return standalone.exitCode ?? 0
  } finally {
    if (standalone.exitCode === null && standalone.kill('SIGTERM')) await once(standalone, 'exit')
    application.closeAllConnections()
    application.close()
    rmSync(state, { recursive: true, force: true })
  }
}

/** Tells what reached it, and who sent it. */
async function startApplication(): Promise<Server> {
  const server = createServer((request, response) => {
    const identity = Object.fromEntries(
      Object.entries(request.headers).filter(([name]) => name.startsWith('x-postern-')),
    )
    request.resume()
    response.setHeader('Content-Type', 'application/json')
    response.end(`${JSON.stringify({ method: request.method, path: request.url, ...identity })}\n`)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

async function ready(standalone: ChildProcess, adminPort: number, state: string): Promise<void> {
  const expired = join(state, 'status', 'ApiKey', 'shop', 'campaign.yaml')
  const isReady = async (): Promise<boolean> => {
    const response = await fetch(`http://127.0.0.1:${adminPort}/readyz`).catch(() => undefined)
    // One example has a lifetime of a second: it must be over, or the line about it would be wrong.
    return response?.status === 200 && existsSync(expired) && readFileSync(expired, 'utf8').includes('reason: Expired')
  }
  const deadline = performance.now() + deadlineSeconds * 1000
  while (!(await isReady())) {
    if (standalone.exitCode !== null) throw new Error(`standalone ended with ${standalone.exitCode}`)
    if (performance.now() > deadline) throw new Error(`standalone was not ready within ${deadlineSeconds} s`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

async function runAll(lines: readonly string[]): Promise<number> {
  let failed = 0
  for (const line of lines) {
    const [command = '', expected = ''] = line.split(' # ')
    const status = await run(command)
    if (status !== expected) failed += 1
    process.stdout.write(`${status === expected ? 'ok  ' : 'BAD '} ${status} ${line}\n`)
  }
  process.stdout.write(`${lines.length - failed} passed, ${failed} failed\n`)
  return failed === 0 ? 0 : 1
}

const run = (command: string): Promise<string> =>
  new Promise((resolve) => {
    execFile('sh', ['-c', command], (error, stdout) => resolve(error?.code === 127 ? 'curl is missing' : stdout.trim()))
  })

/** The usual port where it is free, so that what is printed is easy to read; else any. */
async function portLike(usual: number): Promise<number> {
  for (const wanted of [usual, 0]) {
    const server = createTcpServer()
    const port = await new Promise<number | undefined>((resolve) => {
      server.once('error', () => resolve(undefined))
      server.listen(wanted, '127.0.0.1', () => resolve((server.address() as { port: number }).port))
    })
    server.close()
    if (port !== undefined) return port
  }
  throw new Error('there is no free port')
}

process.exitCode = await demo(process.argv.includes('--check'))
