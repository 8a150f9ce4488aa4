import type { RequestFacts } from './decision.ts'

/** `application/json`, or anything with the suffix `+json` (RFC 6839 §3.1), with parameters. */
const jsonType = /^[!#$%&'*+.^_`|~0-9a-z-]+\/(?:json|[!#$%&'*+.^_`|~0-9a-z-]+\+json)[ \t]*(;.*)?$/i
const parameter = /;[ \t]*(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)|"([^"\\]*)"))?[ \t]*/y

/** Whether the fields say that the body is JSON in UTF-8, in so many words, once, and as it is. */
export function isPlainJson({ fields }: RequestFacts): boolean {
  let isJson = false
  for (let index = 0; index < fields.length; index += 2) {
    const value = fields[index + 1]!
    switch (fields[index]!.toLowerCase()) {
      case 'content-type':
        if (isJson || !isJsonType(value)) return false
        isJson = true
        break
      case 'content-encoding':
        if (value.toLowerCase() !== 'identity') return false
    }
  }
  return isJson
}

function isJsonType(value: string): boolean {
  const match = jsonType.exec(value)
  if (!match || !/^application\//i.test(value)) return false
  const parameters = match[1] ?? ''
  let charsets = 0
  for (parameter.lastIndex = 0; parameter.lastIndex < parameters.length; ) {
    const found = parameter.exec(parameters)
    if (!found) return false
    const [, name, token, quoted] = found
    if (name?.toLowerCase() !== 'charset') continue
    charsets += 1
    if (charsets > 1 || (token ?? quoted)?.toLowerCase() !== 'utf-8') return false
  }
  return true
}

/** How long the body is: undefined where that shows at its end alone, 0 where there is none. */
export function bodyLengthOf({ fields, hasBody }: RequestFacts): number | undefined {
  if (hasBody === false) return 0
  let length: number | undefined = hasBody === true ? undefined : 0
  for (let index = 0; index < fields.length; index += 2) {
    const name = fields[index]!.toLowerCase()
    if (name === 'transfer-encoding') return undefined
    if (name === 'content-length') length = Number(fields[index + 1])
  }
  return length
}
