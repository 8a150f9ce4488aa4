import { describe, expect, test } from 'vitest'
import type { AccessDocument } from '../../src/api/verification.ts'
import type { BodyFindings } from '../../src/core/authorize/decision.ts'
import { type Asked, ask, passed, setOf, verdict } from '../support/asked.ts'
import { keyOf } from '../support/verification.ts'

const key = keyOf(1)
const withKey = (...fields: readonly string[]): readonly string[] => ['X-API-Key', key, ...fields]

/** A set with one key, whose access is given by index. */
const keyed = (spec: object, ...access: readonly AccessDocument[]) => setOf(spec, [{ key, access }])
const limited = (values: readonly string[]): AccessDocument => ({ interfaces: [0], resources: [[0, values]] })
const fully: AccessDocument = { interfaces: [0] }

describe('a resource in a header', () => {
  const spec = { resources: [{ name: 'model', from: { header: 'X-Model' } }] }
  const optional = { resources: [{ ...spec.resources[0], required: false }] }
  const set = keyed(spec, limited(['a', 'ep-*', 'é']))
  test.each<[what: string, fields: readonly string[], expected: string]>([
    ['that is granted', ['X-Model', 'a'], 'Allowed'],
    ['under its name in other letters', ['x-mOdEl', 'a'], 'Allowed'],
    ['that begins as one that is granted', ['X-Model', 'ep-2024'], 'Allowed'],
    ['that is the beginning', ['X-Model', 'ep-'], 'Allowed'],
    ['in UTF-8', ['X-Model', 'Ã©'], 'Allowed'],
    ['in Latin-1', ['X-Model', 'é'], 'ResourceNotAllowed'],
    ['that is another', ['X-Model', 'b'], 'ResourceNotAllowed'],
    ['in other letters', ['X-Model', 'A'], 'ResourceNotAllowed'],
    ['that is longer', ['X-Model', 'ab'], 'ResourceNotAllowed'],
    ['twice', ['X-Model', 'a', 'X-Model', 'a'], 'ResourceNotAllowed'],
    ['with a comma', ['X-Model', 'ep-1, b'], 'ResourceNotAllowed'],
    ['not at all', [], 'ResourceMissing'],
    ['empty', ['X-Model', ''], 'ResourceMissing'],
    ['in disguise', ['X_Model', 'a'], 'ResourceMissing'],
    ['taken away by Connection', ['X-Model', 'a', 'Connection', 'x-model'], 'RequestMalformed'],
  ])('%s', (_, fields, expected) => {
    expect(verdict(set, { fields: withKey(...fields) })).toBe(expected)
  })

  test('goes on, and nothing that looks like it', () => {
    const { fieldLines } = passed(set, { fields: withKey('X-Model', 'a', 'X_Model', 'b') })
    expect(fieldLines).toContain('X-Model: a\r\n')
    expect(fieldLines).not.toContain('X_Model')
  })

  test('that is not required may be absent, but not another', () => {
    const lenient = keyed(optional, limited(['a']))
    expect(verdict(lenient, { fields: withKey() })).toBe('Allowed')
    expect(verdict(lenient, { fields: withKey('X-Model', 'b') })).toBe('ResourceNotAllowed')
  })

  test('any value passes where the key has no limit, but one must be there', () => {
    const open = keyed(spec, fully)
    expect(verdict(open, { fields: withKey('X-Model', 'b') })).toBe('Allowed')
    expect(verdict(open, { fields: withKey() })).toBe('ResourceMissing')
  })
})

