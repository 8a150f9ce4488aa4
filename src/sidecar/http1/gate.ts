import type { Allowed } from '../../core/authorize/decision.ts'
import type { RequestHead } from './request-head.ts'

/** An answer of the sidecar itself. Strings hold one character per byte (latin1). */
export interface Answer {
  readonly allow: false
  readonly status: number
  readonly reason: string
  /** Each with its CRLF; length and connection fields are added. */
  readonly fieldLines: string
  readonly body: string
}

/** A request that may pass. */
export type Admission = Allowed & {
  /** Field lines for the head of the answer, each with its CRLF. */
  readonly answerLines?: string
}

/** A request of which the body must be read before it is known whether it may pass. */
export interface BodyInspection {
  readonly allow: undefined
  /** Of the body's data. */
  readonly maxBytes: number
  /**
   * Looks at more of the body's data.
   *
   * @returns a refusal that is certain already
   */
  read(bytes: Buffer, start: number, end: number): Answer | undefined
  /** All of the body has been read. */
  finish(body: Buffer): Admission | Answer
  /** The body is longer than `maxBytes`. */
  tooLarge(): Answer
}

/** Why an exchange came to nothing although it was allowed. */
export type Failure =
  /** The client: a body that is malformed, or that stopped. */
  | 'BodyMalformed'
  | 'BodyStalled'
  /** The application: cannot be reached, has no connection to spare, closed without an answer, answered nonsense, was too slow. */
  | 'Unreachable'
  | 'Overloaded'
  | 'Closed'
  | 'Malformed'
  | 'TimedOut'

/** What the data path asks of whoever decides. */
export interface Gate {
  /** May this request pass? Called once, when its head is complete. */
  admit(head: RequestHead, peer: string | undefined): Admission | Answer | BodyInspection
  /**
   * The refusal of an exchange that was allowed and may not go on; undefined where it may.
   *
   * @param byTimeAlone nothing but time has passed since the last review
   */
  review(allowed: Allowed, byTimeAlone: boolean): Answer | undefined
  /** The answer to what is no request. */
  unreadable(status: number, detail: string): Answer
  /** The answer to a request that was allowed and failed. */
  failed(failure: Failure, detail: string): Answer
  /** How long the application may take until its response begins, and how many connections to it there may be. */
  readonly upstream: { readonly timeoutSeconds: number; readonly maxConnections: number }
}

/** What happens on the data path, for metrics. */
export interface Signals {
  /** An allowed request has been answered to the end, or has come to nothing. */
  exchangeEnded(seconds: number): void
  upstreamConnected(): void
  /** A request was sent again, because an idle connection turned out to be closed. */
  retried(): void
  /** An allowed exchange was cut, because its key may not be used any more. */
  cut(): void
  /** A connection was closed at once, because there were too many. */
  connectionDropped(): void
}
