import type { Manifest } from '../api/verification.ts'

/** The order of published sets: positive where `a` is the newer. */
export const compareVersions = (
  a: Pick<Manifest, 'epoch' | 'sequence'>,
  b: Pick<Manifest, 'epoch' | 'sequence'>,
): number => a.epoch - b.epoch || a.sequence - b.sequence
