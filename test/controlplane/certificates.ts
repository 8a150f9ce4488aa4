import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-noenc'] as const

/** Files of a certificate and its private key, both PEM. */
export interface Certificate {
  readonly certFile: string
  readonly keyFile: string
}

const filesIn = (directory: string, name: string): Certificate => ({
  certFile: join(directory, `${name}.crt`),
  keyFile: join(directory, `${name}.key`),
})

export async function makeAuthority(directory: string, name: string): Promise<Certificate> {
  const made = filesIn(directory, name)
  await openssl(['-x509', ...newKey, '-subj', `/CN=${name}`, '-addext', 'keyUsage=critical,keyCertSign'], made)
  return made
}

/** For an HTTPS server at these names (`DNS:localhost`, `IP:127.0.0.1`). */
export async function makeServingCertificate(
  directory: string,
  name: string,
  authority: Certificate,
  subjectAltNames: readonly string[],
): Promise<Certificate> {
  const made = filesIn(directory, name)
  await sign(authority, made, `/CN=${name}`, 'serverAuth', [`subjectAltName=${subjectAltNames.join(',')}`])
  return made
}

/** The API server takes the common name for the user and organisations for groups. */
export async function makeClientCertificate(
  directory: string,
  name: string,
  authority: Certificate,
  user: string,
  groups: readonly string[],
): Promise<Certificate> {
  const made = filesIn(directory, name)
  const escaped = (value: string) => value.replaceAll(/[\\/+=]/g, '\\$&')
  const subject = [...groups.map((group) => `/O=${escaped(group)}`), `/CN=${escaped(user)}`].join('')
  await sign(authority, made, subject, 'clientAuth', [])
  return made
}

/** A key pair that signs tokens: `<name>.key` and `<name>.pub`. */
export async function makeKeyPair(
  directory: string,
  name: string,
): Promise<{ keyFile: string; publicKeyFile: string }> {
  const keyFile = join(directory, `${name}.key`)
  const publicKeyFile = join(directory, `${name}.pub`)
  await run('openssl', ['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', keyFile])
  await run('openssl', ['pkey', '-in', keyFile, '-pubout', '-out', publicKeyFile])
  return { keyFile, publicKeyFile }
}

async function sign(
  authority: Certificate,
  made: Certificate,
  subject: string,
  usage: string,
  extensions: readonly string[],
): Promise<void> {
  const all = ['basicConstraints=critical,CA:FALSE', `extendedKeyUsage=${usage}`, ...extensions]
  await openssl(
    [
      '-x509',
      ...newKey,
      '-CA',
      authority.certFile,
      '-CAkey',
      authority.keyFile,
      '-subj',
      subject,
      ...all.flatMap((extension) => ['-addext', extension]),
    ],
    made,
  )
}

async function openssl(args: readonly string[], made: Certificate): Promise<void> {
  await run('openssl', ['req', ...args, '-days', '30', '-keyout', made.keyFile, '-out', made.certFile])
}