describe('a resource in the query', () => {
  const set = keyed({ resources: [{ name: 'model', from: { query: 'model' } }] }, limited(['a', 'b c', 'ep-*']))
  test.each<[query: string, expected: string]>([
    ['?model=a', 'Allowed'],
    ['?x=1&model=a&y', 'Allowed'],
    ['?model=%61', 'Allowed'],
    ['?model=b%20c', 'Allowed'],
    ['?model=a&model=ep-1', 'Allowed'],
    ['', 'ResourceMissing'],
    ['?', 'ResourceMissing'],
    ['?x=1', 'ResourceMissing'],
    ['?model', 'ResourceNotAllowed'],
    ['?model=', 'ResourceNotAllowed'],
    ['?model=b', 'ResourceNotAllowed'],
    ['?model=a&model=b', 'ResourceNotAllowed'],
    // A plus is a blank to some.
    ['?model=b+c', 'ResourceNotAllowed'],
    ['?model=ep-+', 'Allowed'],
    // Other names that frameworks take for the same.
    ['?model=a&model[]=b', 'ResourceNotAllowed'],
    ['?model=a&model%5B0%5D=b', 'ResourceNotAllowed'],
    ['?model=a&MODEL=b', 'ResourceNotAllowed'],
    ['?model=a&mode%6c=b', 'ResourceNotAllowed'],
    ['?model=a&mode%256c=b', 'ResourceNotAllowed'],
    ['?model=a&+model=b', 'ResourceNotAllowed'],
    ['?model=a&model%00x=b', 'ResourceNotAllowed'],
    // A semicolon ends a parameter to some.
    ['?model=a&x=1;model=b', 'ResourceNotAllowed'],
    ['?model=ep-1;model=b', 'ResourceNotAllowed'],
    ['?x=1;y=2&model=a', 'Allowed'],
    // What is decoded twice.
    ['?model=ep-%2561', 'ResourceNotAllowed'],
    ['?model=ep-%', 'ResourceNotAllowed'],
    ['?model=ep-%zz', 'ResourceNotAllowed'],
    ['?model=ep-%00b', 'ResourceNotAllowed'],
    ['?model=ep-%ff', 'ResourceNotAllowed'],
  ])('%s', (query, expected) => {
    expect(verdict(set, { target: `/x${query}`, fields: withKey() })).toBe(expected)
  })
})

describe('a resource in the path', () => {
  const spec = {
    interfaces: [
      { name: 'one', match: [{ paths: ['/orders/{id}', '/orders/{id}/items/*', '/shop-{id}'] }] },
      { name: 'all', match: [{ methods: ['GET'], paths: ['/orders'] }] },
    ],
    resources: [{ name: 'order', from: { path: 'id' }, interfaces: ['one'] }],
  }
  const set = keyed(
    {
      ...spec,
      interfaces: [{ name: 'one', match: [{ paths: ['/orders/{id}', '/orders/{id}/items/*', '/x/{id}/{id2}'] }] }],
    },
    limited(['7', 'a b', 'ep*', 'é']),
  )
  test.each<[path: string, expected: string]>([
    ['/orders/7', 'Allowed'],
    ['/orders/7/items/9', 'Allowed'],
    ['/x/7/8', 'Allowed'],
    ['/orders/%37', 'Allowed'],
    ['/orders/a%20b', 'Allowed'],
    ['/orders/%C3%A9', 'Allowed'],
    ['/orders/8', 'ResourceNotAllowed'],
    ['/orders/8/items/7', 'ResourceNotAllowed'],
    ['/x/8/7', 'ResourceNotAllowed'],
    ['/orders/ep;x', 'ResourceNotAllowed'],
    ['/orders/ep%3Bx', 'ResourceNotAllowed'],
    ['/orders/ep%3Fx', 'ResourceNotAllowed'],
    ['/orders/ep%2561', 'ResourceNotAllowed'],
    ['/orders/ep.', 'ResourceNotAllowed'],
    ['/orders/ep.x', 'Allowed'],
  ])('%s', (path, expected) => {
    expect(verdict(set, { target: path, fields: withKey() })).toBe(expected)
  })

  test('of two patterns that differ on it is refused', () => {
    const twofold = keyed(
      {
        interfaces: [{ name: 'one', match: [{ paths: ['/{id}/*', '/*/{id}'] }] }],
        resources: [{ name: 'order', from: { path: 'id' } }],
      },
      limited(['7', '8']),
    )
    expect(verdict(twofold, { target: '/7/8', fields: withKey() })).toBe('ResourceNotAllowed')
    expect(verdict(twofold, { target: '/7/7', fields: withKey() })).toBe('Allowed')
  })

  test('is asked for where it applies alone', () => {
    const { interfaces } = { interfaces: [{ name: 'one', match: [{ paths: ['/orders/{id}'] }] }, spec.interfaces[1]] }
    const both = keyed({ ...spec, interfaces }, { interfaces: [0, 1], resources: [[0, ['7']]] })
    expect(verdict(both, { target: '/orders', fields: withKey() })).toBe('Allowed')
    expect(verdict(both, { target: '/orders/8', fields: withKey() })).toBe('ResourceNotAllowed')
  })
})

