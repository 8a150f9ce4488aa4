import { expect, test } from 'vitest'
import { customResourceDefinitions } from '../src/api/crd.ts'

test.each([...customResourceDefinitions()])('crds/%s.yaml is what the schema says', async (plural, yaml) => {
  await expect(yaml).toMatchFileSnapshot(`../crds/${plural}.yaml`)
})
