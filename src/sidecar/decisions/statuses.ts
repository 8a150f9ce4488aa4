import type { Answer } from '../http1/gate.ts'
import { type Dialect, forbidden } from './dialect.ts'

/** Leaves refusals with these statuses as they are; others become 403. */
export const withStatuses =
  (statuses: readonly number[]): Dialect['refusal'] =>
  (answer: Answer) =>
    statuses.includes(answer.status) ? answer : forbidden