describe('a resource in the body', () => {
  const spec = { resources: [{ name: 'model', from: { bodyPointer: '/model' } }], limits: { maxBodyBytes: 100 } }
  const set = keyed(spec, limited(['a', 'ep-*']))
  const json = ['Content-Type', 'application/json', 'Content-Length', '9']
  const asked = (fields: readonly string[], body?: BodyFindings): Asked => ({
    method: 'POST',
    fields: withKey(...fields),
    given: { body },
  })
  const found = (value: string | null | undefined): BodyFindings => new Map([['/model', value]])

  test('is asked for, once all else allows', () => {
    expect(ask(set, asked(json))).toMatchObject({
      allow: false,
      reason: 'BodyNotInspectable',
      body: { pointers: ['/model'], maxBytes: 100 },
    })
    expect(ask(set, { ...asked(json), fields: ['X-API-Key', keyOf(2), ...json] })).not.toHaveProperty('body')
  })

  test.each<[what: string, body: BodyFindings, expected: string, status?: number]>([
    ['that is granted', found('a'), 'Allowed'],
    ['by its beginning', found('ep-1'), 'Allowed'],
    ['that is another', found('b'), 'ResourceNotAllowed'],
    ['that is no string', found(null), 'ResourceNotAllowed'],
    ['that is not there', found(undefined), 'ResourceMissing'],
    ['of which nothing is known yet', new Map(), 'BodyNotInspectable', 403],
    ['in what is no JSON', 'Unreadable', 'BodyNotInspectable', 403],
    ['of a body that nobody has', 'Unavailable', 'BodyNotInspectable', 403],
    ['of a body that is too long', 'TooLarge', 'BodyNotInspectable', 413],
  ])('%s', (_, body, expected, status) => {
    expect(verdict(set, asked(json, body))).toBe(expected)
    expect(ask(set, asked(json, body))).toMatchObject(status === undefined ? {} : { status })
  })

  test.each<[what: string, fields: readonly string[], status: number]>([
    ['no type', [], 415],
    ['text', ['Content-Type', 'text/plain'], 415],
    ['a form', ['Content-Type', 'application/x-www-form-urlencoded'], 415],
    ['JSON of another kind', ['Content-Type', 'text/json'], 415],
    ['JSON lines', ['Content-Type', 'application/json-seq'], 415],
    ['another charset', ['Content-Type', 'application/json; charset=utf-16'], 415],
    ['two charsets', ['Content-Type', 'application/json; charset=utf-8; charset=utf-8'], 415],
    ['two types', ['Content-Type', 'application/json', 'Content-Type', 'application/json'], 415],
    ['a broken parameter', ['Content-Type', 'application/json; charset'], 415],
    ['a list of types', ['Content-Type', 'application/json, text/plain'], 415],
    ['a coding', ['Content-Type', 'application/json', 'Content-Encoding', 'gzip'], 415],
    ['a second coding', ['Content-Type', 'application/json', 'Content-Encoding', 'identity, gzip'], 415],
  ])('of %s is not looked for', (_, fields, status) => {
    expect(ask(set, asked([...fields, 'Content-Length', '9']))).toMatchObject({ reason: 'BodyNotInspectable', status })
    expect(ask(set, asked([...fields, 'Content-Length', '9']))).not.toHaveProperty('body')
  })

  test.each<[fields: readonly string[]]>([
    [['Content-Type', 'application/json']],
    [['Content-Type', 'Application/JSON ; Charset="UTF-8"']],
    [['Content-Type', 'application/vnd.api+json;profile="a;b";charset=utf-8']],
    [['Content-Type', 'application/json', 'Content-Encoding', 'Identity']],
    [['Content-Type', 'application/json', 'Content_Encoding', 'gzip']],
  ])('of %j is', (fields) => {
    expect(ask(set, asked([...fields, 'Transfer-Encoding', 'chunked']))).toHaveProperty('body')
  })

  test('what says how to read it goes on, and nothing that looks like it', () => {
    const { fieldLines } = passed(set, asked([...json, 'Content_Type', 'text/plain'], found('a')))
    expect(fieldLines).toContain('Content-Type: application/json\r\n')
    expect(fieldLines).not.toContain('text/plain')
  })

  test('of a body that is said to be too long is not looked for', () => {
    const long = ['Content-Type', 'application/json', 'Content-Length', '101']
    expect(ask(set, asked(long))).toMatchObject({ reason: 'BodyNotInspectable', status: 413 })
    expect(ask(set, asked(long))).not.toHaveProperty('body')
  })

  test('is missing where there is no body', () => {
    expect(verdict(set, { fields: withKey() })).toBe('ResourceMissing')
    expect(verdict(set, asked(['Content-Length', '0']))).toBe('ResourceMissing')
    const optional = { resources: [{ ...spec.resources[0], required: false }] }
    expect(verdict(keyed(optional, limited(['a'])), { fields: withKey() })).toBe('Allowed')
    expect(ask(keyed(optional, limited(['a'])), asked(['Content-Length', '9']))).toMatchObject({ status: 415 })
  })

  test('is not looked for where nothing hangs on it', () => {
    const optional = { resources: [{ ...spec.resources[0], required: false }] }
    expect(verdict(keyed(optional, fully), asked(['Content-Length', '999999999']))).toBe('Allowed')
  })
})

