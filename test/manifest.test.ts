import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { locate, problemLine, readManifest, writeManifest } from '../src/core/manifest.ts'

const read = (text: string) => readManifest('a.yaml', text)
const problemsOf = (text: string) => read(text).problems.map(problemLine)
const titles = (text: string) => read(text).objects.map(({ title }) => title)

const policy = `# a comment
apiVersion: postern.dev/v1alpha1
kind: AccessPolicy
metadata:
  name: orders
  namespace: shop
  labels:
    app.kubernetes.io/name: orders
    app.kubernetes.io: none
spec:
  ports:
    - port: 8080
    - { port: 9090, listenPort: 19090 }
  publik: []
`

describe('reads', () => {
  test('several documents, empty ones among them, and a namespace that is left out', () => {
    const key = (name: string) => `apiVersion: postern.dev/v1alpha1\nkind: ApiKey\nmetadata: { name: ${name} }\n`
    expect(titles(`---\n---\n${key('a')}---\n# nothing\n---\n${key('b')}...\n`)).toEqual([
      'ApiKey default/a',
      'ApiKey default/b',
    ])
    expect(titles('')).toEqual([])
    expect(titles('apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }')).toEqual(['Namespace shop'])
  })

  test('JSON', () => {
    expect(titles('{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": "b"}}')).toEqual([
      'Secret b/a',
    ])
  })

  test('the items of lists, which need not say what a typed list says', () => {
    const text = `apiVersion: v1
kind: List
items:
  - apiVersion: v1
    kind: SecretList
    items: [{ metadata: { name: a } }]
  - apiVersion: v1
    kind: Namespace
    metadata: { name: b }
`
    const { objects } = read(text)
    expect(objects.map(({ title, value }) => [title, value.apiVersion])).toEqual([
      ['Secret default/a', 'v1'],
      ['Namespace b', 'v1'],
    ])
    expect(objects[1]!.at('.metadata.name')).toEqual({ file: 'a.yaml', line: 9, column: 17 })
    expect(objects[0]!.at('.metadata')).toEqual({ file: 'a.yaml', line: 6, column: 15 })
  })

  test('aliases and merged keys, and times as text', () => {
    const text = `apiVersion: v1
kind: Secret
metadata: &m { name: a, labels: &l { x: y } }
again: *l
merged: { <<: *l, z: 1 }
time: 2027-06-30T00:00:00Z
`
    const { objects, problems } = read(text)
    expect(problems).toEqual([])
    expect(objects[0]!.value).toMatchObject({
      again: { x: 'y' },
      merged: { x: 'y', z: 1 },
      time: '2027-06-30T00:00:00Z',
    })
    expect(objects[0]!.at('.again.x')).toMatchObject({ line: 3 })
  })
})

describe('finds the place of', () => {
  const [object] = read(policy).objects
  test.each([
    ['the whole object', '', 2, 1],
    ['a field', '.spec', 10, 1],
    ['a nested field', '.spec.ports[0].port', 12, 7],
    ['a field in one line with others', '.spec.ports[1].listenPort', 13, 21],
    ['an item', '.spec.ports[1]', 13, 7],
    ['an unknown field', '.spec.publik', 14, 3],
    ['a missing field: what it is missing from', '.spec.workloadSelector', 10, 1],
    ['a missing field in an item', '.spec.ports[0].listenPort', 12, 7],
    ['an item that is not there', '.spec.ports[7]', 11, 3],
    ['a label with dots', '.metadata.labels.app.kubernetes.io/name', 8, 5],
    ['a label that begins like another', '.metadata.labels.app.kubernetes.io', 9, 5],
  ])('%s', (_, path, line, column) => {
    expect(object!.at(path)).toEqual({ file: 'a.yaml', line, column })
  })
})

test('writes a problem in one line', () => {
  const [object] = read(policy).objects
  const problems = locate(object!, [
    { path: '.spec.publik', message: 'is not a known field' },
    { path: '', message: 'is odd' },
  ])
  expect(problems.map(problemLine)).toEqual([
    'a.yaml:14:3: AccessPolicy shop/orders: .spec.publik: is not a known field',
    'a.yaml:2:1: AccessPolicy shop/orders: .: is odd',
  ])
})

