import type { Log } from '../runtime/log.ts'

export interface LoggedRefusal {
  readonly reason: string
  /** Undefined where no key was recognised. */
  readonly keyId: string | undefined
  readonly method: string | undefined
  /** As received; the query is taken off here. */
  readonly target: string | undefined
  readonly peer: string | undefined
  readonly detail?: string
  /** It passed all the same, in mode Audit. */
  readonly audited?: boolean
}

const everySeconds = 10
const rememberedTurns = 1000
const maxPathLength = 256

/**
 * Refusals for people to read: of each key and reason one in ten seconds, with the number of those left out, so that a
 * client in a loop fills no disk. Nothing that a client presented as a key is ever given to it.
 */
export class RefusalLog {
  private readonly log: Log
  private readonly clock: () => number
  private readonly turns = new Map<string, { nextAt: number; omitted: number }>()

  /** @param clock milliseconds of a monotonic clock */
  constructor(log: Log, clock: () => number) {
    this.log = log
    this.clock = clock
  }

  note({ reason, keyId, method, target, peer, detail, audited = false }: LoggedRefusal): void {
    const omitted = this.takeTurn(`${keyId ?? ''} ${reason}`)
    if (omitted === undefined) return
    const message = audited ? 'Would have refused a request' : 'Refused a request'
    this.log.info(message, { reason, keyId, method, path: pathOf(target), peer, detail, omitted })
  }

  /** An allowed request that came to nothing; what is wrong with the application is for its owner to see. */
  noteFailure(failure: string, detail: string): void {
    const omitted = this.takeTurn(`failure ${failure}`)
    if (omitted === undefined) return
    this.log.warn('A request came to nothing', { failure, detail, omitted })
  }

  /** How many like it were left out since the last line; undefined where this one is to be left out too. */
  private takeTurn(name: string): number | undefined {
    const now = this.clock()
    const known = this.turns.get(name)
    if (known !== undefined && now < known.nextAt) {
      known.omitted += 1
      return undefined
    }
    // Forgetting them all now and then costs a few more lines; tracking ages would cost every refusal.
    if (known === undefined && this.turns.size >= rememberedTurns) this.turns.clear()
    this.turns.set(name, { nextAt: now + everySeconds * 1000, omitted: 0 })
    return known?.omitted ?? 0
  }
}

/** Without query and without anything but visible ASCII, and not longer than a line should be. */
function pathOf(target: string | undefined): string | undefined {
  const [path] = target?.split('?', 1) ?? []
  return path?.slice(0, maxPathLength).replaceAll(/[^!-~]/g, '?')
}
