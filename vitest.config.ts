import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 30_000,
    hookTimeout: 120_000,
    // Two cores are what the smallest supported machine has; more workers only make processes under test slower.
    maxWorkers: 2,
  },
})
