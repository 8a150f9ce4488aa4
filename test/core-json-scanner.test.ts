import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { JsonScanner, type PointedValue } from '../src/core/authorize/json-scanner.ts'

const refused = 'refused'

/** What is found in a text that comes in pieces of so many bytes. */
function find(text: string | Buffer, pointers: readonly string[], pieceBytes = Number.POSITIVE_INFINITY) {
  const bytes = Buffer.from(text)
  const scanner = new JsonScanner(pointers)
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    if (!scanner.read(bytes, at, Math.min(bytes.length, at + pieceBytes))) return refused
  }
  return scanner.finish() ? pointers.map((pointer) => scanner.values.get(pointer)) : refused
}

const whole = '{"model":"m","n":[1,-0.5e+3,true,false,null,{}],"é":"\\u00e9\\ud83d\\ude00","deep":{"model":"x"}}'

describe('a value at a pointer', () => {
  test.each<[string, string, string, PointedValue]>([
    ['a member', '{"model":"m"}', '/model', 'm'],
    ['with blanks around', ' \t\r\n{ "model" : "m" } \n', '/model', 'm'],
    ['after others', '{"a":{"model":"x"},"model":"m"}', '/model', 'm'],
    ['not one further down', '{"a":{"model":"x"}}', '/model', undefined],
    ['further down', '{"a":{"model":"x"}}', '/a/model', 'x'],
    ['in an array', '[{"model":"x"},{"model":"y"}]', '/1/model', 'y'],
    ['behind the end of an array', '[{"model":"x"}]', '/1/model', undefined],
    ['an index with a zero before it leads nowhere', '[1,{"m":"x"}]', '/01/m', undefined],
    ['a digit as a name', '{"1":"x"}', '/1', 'x'],
    ['with a slash in its name', '{"a/b":"x"}', '/a~1b', 'x'],
    ['with a tilde in its name', '{"a~1b":"x"}', '/a~01b', 'x'],
    ['with an empty name', '{"":"x"}', '/', 'x'],
    ['under an escaped name', '{"m\\u006fdel":"m"}', '/model', 'm'],
    ['with escapes', '{"model":"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00E9\\ud83d\\uDE00"}', '/model', '"\\/\b\f\n\r\té😀'],
    ['in UTF-8', '{"model":"é€😀"}', '/model', 'é€😀'],
    ['empty', '{"model":""}', '/model', ''],
    ['not where a string stands on the way', '{"a":"x"}', '/a/model', undefined],
    ['a number is no string', '{"model":5}', '/model', null],
    ['null is no string', '{"model":null}', '/model', null],
    ['an object is no string', '{"model":{"a":1}}', '/model', null],
    ['an array is no string', '{"model":["m"]}', '/model', null],
    ['nothing in a scalar', '5', '/model', undefined],
    ['a member of the name that objects have anyway', '{"__proto__":"x"}', '/__proto__', 'x'],
    [
      'names may repeat where no pointer leads',
      '{"a":1,"a":2,"b":{"model":"x","model":"y"},"model":"m"}',
      '/model',
      'm',
    ],
  ])('%s', (_, text, pointer, expected) => {
    for (const pieceBytes of [Number.POSITIVE_INFINITY, 1, 2, 3]) {
      expect(find(text, [pointer], pieceBytes)).toEqual([expected])
    }
  })

  test('several pointers at once, one within another', () => {
    const text = '{"a":{"b":"x","c":["y"]},"d":"z"}'
    expect(find(text, ['/a', '/a/b', '/a/c/0', '/d', '/e'])).toEqual([null, 'x', 'y', 'z', undefined])
  })
})

