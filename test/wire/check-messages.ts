/**
 * The messages of `envoy.service.auth.v3.Authorization` from and to the JSON that they have in protocol buffers, by
 * tables: a reading of its own, so that what the endpoint writes is not judged by itself.
 */

interface FieldShape {
  readonly name: string
  readonly kind: 'string' | 'bytes' | 'number' | 'bool' | 'map' | Shape
  readonly repeated?: true
}
type Shape = Readonly<Record<number, FieldShape>>
type Message = Record<string, unknown>

const one = (name: string, kind: FieldShape['kind']): FieldShape => ({ name, kind })
const many = (name: string, kind: FieldShape['kind']): FieldShape => ({ name, kind, repeated: true })

const headerValue: Shape = { 1: one('key', 'string'), 2: one('value', 'string'), 3: one('rawValue', 'bytes') }
const http: Shape = {
  2: one('method', 'string'),
  3: one('headers', 'map'),
  4: one('path', 'string'),
  5: one('host', 'string'),
  6: one('scheme', 'string'),
  7: one('query', 'string'),
  8: one('fragment', 'string'),
  10: one('protocol', 'string'),
  11: one('body', 'string'),
  12: one('rawBody', 'bytes'),
  13: one('headerMap', { 1: many('headers', headerValue) }),
}
const socketAddress: Shape = { 2: one('address', 'string'), 3: one('portValue', 'number') }
const checkRequest: Shape = {
  1: one('attributes', {
    1: one('source', { 1: one('address', { 1: one('socketAddress', socketAddress) }) }),
    4: one('request', { 2: one('http', http) }),
    10: one('contextExtensions', 'map'),
  }),
}
const headerOption: Shape = {
  1: one('header', headerValue),
  2: one('append', { 1: one('value', 'bool') }),
  3: one('appendAction', 'number'),
}
const text: Shape = {
  3: one('stringValue', 'string'),
  6: one('listValue', { 1: many('values', { 3: one('stringValue', 'string') }) }),
}
const checkResponse: Shape = {
  1: one('status', { 1: one('code', 'number') }),
  2: one('deniedResponse', {
    1: one('status', { 1: one('code', 'number') }),
    2: many('headers', headerOption),
    3: one('body', 'string'),
  }),
  3: one('okResponse', {
    2: many('headers', headerOption),
    5: many('headersToRemove', 'string'),
    8: many('queryParametersToRemove', 'string'),
  }),
  4: one('dynamicMetadata', { 1: many('fields', { 1: one('key', 'string'), 2: one('value', text) }) }),
}

export interface HeaderOption {
  readonly header: { readonly key: string; readonly value: string }
  readonly append?: { readonly value?: boolean }
  readonly appendAction?: number
}

export interface CheckResponse {
  readonly status?: { readonly code?: number }
  readonly deniedResponse?: {
    readonly status: { readonly code: number }
    readonly headers?: readonly HeaderOption[]
    readonly body?: string
  }
  readonly okResponse?: {
    readonly headers?: readonly HeaderOption[]
    readonly headersToRemove?: readonly string[]
    readonly queryParametersToRemove?: readonly string[]
  }
  readonly dynamicMetadata?: { readonly fields: readonly { readonly key: string; readonly value: Message }[] }
}

export const encodeCheckRequest = (message: object): Buffer => encode(checkRequest, message as Message)
export const decodeCheckResponse = (bytes: Buffer): CheckResponse => decode(checkResponse, bytes) as CheckResponse

function encode(shape: Shape, message: Message): Buffer {
  const parts: Buffer[] = []
  for (const [name, value] of Object.entries(message)) {
    const found = Object.entries(shape).find(([, field]) => field.name === name)
    if (found === undefined) throw new Error(`there is no field ${name}`)
    const [number, { kind, repeated }] = found
    for (const each of repeated ? (value as unknown[]) : [value]) parts.push(...encodeField(Number(number), kind, each))
  }
  return Buffer.concat(parts)
}

function encodeField(number: number, kind: FieldShape['kind'], value: unknown): Buffer[] {
  const content = (bytes: Buffer) => [varint(number * 8 + 2), varint(bytes.length), bytes]
  if (kind === 'string') return content(Buffer.from(value as string))
  if (kind === 'bytes') return content(Buffer.from(value as string, 'base64'))
  if (kind === 'map') {
    const pair = { 1: one('key', 'string'), 2: one('value', 'string') }
    return Object.entries(value as object).flatMap(([key, of]) => content(encode(pair, { key, value: of as string })))
  }
  if (typeof kind === 'object') return content(encode(kind, value as Message))
  return [varint(number * 8), varint(Number(value))]
}

function varint(value: number): Buffer {
  const bytes: number[] = []
  let rest = value
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128)
  return Buffer.from([...bytes, rest])
}

function decode(shape: Shape, bytes: Buffer): Message {
  const message: Message = {}
  let at = 0
  const number = (): number => {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes.readUInt8(at++)
      value += (byte % 128) * scale
      if (byte < 128) return value
    }
  }
  while (at < bytes.length) {
    const tag = number()
    const field = shape[tag >> 3]
    if (field === undefined) throw new Error(`field ${tag >> 3} is not known`)
    const { name, kind, repeated } = field
    let value: unknown
    if ((tag & 7) === 0) value = kind === 'bool' ? number() === 1 : number()
    else if ((tag & 7) === 2) {
      const length = number()
      if (at + length > bytes.length) throw new Error(`${name} is longer than the message`)
      const content = bytes.subarray(at, at + length)
      at += length
      value =
        typeof kind === 'object' ? decode(kind, content) : new TextDecoder('utf8', { fatal: true }).decode(content)
    } else throw new Error(`wire type ${tag & 7}`)
    if (repeated) message[name] = [...((message[name] as unknown[] | undefined) ?? []), value]
    else if (name in message) throw new Error(`${name} is there twice`)
    else message[name] = value
  }
  return message
}
