import type { FromSchema, Schema } from './schema.ts'

const tokens = { type: 'integer', format: 'int32', minimum: 1, maximum: 1000000 } as const satisfies Schema

/** The fields of a rate limit, for schemas that have them among others. */
export const rateLimitFields = {
  requests: { ...tokens, description: 'How many requests may be made in `perSeconds`, in the long run.' },
  perSeconds: {
    type: 'integer',
    format: 'int32',
    minimum: 1,
    maximum: 86400,
    description: 'The time for so many requests.',
  },
  burst: { ...tokens, description: 'How many requests may come at once after a pause. Default: `requests`.' },
} as const satisfies Readonly<Record<string, Schema>>

export const rateLimit = {
  type: 'object',
  required: ['requests', 'perSeconds'],
  properties: rateLimitFields,
} as const satisfies Schema

/** With `burst` absent, so many requests may come at once as `requests` says. */
export type RateLimit = FromSchema<typeof rateLimit>
