import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { ConfigMap } from '../../src/api/object.ts'
import { type ConfigMapVolume, mountConfigMaps, writeVolume } from './kubelet.ts'
import { eventually } from './wait.ts'

let directory = ''
let volume: ConfigMapVolume | undefined
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'postern-kubelet-'))
})
afterEach(async () => {
  await volume?.unmount()
  volume = undefined
  rmSync(directory, { recursive: true, force: true })
})

/** ConfigMaps by name, as a test changes them. */
const sources = new Map<string, Record<string, string>>()
beforeEach(() => sources.clear())
const read = async (name: string): Promise<ConfigMap | undefined> => {
  const data = sources.get(name)
  return data === undefined ? undefined : { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data }
}
const mounted = async (...names: string[]): Promise<ConfigMapVolume> => {
  volume = await mountConfigMaps({ read, names, directory })
  return volume
}

const visible = () => readdirSync(directory).filter((name) => !name.startsWith('..'))
const hidden = () => readdirSync(directory).filter((name) => name.startsWith('..'))
const content = (name: string) => readFileSync(join(directory, name), 'utf8')

describe('a mounted ConfigMap', () => {
  test('is laid out as the kubelet lays it out', async () => {
    sources.set('a', { 'policy.json': '{}', keys: 'one\n' })
    await mounted('a')
    const data = readlinkSync(join(directory, '..data'))
    expect(data).toMatch(/^\.\.\d{4}_\d\d_\d\d_\d\d_\d\d_\d\d\.\d+$/)
    expect(hidden()).toEqual(['..data', data].sort())
    expect(visible()).toEqual(['keys', 'policy.json'])
    expect(readlinkSync(join(directory, 'keys'))).toBe('..data/keys')
    expect(content('keys')).toBe('one\n')
  })

  test('moves to a new directory with every change, and nowhere without one', async () => {
    sources.set('a', { key: '0' })
    const a = await mounted('a')
    const targets = [readlinkSync(join(directory, '..data'))]
    for (const value of ['1', '2', '3']) {
      sources.set('a', { key: value })
      expect(await a.sync()).toBe(true)
      expect(await a.sync()).toBe(false)
      expect(content('key')).toBe(value)
      targets.push(readlinkSync(join(directory, '..data')))
      expect(hidden()).toHaveLength(2)
    }
    expect(new Set(targets).size).toBe(4)
  })

  test('gains and loses files with its keys', async () => {
    sources.set('a', { stays: '1', goes: '1' })
    const a = await mounted('a')
    sources.set('a', { stays: '1', comes: '1' })
    await a.sync()
    expect(visible()).toEqual(['comes', 'stays'])
    sources.delete('a')
    await a.sync()
    expect(visible()).toEqual([])
    expect(readdirSync(join(directory, '..data'))).toEqual([])
  })

  test('starts empty when it does not exist yet', async () => {
    const a = await mounted('a')
    expect(readdirSync(join(directory, '..data'))).toEqual([])
    sources.set('a', { key: 'late' })
    await a.sync()
    expect(content('key')).toBe('late')
  })

  test('shares one directory with other ConfigMaps, which change together', async () => {
    sources.set('a', { one: 'a', both: 'a' })
    sources.set('b', { two: 'b', both: 'b' })
    await mounted('a', 'b', 'missing')
    expect(visible()).toEqual(['both', 'one', 'two'])
    expect(content('both')).toBe('b')
  })

  test('stays as it is while it cannot be read', async () => {
    sources.set('a', { key: 'good' })
    let broken = false
    const failing = (name: string) => (broken ? Promise.reject(new Error('API server gone')) : read(name))
    volume = await mountConfigMaps({ read: failing, names: ['a'], directory })
    broken = true
    await expect(volume.sync()).rejects.toThrow('API server gone')
    volume.follow(5)
    await eventually('a failure', () => volume?.lastError() !== undefined)
    expect(content('key')).toBe('good')

    broken = false
    sources.set('a', { key: 'better' })
    await eventually('the change', () => content('key') === 'better')
  })

  test('holds binary data as bytes', async () => {
    const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a' }, binaryData: { raw: '/wA=' } }
    volume = await mountConfigMaps({ read: () => Promise.resolve(object), names: ['a'], directory })
    expect(readFileSync(join(directory, 'raw'))).toEqual(Buffer.from([0xff, 0]))
  })
})

test('a reader that resolves ..data once never sees files of two versions', async () => {
  const names = ['a', 'b', 'c']
  const version = (number: number) => new Map(names.map((name) => [name, Buffer.from(String(number).repeat(2_000))]))
  await writeVolume(directory, version(1))
  // In another thread, so that it reads between the writer's steps.
  const reader = new Worker(
    `const { readFileSync, readlinkSync } = require('node:fs')
     const { parentPort, workerData: { directory, names, until } } = require('node:worker_threads')
     const seen = { whole: 0, mixed: 0, interrupted: 0 }
     for (let last = ''; last !== until; ) {
       try {
         const data = directory + '/' + readlinkSync(directory + '/..data')
         const texts = names.map((name) => readFileSync(data + '/' + name, 'utf8'))
         seen[new Set(texts).size === 1 ? 'whole' : 'mixed']++
         last = texts[0]
       } catch (error) {
         if (error.code !== 'ENOENT') throw error
         seen.interrupted++
       }
     }
     parentPort.postMessage(seen)`,
    { eval: true, workerData: { directory, names, until: '8'.repeat(2_000) } },
  )
  const finished = new Promise<{ whole: number; mixed: number }>((resolve, reject) => {
    reader.once('message', resolve).once('error', reject)
  })
  for (let round = 0; round < 100; round++) await writeVolume(directory, version(round % 2 === 0 ? 2 : 3))
  await writeVolume(directory, version(8))
  const { whole, mixed } = await finished
  expect(mixed).toBe(0)
  expect(whole).toBeGreaterThan(0)
})
