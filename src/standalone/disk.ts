import { randomBytes } from 'node:crypto'
import { link, mkdir, open, readdir, readFile, readlink, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

/** Replaces a file at one stroke, readable by its owner alone: after a crash there is the old content or the new, never half. */
export async function writeWhole(file: string, content: string | Buffer): Promise<void> {
  await makeDirectory(dirname(file))
  const temporary = `${file}.${randomBytes(6).toString('hex')}.tmp`
  try {
    const handle = await open(temporary, 'wx', 0o600)
    try {
      await handle.writeFile(content)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, file)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}

export const makeDirectory = async (directory: string): Promise<void> =>
  void (await mkdir(directory, { recursive: true, mode: 0o700 }))

/** Undefined where there is no such file. */
export async function readIfThere(file: string): Promise<Buffer | undefined> {
  try {
    return await readFile(file)
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

/** Names in a directory, without temporary files; none where it is not there. */
export async function namesIn(directory: string): Promise<string[]> {
  try {
    return (await readdir(directory)).filter((name) => !name.endsWith('.tmp')).sort()
  } catch (error) {
    if (isMissing(error)) return []
    throw error
  }
}

/**
 * Replaces all files of a directory at one stroke, as the kubelet does for a mounted volume: a new directory, and the link
 * `..data` moved to it, behind which the visible names stand.
 */
export async function writeVolume(directory: string, files: ReadonlyMap<string, string>): Promise<void> {
  await makeDirectory(directory)
  const old = await readlink(join(directory, '..data')).catch(() => undefined)
  const fresh = `..${randomBytes(8).toString('hex')}`
  try {
    await makeDirectory(join(directory, fresh))
    for (const [name, content] of files) await writeWhole(join(directory, fresh, name), content)
    await rm(join(directory, '..data_tmp'), { force: true })
    await symlink(fresh, join(directory, '..data_tmp'))
    await rename(join(directory, '..data_tmp'), join(directory, '..data'))
  } catch (error) {
    await rm(join(directory, fresh), { recursive: true, force: true })
    throw error
  }
  const visible = (await readdir(directory)).filter((name) => !name.startsWith('..'))
  for (const name of visible) if (!files.has(name)) await rm(join(directory, name), { force: true })
  for (const name of files.keys())
    if (!visible.includes(name)) await symlink(join('..data', name), join(directory, name))
  if (old !== undefined) await rm(join(directory, old), { recursive: true, force: true })
}

/**
 * Claims a directory for this process until it ends. Throws where another process that is alive has it.
 *
 * @returns gives it back
 */
export async function claim(directory: string): Promise<() => Promise<void>> {
  await makeDirectory(directory)
  const file = join(directory, 'lock')
  const own = `${file}.${randomBytes(6).toString('hex')}.tmp`
  await writeFile(own, `${await incarnation(process.pid)}\n`, { flag: 'wx', mode: 0o600 })
  try {
    for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
      if (await takeLock(file, own, directory)) return () => rm(file, { force: true })
    }
    throw new Error(`${file} changes hands again and again`)
  } finally {
    await rm(own, { force: true })
  }
}

const maxAttempts = 20

/** A link is made whole or not at all, and never over another: of several that try, one succeeds. */
async function linked(own: string, file: string): Promise<boolean> {
  try {
    await link(own, file)
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
    throw error
  }
}

/**
 * Takes the lock where there is none, or where its holder is dead. A dead holder has one successor: whoever makes the link
 * that is named after it, or after a successor that died in turn. False where somebody was faster: then look again.
 */
async function takeLock(file: string, own: string, directory: string): Promise<boolean> {
  const dead: { readonly file: string; readonly holder: string }[] = []
  for (let place = file; !(await linked(own, place)); ) {
    const holder = (await readIfThere(place))?.toString('utf8').trim()
    if (holder === undefined) return false
    const pid = holder.split(' ')[0]
    if (holder !== '' && (await incarnation(Number(pid))) === holder) {
      throw new Error(`${directory} is in use by process ${pid}`)
    }
    dead.push({ file: place, holder })
    place = `${file}.after-${holder.replaceAll(/[^0-9]/g, '-')}`
  }
  const last = dead.at(-1)
  if (last === undefined) return true
  const won = `${file}.after-${last.holder.replaceAll(/[^0-9]/g, '-')}`
  for (const before of dead) {
    if ((await readIfThere(before.file))?.toString('utf8').trim() === before.holder) continue
    // A successor was done between our look and our link, and has tidied up.
    await rm(won, { force: true })
    return false
  }
  await rename(own, file)
  // Only now: who finds one of these gone finds the new holder in the lock.
  for (const passed of [...dead.slice(1).map((one) => one.file), won]) await rm(passed, { force: true })
  return true
}

/** Names a process so that a later one with the same number is another; undefined where it is not alive. */
async function incarnation(pid: number): Promise<string | undefined> {
  const stat = await readIfThere(`/proc/${pid}/stat`)
  if (stat) {
    // After the name, which may hold anything, in parentheses: the state first, the time of its start twentieth.
    const fields = stat
      .toString('latin1')
      .replace(/^.*\) /s, '')
      .split(' ')
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : `${pid} ${fields[19]}`
  }
  try {
    process.kill(pid, 0)
    return String(pid)
  } catch {
    return undefined
  }
}

const isMissing = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR')
