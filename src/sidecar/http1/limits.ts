/** Deadlines and bounds of the data path. What the policy says of its application is asked for at each request instead. */
export interface Limits {
  /** From the first byte of a head, or from accepting the connection, to the end of the head. */
  readonly headSeconds: number
  /** How long a connection may stay open between requests. */
  readonly idleSeconds: number
  /** How long a client may be silent within a body. */
  readonly bodySeconds: number
  /** How long both sides may be silent once an answer has begun. */
  readonly streamSeconds: number
  /** How long a client may take to read its last answer and close. */
  readonly lingerSeconds: number
  /** How long requests in progress may go on when the process is asked to end. */
  readonly drainSeconds: number
  /** Shorter than applications keep idle connections themselves (Node: five seconds), so that they seldom close first. */
  readonly upstreamIdleSeconds: number
  /** Client connections of one guarded port; further ones are closed at once. */
  readonly maxConnections: number
  /** Requests that wait while all connections to the application are taken; further ones are refused. */
  readonly maxWaiting: number
  /** Of all bodies that are kept to be looked at; a request that would make them more is refused. */
  readonly maxGatheredBytes: number
}

export const defaultLimits: Limits = {
  headSeconds: 10,
  idleSeconds: 60,
  bodySeconds: 30,
  streamSeconds: 300,
  lingerSeconds: 2,
  drainSeconds: 20,
  upstreamIdleSeconds: 4,
  maxConnections: 8192,
  maxWaiting: 1024,
  maxGatheredBytes: 64 * 1024 * 1024,
}
