/**
 * A stand-in for the kubelet's projected ConfigMap volume: keeps a directory in step with ConfigMaps, move by move as
 * the kubelet's AtomicWriter does, so that a reader meets the same intermediate states.
 *
 *     const volume = await mountConfigMaps({ read: configMapsIn(plane, namespace), names: ['postern-orders'], directory })
 *     await volume.sync()                 // once, now
 *     volume.follow(100)                  // or: again and again, as pods are synced
 *     await volume.unmount()
 */

import { randomBytes } from 'node:crypto'
import { chmod, lstat, mkdir, readdir, readFile, readlink, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { ConfigMap } from '../../src/api/object.ts'

export interface ConfigMapVolume {
  /** Reads all sources and brings the directory up to date. True where there was something to change. */
  sync(): Promise<boolean>
  /** Syncs at this interval until unmounted. What fails is tried again, and `lastError` says what it was. */
  follow(everyMilliseconds: number): void
  lastError(): unknown
  /** Stops following. The files stay. */
  unmount(): Promise<void>
}

export interface ConfigMapVolumeOptions {
  /** Undefined where there is no such ConfigMap. A rejection leaves the directory as it is, as with the kubelet. */
  readonly read: (name: string) => Promise<ConfigMap | undefined>
  /** The volume's sources, each optional; of equal keys the last wins. */
  readonly names: readonly string[]
  /** Made where it is not there. */
  readonly directory: string
}

/** Reads ConfigMaps of one namespace from whatever reads objects by path. */
export const configMapsIn =
  (from: { get(path: string): Promise<unknown> }, namespace: string): ConfigMapVolumeOptions['read'] =>
  async (name) =>
    (await from.get(`/api/v1/namespaces/${namespace}/configmaps/${name}`)) as ConfigMap | undefined

/** Like the kubelet, it fills the directory before the first container may start: it resolves when that is done. */
export async function mountConfigMaps({ read, names, directory }: ConfigMapVolumeOptions): Promise<ConfigMapVolume> {
  const ended = new AbortController()
  let lastError: unknown
  let following = Promise.resolve()

  // Two writers at once would tread on each other, as the AtomicWriter's own documentation says.
  let turn: Promise<unknown> = Promise.resolve()
  const sync = (): Promise<boolean> => {
    const next = turn.then(async () => writeVolume(directory, payload(await Promise.all(names.map(read)))))
    turn = next.catch(() => {})
    return next
  }

  const followEvery = async (milliseconds: number): Promise<void> => {
    while (!ended.signal.aborted) {
      await sync().catch((error: unknown) => {
        lastError = error
      })
      await delay(milliseconds, undefined, { signal: ended.signal }).catch(() => {})
    }
  }

  await mkdir(directory, { recursive: true })
  await sync()
  return {
    sync,
    follow(everyMilliseconds) {
      following = followEvery(everyMilliseconds)
    },
    lastError: () => lastError,
    async unmount() {
      ended.abort()
      await following
      await turn
    },
  }
}

function payload(sources: readonly (ConfigMap | undefined)[]): Map<string, Buffer> {
  const files = new Map<string, Buffer>()
  for (const source of sources) {
    const { data = {}, binaryData = {} } = (source ?? {}) as { data?: Data; binaryData?: Data }
    for (const [name, value] of Object.entries(data)) files.set(name, Buffer.from(value))
    for (const [name, value] of Object.entries(binaryData)) files.set(name, Buffer.from(value, 'base64'))
  }
  return files
}
type Data = Readonly<Record<string, string>>

/**
 * One write of the AtomicWriter (k8s.io/kubernetes/pkg/volume/util): a new directory `..<time>` with all files, the link
 * `..data` moved to it in one rename, links `name -> ..data/name` added and removed, the old directory removed. True
 * where anything differed.
 */
export async function writeVolume(directory: string, files: ReadonlyMap<string, Buffer>): Promise<boolean> {
  const dataLink = join(directory, '..data')
  const oldName = await readlink(dataLink).catch(unlessMissing)
  const oldFiles = oldName === undefined ? [] : await readdir(join(directory, oldName))
  const removed = oldFiles.filter((name) => !files.has(name))

  const changed =
    oldName === undefined || removed.length > 0 || !(await holds(join(directory, oldName), oldFiles, files))
  if (changed) {
    const newName = `..${timestamp()}.${randomBytes(4).readUInt32BE()}`
    await mkdir(join(directory, newName))
    await chmod(join(directory, newName), 0o755)
    for (const [name, content] of files) {
      await writeFile(join(directory, newName, name), content)
      await chmod(join(directory, newName, name), 0o644)
    }
    await symlink(newName, join(directory, '..data_tmp'))
    await rename(join(directory, '..data_tmp'), dataLink)
  }

  for (const name of files.keys()) {
    const there = await lstat(join(directory, name)).catch(unlessMissing)
    if (there === undefined) await symlink(join('..data', name), join(directory, name))
  }
  for (const name of removed) await rm(join(directory, name))
  if (changed && oldName !== undefined) await rm(join(directory, oldName), { recursive: true })
  return changed
}

async function holds(
  directory: string,
  present: readonly string[],
  files: ReadonlyMap<string, Buffer>,
): Promise<boolean> {
  for (const [name, content] of files) {
    if (!present.includes(name) || !content.equals(await readFile(join(directory, name)))) return false
  }
  return true
}

const timestamp = (): string => new Date().toISOString().slice(0, 19).replaceAll(/[-T:]/g, '_')

const unlessMissing = (error: NodeJS.ErrnoException): undefined => {
  if (error.code !== 'ENOENT') throw error
}
