/** Whether what was seen of a case is what the case expects. */

import { fillIn } from './bypass-contexts.ts'
import type { ReceivedAnswer } from './raw-client.ts'
import type { RecordedRequest } from './recording-upstream.ts'

export interface BypassCase {
  readonly id: string
  readonly class: string
  readonly transport: string
  readonly raw_request: string
  readonly policy_context: string
  readonly expected: string
  readonly assert?: Readonly<Record<string, unknown>>
}

export interface Observation {
  readonly answers: readonly ReceivedAnswer[]
  readonly interimAnswers: readonly ReceivedAnswer[]
  readonly upstream: readonly RecordedRequest[]
  readonly closed: boolean
  /** Of the first answer, or of the end where there was none. */
  readonly millisecondsToAnswer: number | undefined
  readonly millisecondsFromAnswerToClose: number | undefined
  readonly alive: boolean
  /** Added to every bound on time: a busy machine is no way around a sidecar. */
  readonly allowanceMilliseconds: number
}

/** @returns everything that differs; nothing where the case passes */
export function judge({ expected, assert = {} }: BypassCase, seen: Observation): string[] {
  const outcomes = expected.split('|')
  const problems = outcomes.some((outcome) => matches(outcome, seen))
    ? []
    : [`expected ${expected}, saw ${describe(seen)}`]
  for (const [name, value] of Object.entries(assert)) {
    const problem = assertions[name]!(value, seen)
    if (problem !== undefined) problems.push(`${name} ${JSON.stringify(value)}: ${problem}`)
  }
  return problems
}

const describe = ({ answers, upstream }: Observation): string =>
  `${answers.map(({ status }) => status).join(',') || 'close'} with ${upstream.length} requests to the application`

/** One outcome for each request on the connection, separated by commas. */
function matches(outcome: string, { answers, upstream, closed }: Observation): boolean {
  if (outcome === 'close') return answers.length === 0 && closed
  const each = outcome.split(',')
  if (each.length !== answers.length) return false
  const statusesMatch = each.every((one, index) => {
    const { status } = answers[index]!
    if (one === 'allow') return status >= 200 && status < 300
    if (one === 'deny') return status === 401 || status === 403
    return String(status) === one
  })
  const allowed = each.filter((one) => one === 'allow').length
  // What is not allowed reaches nobody; a body that was aborted is what some cases look for, by assertions.
  return statusesMatch && upstream.filter(({ terminated }) => terminated).length === allowed
}

type Assertion = (value: unknown, seen: Observation) => string | undefined

const holds = (condition: boolean, problem: string): string | undefined => (condition ? undefined : problem)
const linesOf = (head: string, name: string): string[] =>
  head
    .split('\r\n')
    .slice(1)
    .filter((line) => line.toLowerCase().startsWith(`${name.toLowerCase()}:`))
    .map((line) => line.slice(name.length + 1).trim())
const names = (value: unknown): readonly string[] => value as readonly string[]
const pairs = (value: unknown): [string, string][] =>
  Object.entries(value as Record<string, string>).map(([name, text]) => [name, fillIn(text)])

const eachRequest = ({ upstream }: Observation, check: (request: RecordedRequest) => boolean, problem: string) =>
  holds(upstream.every(check), problem)
const sawOne = ({ upstream }: Observation) => holds(upstream.length > 0, 'nothing reached the application')

/** Each assertion that cases may make. What speaks of requests to the application concerns those that reached it. */
export const assertions: Readonly<Record<string, Assertion>> = {
  upstream_requests: (value, { upstream }) => holds(upstream.length === value, `there were ${upstream.length}`),
  upstream_requests_max: (value, { upstream }) =>
    holds(upstream.length <= (value as number), `there were ${upstream.length}`),
  upstream_path: (value, seen) => eachRequest(seen, ({ path }) => path === value, 'it was another'),
  upstream_path_any: (value, seen) => eachRequest(seen, ({ path }) => names(value).includes(path), 'it was another'),
  upstream_query: (value, seen) => eachRequest(seen, ({ query }) => query === value, 'it was another'),
  upstream_body: (value, seen) => eachRequest(seen, ({ body }) => body === value, 'it was another'),
  upstream_body_terminated: (value, seen) =>
    eachRequest(seen, ({ terminated }) => terminated === value, 'it was otherwise'),
  upstream_absent_headers: (value, { upstream }) =>
    holds(
      upstream.every(({ head }) => names(value).every((name) => linesOf(head, name).length === 0)),
      'one of them was there',
    ),
  upstream_present_headers: (value, seen) =>
    (seen.answers.some(({ status }) => status < 300) ? sawOne(seen) : undefined) ??
    eachRequest(seen, ({ head }) => names(value).every((name) => linesOf(head, name).length > 0), 'one was missing'),
  upstream_present_headers_if_forwarded: (value, seen) =>
    eachRequest(seen, ({ head }) => names(value).every((name) => linesOf(head, name).length > 0), 'one was missing'),
  upstream_header_equals: (value, seen) =>
    sawOne(seen) ??
    eachRequest(
      seen,
      ({ head }) => pairs(value).every(([name, text]) => linesOf(head, name).join('\n') === text),
      'it was not',
    ),
  upstream_header_not_containing: (value, { upstream }) =>
    holds(
      !upstream.some(({ head }) => pairs(value).some(([name, text]) => linesOf(head, name).join('\n').includes(text))),
      'it did',
    ),
  no_request_to: (value, { upstream }) =>
    holds(!upstream.some(({ path }) => path.startsWith(value as string)), 'there was one'),
  no_101: (_, { answers }) =>
    holds(
      answers.every(({ status }) => status !== 101),
      'protocols were switched',
    ),
  no_interim_100: (_, { interimAnswers }) => holds(interimAnswers.length === 0, 'there was one'),
  no_crash: (_, { alive }) => holds(alive, 'the process is gone'),
  conn_closed: (_, { closed }) => holds(closed, 'it was not'),
  max_ms: (value, { millisecondsToAnswer: took = Number.POSITIVE_INFINITY, allowanceMilliseconds }) =>
    holds(took <= (value as number) + allowanceMilliseconds, `it took ${Math.round(took)}`),
  idle_close_ms: (value, { millisecondsFromAnswerToClose: took = Number.POSITIVE_INFINITY, allowanceMilliseconds }) =>
    holds(took <= (value as number) + allowanceMilliseconds, `it took ${Math.round(took)}`),
  status: (value, { answers }) => holds([value].flat().includes(answers[0]?.status), `it was ${answers[0]?.status}`),
  response_headers: (value, { answers }) =>
    holds(
      names(value).every((name) => linesOf(answers[0]?.head ?? '', name).length > 0),
      'one was missing',
    ),
  response_absent_headers: (value, { answers }) =>
    holds(
      names(value).every((name) => linesOf(answers[0]?.head ?? '', name).length === 0),
      'one was there',
    ),
  response_header_not_equals: (value, { answers }) =>
    holds(
      pairs(value).every(([name, text]) => !linesOf(answers[0]?.head ?? '', name).includes(text)),
      'it did',
    ),
}
