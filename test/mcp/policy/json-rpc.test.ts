import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { utf8 } from '../../../src/base/bytes.ts'
import { encodeMessage, errorResponse, readMessage } from '../../../src/mcp/policy/json-rpc.ts'

function read(text: string) {
  return readMessage(utf8(text))
}

describe('a message of JSON-RPC', () => {
  it('is a request where it has a method and an id', () => {
    expect(read('{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{"cursor":"x"}}')).toMatchObject({
      kind: 'request',
      id: 7,
      method: 'tools/list',
      params: { cursor: 'x' },
    })
    expect(read('{"jsonrpc":"2.0","id":"7","method":"ping"}')).toMatchObject({ id: '7', params: undefined })
  })

  it('is a notification where it has a method and no id', () => {
    const message = read('{"jsonrpc":"2.0","method":"notifications/initialized"}')
    expect(message).toMatchObject({
      kind: 'notification',
      method: 'notifications/initialized',
      params: undefined,
    })
    expect(message).not.toHaveProperty('id')
  })

  it('is a response where it has a result or an error', () => {
    expect(read('{"jsonrpc":"2.0","id":0,"result":{}}')).toMatchObject({
      kind: 'response',
      id: 0,
      result: {},
      error: undefined,
    })
    expect(read('{"jsonrpc":"2.0","id":"a","error":{"code":-1,"message":"x"}}')).toMatchObject({
      kind: 'response',
      id: 'a',
      result: undefined,
      error: { code: -1 },
    })
  })

  it.each(['{"jsonrpc":"2.0","id":null,"error":{}}', '{"jsonrpc":"2.0","error":{}}'])(
    'is an error that answers nothing that could be read: %s',
    (text) => {
      expect(read(text)).toMatchObject({ kind: 'response', id: undefined })
    },
  )

  it('keeps the bytes that were read, and all of their fields', () => {
    const raw = utf8(' { "jsonrpc" : "2.0",\n"id":1.0e0 }')
    expect(readMessage(raw)).toBeUndefined()
    const good = utf8(' { "jsonrpc" : "2.0",\n"id" : 1 ,\r"method"\t:"ping" } ')
    const message = readMessage(good)
    expect(message?.raw).toBe(good)
    expect(message?.fields).toEqual({ jsonrpc: '2.0', id: 1, method: 'ping' })
  })

  it.each([
    ['nothing', ''],
    ['no JSON', '{"jsonrpc":"2.0","method":"ping"'],
    ['JSON with a comma too many', '{"jsonrpc":"2.0","method":"ping",}'],
    ['a text', '"ping"'],
    ['null', 'null'],
    ['a batch', '[{"jsonrpc":"2.0","id":1,"method":"ping"}]'],
    ['two messages', '{"jsonrpc":"2.0","method":"ping"}{"jsonrpc":"2.0","method":"ping"}'],
    ['a byte order mark', '\uFEFF{"jsonrpc":"2.0","method":"ping"}'],
    ['no version', '{"id":1,"method":"ping"}'],
    ['another version', '{"jsonrpc":"1.0","id":1,"method":"ping"}'],
    ['a version that is a number', '{"jsonrpc":2.0,"id":1,"method":"ping"}'],
    ['only a version', '{"jsonrpc":"2.0"}'],
    ['only an id', '{"jsonrpc":"2.0","id":1}'],
    ['a method that is no text', '{"jsonrpc":"2.0","id":1,"method":["ping"]}'],
    ['params without a method', '{"jsonrpc":"2.0","id":1,"params":{}}'],
    ['a method and a result', '{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}'],
    ['a method and an error', '{"jsonrpc":"2.0","id":1,"method":"ping","error":null}'],
    ['params and a result', '{"jsonrpc":"2.0","id":1,"params":{},"result":{}}'],
    ['a result and an error', '{"jsonrpc":"2.0","id":1,"result":{},"error":{}}'],
    ['a result without an id', '{"jsonrpc":"2.0","result":{}}'],
    ['a result for null', '{"jsonrpc":"2.0","id":null,"result":{}}'],
    ['a request with the id null', '{"jsonrpc":"2.0","id":null,"method":"ping"}'],
    ['an id that is an object', '{"jsonrpc":"2.0","id":{},"method":"ping"}'],
    ['an id that is true', '{"jsonrpc":"2.0","id":true,"method":"ping"}'],
    ['an error for an id that is a list', '{"jsonrpc":"2.0","id":[],"error":{}}'],
    ['a fraction as id', '{"jsonrpc":"2.0","id":1.5,"method":"ping"}'],
    ['an integer as id that is written as a fraction', '{"jsonrpc":"2.0","id":1.0,"method":"ping"}'],
    ['an integer as id that is written with an exponent', '{"jsonrpc":"2.0","id":1e0,"method":"ping"}'],
    [
      'a fraction as id that is rounded to an integer',
      '{"jsonrpc":"2.0","id":0.99999999999999999,"method":"ping"}',
    ],
    ['minus zero as id', '{"jsonrpc":"2.0","id":-0,"method":"ping"}'],
    ['an id beyond 2^53', '{"jsonrpc":"2.0","id":9007199254740993,"method":"ping"}'],
    ['an id below -2^53', '{"jsonrpc":"2.0","id":-9007199254740993,"method":"ping"}'],
    ['an id beyond all numbers', '{"jsonrpc":"2.0","id":1e999,"method":"ping"}'],
    ['a repeated key', '{"jsonrpc":"2.0","id":1,"method":"ping","method":"pong"}'],
    ['a key repeated with an escape', '{"jsonrpc":"2.0","id":1,"method":"ping","\\u006dethod":"pong"}'],
    ['a repeated key in the params', '{"jsonrpc":"2.0","method":"ping","params":{"name":1,"name":2}}'],
    ['a key in another case', '{"jsonrpc":"2.0","id":1,"Method":"ping"}'],
    ['a key that is not of JSON-RPC', '{"jsonrpc":"2.0","id":1,"method":"ping","extra":1}'],
    ['a key that ends in NUL', '{"jsonrpc":"2.0","id":1,"method":"ping","method\\u0000":"pong"}'],
    ['the key __proto__', '{"jsonrpc":"2.0","id":1,"method":"ping","__proto__":{"params":{}}}'],
  ])('is not read from %s', (_, text) => {
    expect(read(text)).toBeUndefined()
  })

  it.each([
    ['a byte that is no UTF-8', [0xff]],
    ['an overlong slash', [0xc0, 0xaf]],
    ['half a pair of surrogates', [0xed, 0xa0, 0x80]],
    ['a character that is cut off', [0xe2, 0x82]],
  ])('is not read with %s in a text', (_, bytes) => {
    const [before, after] = ['{"jsonrpc":"2.0","method":"', '"}'].map(utf8)
    const raw = Uint8Array.from([...(before ?? []), ...bytes, ...(after ?? [])])
    expect(readMessage(raw)).toBeUndefined()
  })

  it('is read 1000 deep, and no deeper', () => {
    const deep = (lists: number) =>
      read(`{"jsonrpc":"2.0","method":"x","params":${'['.repeat(lists)}${']'.repeat(lists)}}`)
    expect(deep(999)).toBeDefined()
    expect(deep(1000)).toBeUndefined()
    expect(deep(1_000_000)).toBeUndefined()
  })

  it('has the largest integers that are exact as ids', () => {
    for (const id of [Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, 0, -1])
      expect(read(`{"jsonrpc":"2.0","id":${id},"method":"ping"}`)).toMatchObject({ id })
  })

  it('is read from what is written, and nothing else is ever thrown or read', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.oneof(fc.string(), fc.maxSafeInteger()), (params, id) => {
        const message = readMessage(encodeMessage({ jsonrpc: '2.0', id, method: 'x', params }))
        expect(message).toMatchObject({ kind: 'request', id, method: 'x' })
        expect(message?.kind === 'request' && message.params).toEqual(JSON.parse(JSON.stringify(params)))
      }),
    )
    fc.assert(
      fc.property(fc.uint8Array(), (raw) => {
        expect(readMessage(raw)).toBeUndefined()
      }),
    )
  })
})

describe('an error response', () => {
  it('has the id of its request, a text and a number being two', () => {
    expect(readMessage(errorResponse(1, -32601, 'no'))).toMatchObject({
      id: 1,
      error: { code: -32601, message: 'no' },
    })
    expect(readMessage(errorResponse('1', -32601, 'no'))).toMatchObject({ id: '1' })
  })

  it('has the id null where there is none', () => {
    expect(new TextDecoder().decode(errorResponse(undefined, -32600, 'no'))).toBe(
      '{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no"}}',
    )
  })

  it('keeps an id that is half a character', () => {
    const message = readMessage(utf8('{"jsonrpc":"2.0","id":"\\ud800","method":"ping"}'))
    const id = message?.kind === 'request' ? message.id : undefined
    expect(new TextDecoder().decode(errorResponse(id, -1, ''))).toContain('"id":"\\ud800"')
  })
})
