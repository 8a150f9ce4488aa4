import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const buildScript = fileURLToPath(new URL('build.sh', import.meta.url))
const builtDirectory = () => join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'postern', 'controlplane')

/**
 * Why there can be no real API server on this machine, or undefined where there can. Where CI=true it is never said, so
 * that what is missing fails rather than being passed over.
 */
export function whyNoControlPlane(): string | undefined {
  if (process.env.CI === 'true' || process.env.KUBECONFIG_TEST !== undefined) return undefined
  if (process.env.KUBEBUILDER_ASSETS !== undefined || onPath('go') !== undefined) return undefined
  if (existsSync(join(builtDirectory(), '.origin'))) return undefined
  return 'no Go to build a Kubernetes control plane with, and neither KUBECONFIG_TEST nor KUBEBUILDER_ASSETS is set'
}

/** The directory of etcd, kube-apiserver, kube-controller-manager and kubectl; builds them where need be (minutes). */
export async function findBinaries(): Promise<string> {
  const given = process.env.KUBEBUILDER_ASSETS
  if (given !== undefined) return given
  const directory = builtDirectory()
  // What it says goes to the terminal: when it builds, that takes minutes.
  const build = spawn(buildScript, [directory], { stdio: ['ignore', 'ignore', 'inherit'], timeout: 30 * 60_000 })
  const [code] = await once(build, 'exit')
  if (code !== 0) throw new Error(`test/controlplane/build.sh ${directory} failed; it needs Go 1.26`)
  return directory
}

export function findBinary(directory: string, name: string): string {
  const file = join(directory, name)
  if (!existsSync(file)) throw new Error(`there is no ${name} in ${directory}`)
  return file
}

/** The first executable of this name on PATH. */
export function onPath(name: string): string | undefined {
  return (process.env.PATH ?? '')
    .split(delimiter)
    .map((directory) => join(directory, name))
    .find((file) => existsSync(file))
}
