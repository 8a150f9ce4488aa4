/** Requests put to a verification set, without a sidecar around it. */

import { decide, type Given } from '../../src/core/authorize/decide.ts'
import type { Allowed, Decision, RequestFacts } from '../../src/core/authorize/decision.ts'
import { type Opened, openSet, type SetExpectation, type VerificationSet } from '../../src/core/authorize/set.ts'
import { noon, secondsOf } from './builders.ts'
import { filesOf, policyOf, published, signer, type TestKey } from './verification.ts'

/** Opens files to the end, without letting other work happen. */
export function openFiles(files: ReadonlyMap<string, Buffer>, expected: Partial<SetExpectation> = {}): Opened {
  const steps = openSet(files, { namespace: 'shop', policy: 'orders', publicKeys: [signer.publicKey], ...expected })
  for (let count = 0; count < 10_000; count++) {
    const step = steps.next()
    if (step.done) return step.value
  }
  throw new Error('opening a set does not end')
}

/** The set of AccessPolicy shop/orders with this spec and these keys. */
export function setOf(spec: object, keys: readonly TestKey[] = []): VerificationSet {
  const opened = openFiles(filesOf(published(policyOf(spec), keys)))
  if (opened.outcome !== 'opened') throw new Error(JSON.stringify(opened))
  return opened.set
}

export interface Asked {
  readonly method?: string
  readonly target?: string
  /** Names and values, alternating; Host is added in front. */
  readonly fields?: readonly string[]
  readonly host?: string | undefined
  readonly peer?: string | undefined
  /** Unix seconds. Default: noon. */
  readonly at?: number
  /** What is known of the body, and what keys have spent. */
  readonly given?: Given
}

export const factsOf = (asked: Asked): RequestFacts => ({
  method: asked.method ?? 'GET',
  target: asked.target ?? '/orders',
  fields: [
    ...('host' in asked && asked.host === undefined ? [] : ['Host', asked.host ?? 'api.example']),
    ...(asked.fields ?? []),
  ],
  peer: 'peer' in asked ? asked.peer : '192.0.2.10',
})

export const ask = (set: VerificationSet | undefined, asked: Asked): Decision =>
  decide(set, factsOf(asked), asked.at ?? secondsOf(noon), asked.given)

/** What is decided, in one word: `Allowed`, or why not. */
export function verdict(set: VerificationSet | undefined, asked: Asked): string {
  const decision = ask(set, asked)
  return decision.allow ? 'Allowed' : decision.reason
}

/** What goes on to the application; throws where nothing does. */
export function passed(set: VerificationSet, asked: Asked): Allowed {
  const decision = ask(set, asked)
  if (!decision.allow) throw new Error(`refused: ${decision.reason}`)
  return decision
}

/** The values of a field that goes on, under exactly this name in any case. */
export const forwarded = ({ fieldLines }: Allowed, name: string): string[] =>
  fieldLines
    .split('\r\n')
    .filter((line) => line.slice(0, line.indexOf(':')).toLowerCase() === name.toLowerCase())
    .map((line) => line.slice(line.indexOf(':') + 2))
