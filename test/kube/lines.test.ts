import fc from 'fast-check'
import { expect, test } from 'vitest'
import { LineSplitter } from '../../src/kube/lines.ts'

const splitAll = (splitter: LineSplitter, chunks: readonly Buffer[]) =>
  chunks.flatMap((chunk) => Array.from(splitter.split(chunk)))

const cut = (bytes: Buffer, at: readonly number[]): Buffer[] => {
  const places = [0, ...at.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
  return places.slice(1).map((end, i) => bytes.subarray(places[i], end))
}

test('lines are the same, however the bytes are cut', () => {
  const line = fc.string({ unit: 'binary' }).map((text) => text.replaceAll('\n', '\u2028'))
  fc.assert(
    fc.property(fc.array(line), fc.array(fc.nat()), (lines, places) => {
      const splitter = new LineSplitter(1000)
      const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''))
      expect(splitAll(splitter, cut(bytes, places))).toEqual(lines.map((line) => Buffer.from(line).toString()))
      expect(splitter.isAtLineStart).toBe(true)
    }),
  )
})

test('what has no end yet is kept for later', () => {
  const splitter = new LineSplitter(10)
  expect(splitAll(splitter, [Buffer.from('a\nb')])).toEqual(['a'])
  expect(splitter.isAtLineStart).toBe(false)
  expect(splitAll(splitter, [Buffer.from('c\n')])).toEqual(['bc'])
})

test('a line that is too long is refused before it has ended', () => {
  const splitter = new LineSplitter(10)
  expect(splitAll(splitter, [Buffer.from('0123456789\n01234')])).toEqual(['0123456789'])
  expect(() => splitAll(splitter, [Buffer.from('567890')])).toThrow('longer than 10 bytes')
})
