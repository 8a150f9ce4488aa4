/** Header fields of requests that have a meaning of their own, in lower case. */

/** Hop-by-hop (RFC 9110 §7.6.1) and framing fields: our own connection to the application has its own. */
export const ofThisHop: readonly string[] = [
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-authentication-info',
  'te',
  'trailer',
  'transfer-encoding',
  'content-length',
  'upgrade',
  'http2-settings',
  'expect',
]

/** Names under which applications are told a client's identity, its address, or another request line. */
export const spoofable: readonly string[] = [
  'x-real-ip',
  'remote-user',
  'remote-addr',
  'x-rewrite-url',
  'x-http-method-override',
  'x-http-method',
  'x-method-override',
  '-method',
]
export const spoofablePrefixes: readonly string[] = ['x-forwarded-', 'x-original-', 'x-envoy-', 'x-postern-']

/** Fields that tell of the way a request came. */
export const forwardingFields: readonly string[] = [
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-proto',
]

/** Whether an application never sees a client's own value of this field, given in lower case. */
export const isWithheld = (name: string): boolean =>
  ofThisHop.includes(name) ||
  spoofable.includes(name) ||
  forwardingFields.includes(name) ||
  spoofablePrefixes.some((prefix) => name.startsWith(prefix))
