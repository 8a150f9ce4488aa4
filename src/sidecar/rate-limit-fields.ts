import type { Allowance } from '../core/authorize/limit.ts'

/**
 * What a limited key may still do, as field lines (draft-ietf-httpapi-ratelimit-headers-10). Both fields are lists: what
 * an application says of limits of its own, under other names, may stand beside.
 */
export const rateLimitLines = ({ limit, remaining, resetSeconds }: Allowance): string =>
  `RateLimit-Policy: "postern";q=${limit.requests};w=${limit.perSeconds}\r\n` +
  `RateLimit: "postern";r=${remaining};t=${resetSeconds}\r\n`
