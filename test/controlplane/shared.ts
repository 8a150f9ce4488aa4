/**
 * Set-up of the whole test run (see `vitest.config.ts`): keeps the one control plane that all test files share. It
 * starts when the first of them asks, in this process, because test files run in processes that come and go.
 */

import { mkdtemp } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import type { Address } from './access.ts'
import { removeAtEnd } from './daemon.ts'
import { existingCluster } from './existing.ts'
import { startControlPlane } from './start.ts'

declare module 'vitest' {
  export interface ProvidedContext {
    /** Path of the socket where this process answers any HTTP request with an Address as JSON. */
    controlPlaneSocket: string
  }
}

interface Shared {
  readonly address: Address
  stop(): Promise<void>
}

export default async function keepSharedControlPlane(project: TestProject): Promise<() => Promise<void>> {
  const directory = await mkdtemp(join(tmpdir(), 'postern-test-'))
  const removeDirectory = removeAtEnd(directory)
  const socket = join(directory, 'controlplane.sock')
  const given = process.env.KUBECONFIG_TEST
  const start = async (): Promise<Shared> =>
    given === undefined
      ? startControlPlane()
      : { address: await existingCluster(given, directory), stop: () => Promise.resolve() }

  let shared: Promise<Shared> | undefined
  const server = createServer((_, response) => {
    shared ??= start()
    shared.then(
      ({ address }) => response.end(JSON.stringify(address)),
      (error: unknown) => response.writeHead(500).end(error instanceof Error ? error.stack : String(error)),
    )
  })
  await new Promise<void>((resolve) => server.listen(socket, resolve))
  project.provide('controlPlaneSocket', socket)

  return async () => {
    server.close()
    server.closeAllConnections()
    const plane = await shared?.catch(() => undefined)
    await plane?.stop()
    await removeDirectory()
  }
}
