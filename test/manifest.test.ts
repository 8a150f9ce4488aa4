import { expect, test } from 'vitest'
import { formatProblem, readManifest } from '../src/core/manifest.ts'

const problemsOf = (text: string): string[] =>
  readManifest(text).problems.map((problem) => formatProblem('a.yaml', problem))

test('reads several documents, lists and JSON, and fills in the namespace', () => {
  const { objects, problems } = readManifest(`
apiVersion: v1
kind: Secret
metadata: { name: one, namespace: shop }
---
# nothing here
---
apiVersion: v1
kind: List
items:
- { apiVersion: v1, kind: Secret, metadata: { name: two } }
- { "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "three" } }
`)
  expect(problems).toEqual([])
  expect(objects.map(({ object }) => [object.kind, object.metadata.namespace, object.metadata.name])).toEqual([
    ['Secret', 'shop', 'one'],
    ['Secret', 'default', 'two'],
    ['Namespace', undefined, 'three'],
  ])
})

test('tells where a field stands, or what it should stand in', () => {
  const { objects } = readManifest(`apiVersion: postern.dev/v1alpha1
kind: ApiKey
metadata:
  name: a
  labels: { app.kubernetes.io/name: b }
spec:
  access:
  - policy: { name: x }
    rolse: [a]
`)
  const at = (path: string): number[] => Object.values(objects[0]!.positionOf(path))
  expect(at('.spec.access[0].rolse')).toEqual([9, 5])
  expect(at('.spec.access[0].policy.namespace')).toEqual([8, 5])
  expect(at('.metadata.labels.app.kubernetes.io/name')).toEqual([5, 13])
  expect(at('.spec.displayName')).toEqual([6, 1])
  expect(at('')).toEqual([1, 1])
})

test.each([
  ['a syntax error', 'kind: [', /^a\.yaml:1:8: /],
  [
    'a key that is there twice',
    'apiVersion: v1\nkind: Secret\nkind: Secret\nmetadata: { name: a }',
    /^a\.yaml:3:1: Map keys must be unique/,
  ],
  ['no object', '- a', /^a\.yaml:1:1: is not an object$/],
  ['no kind', 'apiVersion: v1\nmetadata: { name: a }', /^a\.yaml:1:1: \.kind: is required$/],
  ['no name', 'apiVersion: v1\nkind: Secret\nmetadata: {}', /^a\.yaml:3:1: \.metadata\.name: is required$/],
  [
    'a name that is none',
    'apiVersion: v1\nkind: Secret\nmetadata: { name: A/b }',
    /^a\.yaml:3:13: Secret default\/A\/b: \.metadata\.name: must be a DNS name/,
  ],
  [
    'a label that is a number',
    'apiVersion: v1\nkind: Secret\nmetadata: { name: a, labels: { b: 1 } }',
    /\.metadata\.labels: must be a map of strings$/,
  ],
  [
    'aliases without end',
    `a: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c]\ne: [*d, *d, *d, *d, *d, *d, *d, *d]`,
    /alias/i,
  ],
])('reports %s with its place', (_, text, expected) => {
  expect(problemsOf(text)).toEqual([expect.stringMatching(expected)])
})

test('goes on behind a document that cannot be read', () => {
  const { objects, problems } = readManifest('kind: [\n---\napiVersion: v1\nkind: Secret\nmetadata: { name: a }\n')
  expect(problems).toHaveLength(1)
  expect(objects.map(({ object }) => object.metadata.name)).toEqual(['a'])
})
