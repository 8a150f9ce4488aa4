import { MessageReader } from './protobuf.ts'

/** What is read of an `envoy.service.auth.v3.CheckRequest`. Strings hold one character per byte. */
export interface CheckRequest {
  /** Of the gateway's own client; undefined where it is no IP address. */
  readonly sourceAddress: string | undefined
  readonly method: string | undefined
  /** With its query, not decoded. */
  readonly path: string | undefined
  readonly host: string | undefined
  /** Names, among them pseudo-headers, and values, alternating. */
  readonly headers: readonly string[]
  /** `context_extensions["policy"]` */
  readonly policy: string | undefined
}

// Numbers of fields, by message.
const checkRequest = { attributes: 1 }
const attributeContext = { source: 1, request: 4, contextExtensions: 10 }
const peer = { address: 1 }
const address = { socketAddress: 1 }
const socketAddress = { address: 2 }
const request = { http: 2 }
const httpRequest = { method: 2, headers: 3, path: 4, host: 5, query: 7, fragment: 8, headerMap: 13 }
const headerMap = { headers: 1 }
const headerValue = { key: 1, value: 2, rawValue: 3 }
const mapEntry = { key: 1, value: 2 }

/**
 * Reads the message. Undefined where it is not well formed, or holds anything twice that there is one of: libraries would
 * merge such fields or take the last, and no gateway sends them.
 */
export function readCheckRequest(bytes: Buffer): CheckRequest | undefined {
  const found = new Collector()
  walk(new MessageReader(bytes), found, (field) => {
    if (field.field === checkRequest.attributes) walk(found.once('attributes', field), found, readAttributes)
  })
  if (found.refused || (found.plainHeaders.length > 0 && found.rawHeaders.length > 0)) return undefined
  const { texts, plainHeaders, rawHeaders } = found
  // Always empty, says the definition; what stood there would be part of a target that is judged without it.
  if ((texts.get('query') ?? '') !== '' || (texts.get('fragment') ?? '') !== '') return undefined
  return {
    sourceAddress: texts.get('sourceAddress'),
    method: texts.get('method'),
    path: texts.get('path'),
    host: texts.get('host'),
    headers: plainHeaders.length > 0 ? plainHeaders : rawHeaders,
    policy: texts.get('policy'),
  }
}

/** What has been read so far. */
class Collector {
  readonly texts = new Map<string, string>()
  readonly plainHeaders: string[] = []
  readonly rawHeaders: string[] = []
  refused = false
  private readonly seen = new Set<string>()

  /** The present field as a message of which there may be one. */
  once(name: string, reader: MessageReader): MessageReader {
    if (!reader.isDelimited || this.seen.size === this.seen.add(name).size) this.refused = true
    return reader.message()
  }

  /** Keeps the present field as a text of which there may be one. */
  text(name: string, reader: MessageReader): void {
    if (!reader.isDelimited || this.texts.has(name)) this.refused = true
    else this.texts.set(name, reader.text())
  }
}

type ReadField = (field: MessageReader, found: Collector) => void

function walk(reader: MessageReader, found: Collector, readField: ReadField): void {
  while (!found.refused && reader.next()) readField(reader, found)
  if (reader.malformed) found.refused = true
}

function readAttributes(field: MessageReader, found: Collector): void {
  if (field.field === attributeContext.source) walk(found.once('source', field), found, readSource)
  else if (field.field === attributeContext.request) walk(found.once('request', field), found, readRequest)
  else if (field.field === attributeContext.contextExtensions) {
    const [name, value] = readPair(field, found, mapEntry.key, [mapEntry.value])
    if (name !== 'policy') return
    if (found.texts.has('policy')) found.refused = true
    found.texts.set('policy', value)
  }
}

function readSource(field: MessageReader, found: Collector): void {
  if (field.field !== peer.address) return
  walk(found.once('sourceAddress', field), found, (inAddress) => {
    if (inAddress.field !== address.socketAddress) return
    walk(found.once('socketAddress', inAddress), found, (inSocket) => {
      if (inSocket.field === socketAddress.address) found.text('sourceAddress', inSocket)
    })
  })
}

function readRequest(field: MessageReader, found: Collector): void {
  if (field.field === request.http) walk(found.once('http', field), found, readHttp)
}

const httpTexts: ReadonlyMap<number, string> = new Map([
  [httpRequest.method, 'method'],
  [httpRequest.path, 'path'],
  [httpRequest.host, 'host'],
  [httpRequest.query, 'query'],
  [httpRequest.fragment, 'fragment'],
])

function readHttp(field: MessageReader, found: Collector): void {
  const text = httpTexts.get(field.field)
  if (text !== undefined) found.text(text, field)
  else if (field.field === httpRequest.headers)
    found.plainHeaders.push(...readPair(field, found, mapEntry.key, [mapEntry.value]))
  else if (field.field === httpRequest.headerMap) walk(found.once('headerMap', field), found, readHeaderMap)
}

function readHeaderMap(field: MessageReader, found: Collector): void {
  if (field.field !== headerMap.headers) return
  found.rawHeaders.push(...readPair(field, found, headerValue.key, [headerValue.value, headerValue.rawValue]))
}

/** A name and the one value that stands in one of these fields. */
function readPair(
  field: MessageReader,
  found: Collector,
  keyField: number,
  valueFields: readonly number[],
): [name: string, value: string] {
  let name: string | undefined
  let value: string | undefined
  if (!field.isDelimited) found.refused = true
  const reader = field.message()
  while (reader.next()) {
    if (reader.field === keyField) {
      if (name !== undefined || !reader.isDelimited) found.refused = true
      name = reader.text()
    } else if (valueFields.includes(reader.field)) {
      if (!reader.isDelimited) found.refused = true
      const text = reader.text()
      // Both forms of a value may be there, as long as one of them is empty.
      if (value !== undefined && value !== '' && text !== '') found.refused = true
      value = value === undefined || value === '' ? text : value
    }
  }
  if (reader.malformed) found.refused = true
  return [name ?? '', value ?? '']
}
