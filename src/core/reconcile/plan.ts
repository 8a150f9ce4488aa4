import { conditionTypes } from '../../api/names.ts'
import type { Condition, KubeObject, ObjectName, Resource } from '../../api/object.ts'

/** What should be true of the cluster, and when to look again. Empty lists and absent parts ask for nothing. */
export interface Plan {
  /** Objects that must not exist yet: a value in a Secret is never applied over another. */
  readonly create: readonly KubeObject[]
  /** Objects of which Postern owns every field that it names; in this order. */
  readonly apply: readonly KubeObject[]
  readonly remove: readonly { readonly resource: Resource; readonly name: ObjectName }[]
  /** The whole status of the object; undefined leaves it for the next look. */
  readonly status?: object | undefined
  readonly events: readonly PlannedEvent[]
  /** The next moment at which the answer changes by itself. */
  readonly wakeAt?: Date | undefined
}

/** An event about the object that was reconciled. */
export interface PlannedEvent {
  readonly type: 'Normal' | 'Warning'
  readonly reason: string
  readonly action: string
  readonly note: string
}

export const nothing: Plan = { create: [], apply: [], remove: [], events: [] }

/** A condition without its times. */
export interface Finding {
  readonly type: string
  readonly status: Condition['status']
  readonly reason: string
  readonly message: string
}

export const finding = (type: string, status: boolean, reason: string, message: string): Finding => ({
  type,
  status: status ? 'True' : 'False',
  reason,
  message: shortened(message, conditionMessageLength),
})

/** What a condition's message may hold is more than anybody reads. */
const conditionMessageLength = 4096

/** A text that a bounded field takes: what is cut off would have kept the whole status from being written. */
export const shortened = (text: string, length: number): string =>
  text.length <= length ? text : `${text.slice(0, length - 1)}…`

/** Conditions from findings; `lastTransitionTime` moves only with the status. */
export function toConditions(
  findings: readonly Finding[],
  previous: readonly Condition[] | undefined,
  generation: number | undefined,
  now: Date,
): Condition[] {
  return findings.map((found) => {
    const before = previous?.find(({ type }) => type === found.type)
    return {
      ...found,
      lastTransitionTime: before?.status === found.status ? before.lastTransitionTime : toTime(now),
      ...(generation !== undefined && { observedGeneration: generation }),
    }
  })
}

/**
 * `Ready`, and beside it what kstatus looks at: False alone does not tell whether anything will change without somebody
 * acting.
 */
export function readiness(
  ready: boolean,
  reason: string,
  message: string,
  unready: 'Reconciling' | 'Stalled' | 'Neither',
): Finding[] {
  const abnormal = { Reconciling: conditionTypes.reconciling, Stalled: conditionTypes.stalled, Neither: undefined }[
    unready
  ]
  return [
    finding(conditionTypes.ready, ready, reason, message),
    ...(ready || abnormal === undefined ? [] : [finding(abnormal, true, reason, message)]),
  ]
}

/** Tells of a new reason for not being ready, once. */
export function readinessEvents(
  findings: readonly Finding[],
  previous: readonly Condition[] | undefined,
): PlannedEvent[] {
  const is = (list: readonly Finding[] | undefined): Finding | undefined =>
    list?.find(({ type }) => type === conditionTypes.ready)
  const [now, before] = [is(findings), is(previous)]
  if (!now || now.reason === before?.reason) return []
  const isStalled = (list: readonly Finding[] | undefined): boolean =>
    list?.some(({ type }) => type === conditionTypes.stalled) === true
  // That something works is news only after it did not: thousands of new keys need no event each to say so.
  if (now.status === 'False' ? !isStalled(findings) : !isStalled(previous)) return []
  return [
    { type: now.status === 'True' ? 'Normal' : 'Warning', reason: now.reason, action: 'Reconcile', note: now.message },
  ]
}

/** RFC 3339 to the second, as Kubernetes writes times. */
export const toTime = (date: Date): string => `${date.toISOString().slice(0, 19)}Z`

/** The earliest of some moments that lies ahead. */
export function earliest(moments: readonly (Date | undefined)[], now: Date): Date | undefined {
  const ahead = moments.filter((moment): moment is Date => moment !== undefined && moment > now)
  return ahead.length === 0 ? undefined : new Date(Math.min(...ahead.map(Number)))
}