describe('a text that two parsers could read in two ways is refused', () => {
  const bytes = (...values: readonly (string | number)[]) =>
    Buffer.concat(values.map((value) => (typeof value === 'number' ? Buffer.of(value) : Buffer.from(value))))
  test.each<[string, string | Buffer]>([
    ['nothing', ''],
    ['blanks', '  '],
    ['a member that comes twice', '{"model":"a","model":"b"}'],
    ['twice, once escaped', '{"model":"a","\\u006dodel":"b"}'],
    ['twice, with much between', `{"model":"a","x":[${'{"model":"b"},'.repeat(50)}1],"model":"a"}`],
    ['twice, not a string first', '{"model":1,"model":"b"}'],
    ['a member in other letters', '{"model":"a","Model":"b"}'],
    ['a member in other letters alone', '{"MODEL":"b"}'],
    ['a member with NUL in its name', '{"model\\u0000":"b","model":"a"}'],
    ['a byte order mark', bytes(0xef, 0xbb, 0xbf, '{"model":"a"}')],
    ['text behind the value', '{"model":"a"}{"model":"b"}'],
    ['a comma behind the value', '{"model":"a"},'],
    ['NUL behind the value', '{"model":"a"}\0'],
    ['a comma at the end of an object', '{"model":"a",}'],
    ['a comma at the end of an array', '[1,]'],
    ['a comma at the start', '{,"model":"a"}'],
    ['no colon', '{"model" "a"}'],
    ['no end', '{"model":"a"'],
    ['no end of a string', '{"model":"a'],
    ['the wrong end', '{"model":"a"]'],
    ['the wrong end of an array', '[1}'],
    ['single quotes', "{'model':'a'}"],
    ['a name without quotes', '{model:"a"}'],
    ['a comment', '{"model":"a"/**/}'],
    ['an unknown escape', '{"model":"\\a"}'],
    ['an escaped apostrophe', '{"model":"\\\'"}'],
    ['a short escape', '{"model":"\\u00e"}'],
    ['a lone high surrogate', '{"model":"\\ud83d"}'],
    ['a high surrogate before another escape', '{"model":"\\ud83d\\n"}'],
    ['a high surrogate before a letter', '{"model":"\\ud83d\\u0061"}'],
    ['a lone low surrogate', '{"model":"\\ude00"}'],
    ['a lone surrogate where no pointer leads', '{"x":"\\ude00","model":"a"}'],
    ['a line end in a string', '{"model":"a\n"}'],
    ['NUL in a string', '{"model":"a\0"}'],
    ['Latin-1', bytes('{"model":"', 0xe9, '"}')],
    ['an overlong slash', bytes('{"model":"', 0xc0, 0xaf, '"}')],
    ['an overlong character of three bytes', bytes('{"model":"', 0xe0, 0x80, 0xaf, '"}')],
    ['a surrogate in UTF-8', bytes('{"model":"', 0xed, 0xa0, 0x80, '"}')],
    ['beyond Unicode', bytes('{"model":"', 0xf4, 0x90, 0x80, 0x80, '"}')],
    ['half a character', bytes('{"model":"', 0xe2, 0x82, '"}')],
    ['a lone continuation', bytes('{"model":"', 0x80, '"}')],
    ['UTF-16', Buffer.from('{"model":"a"}', 'utf16le')],
    ['a zero before a number', '{"n":01}'],
    ['a plus before a number', '{"n":+1}'],
    ['a point at the end of a number', '{"n":1.}'],
    ['NaN', '{"n":NaN}'],
    ['hexadecimal', '{"n":0x10}'],
    ['True', '{"n":True}'],
    ['nul', '{"n":nul}'],
    ['a number of many digits', `{"n":${'1'.repeat(300)}}`],
    ['a form feed as a blank', '{\f"model":"a"}'],
    ['too deep', `${'['.repeat(129)}${']'.repeat(129)}`],
  ])('%s', (_, text) => {
    for (const pieceBytes of [Number.POSITIVE_INFINITY, 1]) expect(find(text, ['/model'], pieceBytes)).toBe(refused)
  })
})

test('whatever JSON.stringify writes is read, as JSON.parse reads it', () => {
  const at = (value: unknown, tokens: readonly string[]): PointedValue => {
    let found: unknown = value
    for (const token of tokens) {
      if (typeof found !== 'object' || found === null || !Object.hasOwn(found, token)) return undefined
      found = (found as Readonly<Record<string, unknown>>)[token]
    }
    return typeof found === 'string' ? found : null
  }
  const name = fc.constantFrom('a', 'b', '0', '1', 'c/d', 'e~', '😀')
  fc.assert(
    fc.property(
      fc.letrec((tie) => ({
        value: fc.oneof(
          { depthSize: 'small', withCrossShrink: true },
          fc.string({ unit: 'grapheme' }),
          fc.double({ noNaN: true, noDefaultInfinity: true }),
          fc.boolean(),
          fc.constant(null),
          fc.array(tie('value'), { maxLength: 3 }),
          fc.dictionary(name, tie('value'), { maxKeys: 4 }),
        ),
      })).value,
      fc.array(name, { minLength: 1, maxLength: 3 }),
      fc.constantFrom(undefined, 1, 2),
      fc.integer({ min: 1, max: 9 }),
      (value, tokens, space, pieceBytes) => {
        const pointer = tokens.map((token) => `/${token.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')
        expect(find(JSON.stringify(value, null, space), [pointer], pieceBytes)).toEqual([at(value, tokens)])
      },
    ),
    { numRuns: 500 },
  )
})

test('whatever is accepted, JSON.parse accepts, and finds the same', () => {
  const byte = fc.constantFrom(...Buffer.from('{}[]",:\\u0dm e1-."model"'), 0x80, 0xc3, 0xa9, 0)
  const edit = fc.record({ at: fc.nat(whole.length), remove: fc.nat(3), insert: fc.array(byte, { maxLength: 3 }) })
  let accepted = 0
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), (edits) => {
      let bytes = Buffer.from(whole)
      for (const { at, remove, insert } of edits)
        bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from(insert), bytes.subarray(at + remove)])
      const found = find(bytes, ['/model'])
      if (found === refused) return
      accepted += 1
      const parsed: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
      const model = Object.getOwnPropertyDescriptor(Object(parsed), 'model')?.value as unknown
      expect(found).toEqual([typeof model === 'string' ? model : model === undefined ? undefined : null])
    }),
    { numRuns: 3000 },
  )
  expect(accepted).toBeGreaterThan(50)
})

test('a refusal is known as soon as it is certain', () => {
  const scanner = new JsonScanner(['/model'])
  expect(scanner.read(Buffer.from('{"model":"a"'))).toBe(true)
  expect(scanner.values.get('/model')).toBe('a')
  expect(scanner.read(Buffer.from(',"model"'))).toBe(false)
})