describe('a request passes by one entry alone', () => {
  const spec = {
    interfaces: [
      { name: 'chat', match: [{ paths: ['/chat'] }] },
      { name: 'any', match: [{ paths: ['/**'] }] },
    ],
    resources: [
      { name: 'model', from: { header: 'X-Model' }, interfaces: ['chat'] },
      { name: 'project', from: { header: 'X-Project' }, interfaces: ['chat'] },
    ],
  }
  const chat = (model: string, project: string): Asked => ({
    target: '/chat',
    fields: withKey('X-Model', model, 'X-Project', project),
  })
  const crossed = keyed(
    spec,
    {
      interfaces: [0],
      resources: [
        [0, ['a']],
        [1, ['x']],
      ],
    },
    {
      interfaces: [0],
      resources: [
        [0, ['b']],
        [1, ['y']],
      ],
    },
  )

  test('never by one resource of each', () => {
    expect(verdict(crossed, chat('a', 'x'))).toBe('Allowed')
    expect(verdict(crossed, chat('b', 'y'))).toBe('Allowed')
    expect(verdict(crossed, chat('a', 'y'))).toBe('ResourceNotAllowed')
    expect(verdict(crossed, chat('b', 'x'))).toBe('ResourceNotAllowed')
  })

  test('never by the interface of one and the resource of another', () => {
    const set = keyed(spec, { interfaces: [0], resources: [[0, ['a']]] }, { interfaces: [1], resources: [[0, ['b']]] })
    // The second interface asks for no resource.
    expect(passed(set, chat('b', 'y')).interface).toBe('any')
    expect(passed(set, chat('a', 'y')).interface).toBe('chat')
    const without = keyed(spec, { interfaces: [0], resources: [[0, ['a']]] })
    expect(verdict(without, chat('b', 'y'))).toBe('ResourceNotAllowed')
  })

  test('a body that must be read comes before an interface that asks for none', () => {
    const bodied = {
      ...spec,
      resources: [{ name: 'model', from: { bodyPointer: '/model' }, interfaces: ['chat'] }],
    }
    const set = keyed(bodied, { interfaces: [0, 1], resources: [[0, ['a']]] })
    const post = (body?: BodyFindings): Asked => ({
      method: 'POST',
      target: '/chat',
      fields: withKey('Content-Type', 'application/json', 'Content-Length', '9'),
      given: { body },
    })
    expect(ask(set, post())).toHaveProperty('body')
    expect(passed(set, post(new Map([['/model', 'a']]))).interface).toBe('chat')
    expect(passed(set, post(new Map([['/model', 'b']]))).interface).toBe('any')
    expect(passed(set, post('Unreadable')).interface).toBe('any')
    expect(ask(set, post('TooLarge'))).toMatchObject({ allow: false, status: 413 })
  })
})
