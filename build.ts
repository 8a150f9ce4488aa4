/** Bundles the program into `dist/`: `npm run build`. */

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { build, type Metafile } from 'esbuild'

/**
 * Writes `postern.js` and, in `chunks/`, one file for each role and for what roles share, so that a role loads nothing
 * that it does not use. Names and lines stay, for the sake of stack traces.
 */
export async function bundle(entry: string, directory: string): Promise<Metafile> {
  await rm(directory, { recursive: true, force: true })
  const { metafile } = await build({
    entryPoints: [{ in: entry, out: 'postern' }],
    outdir: directory,
    chunkNames: 'chunks/[name]-[hash]',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    minifySyntax: true,
    legalComments: 'none',
    metafile: true,
    logLevel: 'warning',
    banner: { js: commonJs },
  })
  writeFileSync(join(directory, 'NOTICES.txt'), notices(packagesIn(metafile)))
  return metafile
}

/** What CommonJS packages take for granted: they load Node's own modules by `require`, and pino names files beside it. */
const commonJs = [
  "import { createRequire as createRequireOfModule } from 'node:module'",
  'const require = createRequireOfModule(import.meta.url)',
  'const __filename = import.meta.filename',
  'const __dirname = import.meta.dirname',
].join('\n')

/** Folders of the packages whose code is in the bundle. */
function packagesIn(metafile: Metafile): readonly string[] {
  const used = Object.values(metafile.outputs).flatMap(({ inputs }) => Object.keys(inputs))
  const folders = used.map((file) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0])
  return [...new Set(folders.filter((folder) => folder !== undefined))].sort()
}

/** The licences of these packages, which ask to go with every copy. */
function notices(folders: readonly string[]): string {
  const one = (folder: string): string => {
    const { name, version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Package
    const files = readdirSync(folder).filter((file) => /^(licen[cs]e|notice)/i.test(file))
    const texts = files.map((file) => readFileSync(join(folder, file), 'utf8').trim())
    return [`${name} ${version} (${license ?? 'licence below'})`, ...texts].join('\n\n')
  }
  return `${folders.map(one).join(`\n\n${'-'.repeat(80)}\n\n`)}\n`
}
interface Package {
  readonly name: string
  readonly version: string
  readonly license?: string
}

if (import.meta.main) await bundle('src/main.ts', 'dist')
