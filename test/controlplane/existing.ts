import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Address } from './access.ts'
import { onPath } from './find.ts'

interface View {
  readonly clusters: readonly {
    readonly cluster: { readonly server: string; readonly 'certificate-authority-data'?: string }
  }[]
}

/** The cluster of a kubeconfig's current context, where the user must be an administrator. Needs kubectl on PATH. */
export async function existingCluster(kubeconfig: string, directory: string): Promise<Address> {
  const kubectl = onPath('kubectl')
  if (kubectl === undefined) throw new Error('KUBECONFIG_TEST is set, but there is no kubectl on PATH')
  const args = ['--kubeconfig', kubeconfig, 'config', 'view', '--raw', '--minify', '--flatten', '-o', 'json']
  const { stdout } = await promisify(execFile)(kubectl, args)
  const cluster = (JSON.parse(stdout) as View).clusters[0]?.cluster
  if (cluster === undefined) throw new Error(`${kubeconfig} names no cluster`)
  const authority = cluster['certificate-authority-data']
  const caFile = authority === undefined ? undefined : join(directory, 'ca.crt')
  if (caFile !== undefined) await writeFile(caFile, Buffer.from(authority ?? '', 'base64'))
  return {
    directory,
    kubeconfig,
    kubectl,
    server: cluster.server,
    caFile,
    servingCertificate: undefined,
    clientAuthority: undefined,
  }
}
