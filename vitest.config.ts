import { configDefaults, defineConfig } from 'vitest/config'
import { whyNoControlPlane } from './test/controlplane/find.ts'

const noControlPlane = whyNoControlPlane()
if (noControlPlane !== undefined) console.warn(`test/apiserver is passed over: ${noControlPlane}`)

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: [...configDefaults.exclude, ...(noControlPlane === undefined ? [] : ['test/apiserver/**'])],
    globalSetup: ['test/controlplane/shared.ts'],
    testTimeout: 30_000,
    hookTimeout: 120_000,
    // Two cores are what the smallest supported machine has; more workers only make processes under test slower.
    maxWorkers: 2,
  },
})
