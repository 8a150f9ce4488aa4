const digest = (digit: string): string => `sha256:${digit.repeat(64)}`
const adopting = (name: string): object => ({ source: { existing: { secretRef: { name, key: 'key' } } } })

/** Changes of specs that are each valid by themselves. */
export const immutableChanges: readonly {
  readonly kind: string
  readonly what: string
  readonly before: object
  readonly after: object
  /** The field that may not change; undefined where the change is taken. */
  readonly wrong?: string
}[] = [
  {
    what: 'a digest',
    before: { source: { digest: digest('0') } },
    after: { source: { digest: digest('1') } },
    wrong: 'spec.source',
  },
  { what: 'an existing Secret', before: adopting('a'), after: adopting('b'), wrong: 'spec.source' },
  {
    what: 'one source into another',
    before: adopting('a'),
    after: { source: { digest: digest('0') } },
    wrong: 'spec.source',
  },
  { what: 'generated into a digest', before: {}, after: { source: { digest: digest('0') } }, wrong: 'spec.source' },
  { what: 'a digest into generated', before: { source: { digest: digest('0') } }, after: {}, wrong: 'spec.source' },
  {
    what: 'the name of the Secret',
    before: { secret: { name: 'a' } },
    after: { secret: { name: 'b' } },
    wrong: 'spec.secret.name',
  },
  {
    what: 'no name of the Secret into one',
    before: { secret: { labels: {} } },
    after: { secret: { name: 'b' } },
    wrong: 'spec.secret.name',
  },
  {
    what: 'the name of the Secret into none',
    before: { secret: { name: 'a', labels: {} } },
    after: { secret: { labels: {} } },
    wrong: 'spec.secret.name',
  },
  {
    what: 'nothing about the Secret into a name',
    before: {},
    after: { secret: { name: 'a' } },
    wrong: 'spec.secret.name',
  },
  {
    what: 'a named Secret into nothing',
    before: { secret: { name: 'a' } },
    after: {},
    wrong: 'spec.secret.name',
  },
].map((change) => ({ kind: 'ApiKey', ...change }))
