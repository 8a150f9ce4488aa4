import type { AddressInfo, Server } from 'node:net'
import type { Log } from '../runtime/log.ts'
import type { Endpoint } from './http1/proxy-listener.ts'

/** @returns where it listens: the port is a free one where 0 was asked for */
export async function openServer(server: Server, { host, port }: Endpoint, log: Log): Promise<Endpoint> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port, backlog: 1024 }, () => {
      server.off('error', reject)
      // Too many open files, for one: connections that are open go on.
      server.on('error', (error) => log.error('A connection could not be accepted', { error }))
      resolve()
    })
  })
  const { address, port: given } = server.address() as AddressInfo
  return { host: address, port: given }
}

/** Accepts no more, asks connections to end by `drain`, and makes what is left after so many seconds end by `cut`. */
export async function closeServer(
  server: Server,
  withinSeconds: number,
  { drain, cut }: { readonly drain: () => void; readonly cut: () => void },
): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    server.close(() => resolve())
  })
  drain()
  const timer = setTimeout(cut, withinSeconds * 1000)
  await closed
  clearTimeout(timer)
}