describe('refuses', () => {
  test.each<[string, string, string | RegExp]>([
    [
      'a key that stands twice',
      'a: 1\na: 2\n',
      'a.yaml:2:1: document 1: .: the same key stands before it in this object',
    ],
    ['the same in JSON', '{"a": 1,\n "a": 2}', /^a\.yaml:2:2: document 1: \.: the same key/],
    ['a text that is no YAML', 'kind: ApiKey\nspec: {a: [\n', /^a\.yaml:\d+:\d+: document 1: \.: /],
    ['a tab', 'a:\n\tb: 1\n', /^a\.yaml:2:\d+: document 1: \.: /],
    ['a scalar', 'word\n', 'a.yaml:1:1: document 1: .: must be an object with apiVersion, kind and metadata'],
    ['an object without a kind', 'apiVersion: v1\nmetadata: {}\n', 'a.yaml:1:1: document 1: .kind: is required'],
    ['a kind that is no text', '---\n---\napiVersion: v1\nkind: 3\n', 'a.yaml:4:1: document 2: .kind: must be text'],
    ['an unknown tag', 'apiVersion: v1\nkind: !hunter2 x\n', /^a\.yaml:2:7: document 1: \.: a tag \(!\) is not known/],
    ['an alias without anchor', 'apiVersion: v1\nkind: *hunter2\n', /^a\.yaml:2:7: document 1: \.: an alias/],
    [
      'an item of a list',
      'apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n',
      'a.yaml:4:3: document 1, item 1: .kind: is required',
    ],
  ])('%s', (_, text, problem) => {
    const problems = problemsOf(text)
    expect(problems[0]).toMatch(problem)
    expect(problems.join()).not.toContain('hunter2')
  })

  test('one document, and names its object where that can be read, while others are read', () => {
    const text = `apiVersion: v1\nkind: Namespace\nmetadata: { name: a }\n---\n${policy}spec: {}\n---\napiVersion: v1\nkind: Namespace\nmetadata: { name: b }\n`
    expect(titles(text)).toEqual(['Namespace a', 'Namespace b'])
    expect(problemsOf(text)).toEqual([
      'a.yaml:19:1: AccessPolicy shop/orders: .: the same key stands before it in this object',
    ])
  })

  test('aliases that multiply, in no time', () => {
    const levels = Array.from({ length: 12 }, (_, level) =>
      level === 0
        ? 'a0: &a0 [x, x]'
        : `a${level}: &a${level} [${Array(9)
            .fill(`*a${level - 1}`)
            .join()}]`,
    )
    expect(problemsOf(`apiVersion: v1\nkind: X\n${levels.join('\n')}\n`)).toEqual([
      'a.yaml:1:1: document 1: .: has too many aliases',
    ])
  })

  test('what is nested too deeply', () => {
    expect(problemsOf('['.repeat(200_000))[0]).toMatch(/^a\.yaml:1:\d+: document 1: /)
  })
})

test('reads any text without throwing, and says nothing of what is in it', () => {
  const word = fc.constantFrom(
    'kind: X',
    'a: [',
    '*hunter2',
    '!hunter2 ',
    '&hunter2 ',
    '"\\hunter2"',
    '- ',
    ': ',
    '\n',
    '---\n',
    '%hunter2\n',
    '@hunter2',
    '}',
    '  ',
    '\t',
    'hunter2',
  )
  fc.assert(
    fc.property(fc.array(word, { maxLength: 12 }), (words) => {
      expect(problemsOf(words.join('')).join()).not.toContain('hunter2')
    }),
    { numRuns: 500 },
  )
})

test('reads what it wrote', () => {
  const value = fc.jsonValue({ maxDepth: 4 })
  fc.assert(
    fc.property(value, (spec) => {
      const object = { apiVersion: 'v1', kind: 'X', metadata: { name: 'a' }, spec: JSON.parse(JSON.stringify(spec)) }
      expect(read(writeManifest(object)).objects.map(({ value }) => value)).toEqual([object])
    }),
    { numRuns: 100 },
  )
})
