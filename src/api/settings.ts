import { type FromSchema, parser, type Schema } from './schema.ts'

/** What whoever runs Postern decides for everybody; read from the file that `--settings` names. */
export const settingsSchema = {
  type: 'object',
  description: 'Settings of the operator and of standalone.',
  properties: {
    keyPrefix: {
      type: 'string',
      pattern: '^[a-z0-9]{2,12}$',
      default: 'pstn',
      description:
        'What generated keys begin with. Keys with another prefix go on working as keys that were made elsewhere.',
    },
  },
} as const satisfies Schema

export type Settings = FromSchema<typeof settingsSchema>

export const parseSettings = parser(settingsSchema)
