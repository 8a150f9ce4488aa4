import { pino } from 'pino'

/**
 * What every part logs through; it is handed down as an argument. A message is a fixed sentence, fields say which object
 * and what values. Keys and other secrets are never put into fields; the redaction below is the second line only.
 */
export interface Log {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
  /** The same log with these fields on every line. */
  with(fields: LogFields): Log
}

/** The names `level`, `time` and `message` are taken. An `error` field that holds an Error is written as its name, code, message, stack and causes, and nothing else of it. */
export type LogFields = Readonly<Record<string, unknown>>

export const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const
export type LogLevel = (typeof logLevels)[number]

/** Where lines go; each is one JSON object with a line end. */
export interface LogSink {
  write(line: string): void
}

/**
 * One JSON object a line, written before the call returns, so that the last words before an exit are never lost.
 *
 * @param sink standard output where absent
 */
export function createLog(options: { readonly level: LogLevel; readonly sink?: LogSink }): Log {
  const root = pino(
    {
      level: options.level,
      base: null,
      messageKey: 'message',
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: describeError },
      redact: { paths: secretPaths(), censor: '[redacted]' },
    },
    options.sink ?? pino.destination({ fd: 1, sync: true }),
  )
  return wrap(root)
}

const secretNames = [
  'authorization',
  'proxyAuthorization',
  'cookie',
  'headers',
  'password',
  'passphrase',
  'secret',
  'token',
  'privateKey',
  'data',
  'stringData',
]

function secretPaths(): string[] {
  return ['', '*.', '*.*.'].flatMap((prefix) => secretNames.map((name) => `${prefix}${name}`))
}

type Write = (fields: LogFields, message: string) => void
interface Writer {
  readonly debug: Write
  readonly info: Write
  readonly warn: Write
  readonly error: Write
  child(fields: LogFields): Writer
}

function wrap(writer: Writer): Log {
  return {
    debug: (message, fields = {}) => writer.debug(fields, message),
    info: (message, fields = {}) => writer.info(fields, message),
    warn: (message, fields = {}) => writer.warn(fields, message),
    error: (message, fields = {}) => writer.error(fields, message),
    with: (fields) => wrap(writer.child(fields)),
  }
}

// Own properties of errors are left out: clients hang whole requests with their headers on them.
function describeError(error: unknown, depth = 0): unknown {
  if (!(error instanceof Error)) return error
  const { name, message, stack } = error
  const code = 'code' in error ? error.code : undefined
  const cause = error.cause === undefined || depth === 4 ? undefined : describeError(error.cause, depth + 1)
  return { name, code, message, stack, cause }
}
