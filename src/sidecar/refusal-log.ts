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
}

const everySeconds = 10
const rememberedPairs = 1000
const maxPathLength = 256

/**
 * Refusals for people to read: of each key and reason one in ten seconds, with the number of those left out, so that a
 * client in a loop fills no disk. Nothing that a client presented as a key is ever given to it.
 */
export class RefusalLog {
  private readonly log: Log
  private readonly clock: () => number
  private readonly pairs = new Map<string, { nextAt: number; omitted: number }>()

  /** @param clock milliseconds of a monotonic clock */
  constructor(log: Log, clock: () => number) {
    this.log = log
    this.clock = clock
  }

  note({ reason, keyId, method, target, peer, detail }: LoggedRefusal): void {
    const now = this.clock()
    const name = `${keyId ?? ''} ${reason}`
    const known = this.pairs.get(name)
    if (known !== undefined && now < known.nextAt) {
      known.omitted += 1
      return
    }
    // Forgetting them all now and then costs a few more lines; tracking ages would cost every refusal.
    if (known === undefined && this.pairs.size >= rememberedPairs) this.pairs.clear()
    this.pairs.set(name, { nextAt: now + everySeconds * 1000, omitted: 0 })
    this.log.info('Refused a request', {
      reason,
      keyId,
      method,
      path: pathOf(target),
      peer,
      detail,
      omitted: known?.omitted,
    })
  }
}

/** Without query and without anything but visible ASCII, and not longer than a line should be. */
function pathOf(target: string | undefined): string | undefined {
  const [path] = target?.split('?', 1) ?? []
  return path?.slice(0, maxPathLength).replaceAll(/[^!-~]/g, '?')
}
