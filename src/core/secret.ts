import type { KubeObject } from '../api/object.ts'
import type { Problem } from '../api/schema.ts'

/**
 * What is wrong with the content of a Secret as somebody wrote it. Messages name the entry and never quote it.
 */
export function secretProblems(secret: KubeObject): readonly Problem[] {
  const { data, stringData, type } = secret as KubeObject & Readonly<Record<string, unknown>>
  return [
    ...entryProblems('.data', data, (text) => (isBase64(text) ? undefined : 'must be base64')),
    ...entryProblems('.stringData', stringData, () => undefined),
    ...(type === undefined || typeof type === 'string' ? [] : [{ path: '.type', message: 'must be text' }]),
  ]
}

function entryProblems(path: string, map: unknown, problemOf: (text: string) => string | undefined): Problem[] {
  if (map === undefined) return []
  if (typeof map !== 'object' || map === null || Array.isArray(map)) return [{ path, message: 'must be an object' }]
  return Object.entries(map).flatMap(([name, value]) => {
    const message = isDataName(name)
      ? typeof value === 'string'
        ? problemOf(value)
        : 'must be text; put a number into quotes'
      : 'must have a name of letters, digits, "-", "_" and ".", which does not begin with ".."'
    return message === undefined ? [] : [{ path: `${path}.${name}`, message }]
  })
}

const isDataName = (name: string): boolean => /^(?![.]$|[.][.])[-._a-zA-Z0-9]{1,253}$/.test(name)

const isBase64 = (text: string): boolean => text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text)
