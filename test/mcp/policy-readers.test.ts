import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fromUtf8, utf8 } from '../../src/base/bytes.ts'
import { readPolicy } from '../../src/mcp/policy/policy.ts'
import { isWrittenObject, LOOKUPS, type Lookup, readWritten, type Written } from './other-readers.ts'

const ALLOWED = ['list', 'read_file']
const filter = readPolicy(
  JSON.stringify({ agents: { '*': { tools: ALLOWED, resources: ['file:///srv/*'] } } }),
).filterFor('laptop')

/** Mostly the first, and now and then one of the others. */
function mostly<T>(usual: fc.Arbitrary<T>, other: fc.Arbitrary<T>): fc.Arbitrary<T> {
  return fc.oneof({ weight: 12, arbitrary: usual }, { weight: 1, arbitrary: other })
}

/** A string as it is written, with its first character as an escape or not. */
function string(...values: readonly string[]): fc.Arbitrary<string> {
  const plain = fc.constantFrom(...values).map((value) => JSON.stringify(value))
  return mostly(
    plain,
    plain.map((text) =>
      /^"[a-zA-Z]/.test(text) ? `"\\u00${text.charCodeAt(1).toString(16)}${text.slice(2)}` : text,
    ),
  )
}

function key(usual: string, ...others: readonly string[]): fc.Arbitrary<string> {
  return mostly(string(usual), string(...others))
}

const gap = mostly(fc.constant(''), fc.constantFrom(' ', '\t', '\n', '\r'))

function member(name: fc.Arbitrary<string>, value: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc.tuple(name, gap, value, gap).map(([k, before, v, behind]) => `${k}:${before}${v}${behind}`)
}

function object(...members: readonly fc.Arbitrary<readonly string[]>[]): fc.Arbitrary<string> {
  return fc.tuple(fc.boolean(), ...members).map(([turned, ...all]) => {
    const flat = all.flat()
    return `{${(turned ? flat.toReversed() : flat).join(',')}}`
  })
}

const one = (written: fc.Arbitrary<string>) => fc.array(written, { minLength: 1, maxLength: 1 })
const perhaps = (written: fc.Arbitrary<string>) => fc.array(written, { maxLength: 1 })

const names = fc.oneof(
  string(...ALLOWED),
  string('hidden', 'LIST', 'list ', 'list\0', 'hidden\0list', '', 'l\u0131st', 'read_file\ud800'),
)

const { params, message } = fc.letrec<{ params: string; message: string }>((tie) => ({
  params: mostly(
    object(
      one(member(key('name', 'Name', 'NAME', 'name\0', 'na_me', 'name '), names)),
      perhaps(
        fc.oneof(
          { depthSize: 'small' },
          member(string('arguments', '_meta', 'x'), fc.constant('{}')),
          member(string('name', 'Name', 'NAME', 'nam\u212a', 'name\0', 'name\0x', 'na_me', ' name'), names),
          member(string('__proto__', 'arguments'), tie('params')),
          member(string('arguments', 'x'), tie('message')),
        ),
      ),
    ),
    tie('params').map((text) => `[${text}]`),
  ),
  message: object(
    one(member(key('jsonrpc', 'JSONRPC'), mostly(fc.constant('"2.0"'), fc.constant('2.0')))),
    one(member(key('id', 'ID'), mostly(fc.constantFrom('1', '"1"'), fc.constantFrom('1.0', 'null', '{}')))),
    one(
      member(
        key('method', 'Method', 'method\0', 'met_hod'),
        mostly(string('tools/call'), string('tools/list', 'ping', 'tools/call ', 'Tools/Call')),
      ),
    ),
    one(member(key('params', 'Params', 'param\u017f', 'PARAMS'), tie('params'))),
    perhaps(
      mostly(
        fc.oneof(
          member(string('method', 'Method', 'method '), string('tools/call', 'ping')),
          member(string('params', 'Params', 'param\u017f', '__proto__'), tie('params')),
        ),
        member(string('__proto__', 'result', 'error'), tie('message')),
      ),
    ),
  ),
}))

/** What a server with such a reader calls. */
function called(text: string, find: Lookup): readonly Written[] {
  const read = readWritten(text)
  const messages = Array.isArray(read) ? read : [read]
  return messages.filter(isWrittenObject).flatMap((call) => {
    if (find(call, 'method') !== 'tools/call') return []
    const given = find(call, 'params')
    const name = isWrittenObject(given) ? find(given, 'name') : undefined
    return name === undefined ? [] : [name]
  })
}

/** The messages that a server gets, one that reads lines among them. */
function linesOf(text: string): readonly string[] {
  return [text, ...text.split('\n'), ...text.split('\r'), ...text.split(/\r\n|\r|\n/)]
}

describe('what passes a policy', () => {
  it.each(Object.entries(LOOKUPS))('is a call that is allowed to a reader for which %s', (_, find) => {
    let calls = 0
    fc.assert(
      fc.property(
        fc.oneof(
          message,
          params,
          message.map((text) => `[${text}]`),
        ),
        (text) => {
          const { forward } = filter?.toServer(utf8(text)) ?? {}
          if (forward === undefined) return
          for (const line of linesOf(fromUtf8(forward) ?? '')) {
            for (const name of called(line, find)) {
              calls++
              expect(ALLOWED).toContain(name)
            }
          }
        },
      ),
      { numRuns: 3000 },
    )
    expect(calls).toBeGreaterThan(100)
  })

  it('is a list of what is allowed to a reader for which the last key wins', () => {
    const tools = fc.array(
      fc.record({ name: fc.constantFrom('list', 'read_file', 'hidden', 'LIST', 1, null) }),
    )
    fc.assert(
      fc.property(tools, fc.dictionary(fc.string(), fc.jsonValue()), (all, rest) => {
        const { forward } =
          filter?.toClient(
            utf8(JSON.stringify({ jsonrpc: '2.0', id: 1, result: { ...rest, tools: all } })),
          ) ?? {}
        const { result } = JSON.parse(fromUtf8(forward ?? utf8('')) ?? '')
        expect(result.tools).toEqual(
          all.filter(({ name }) => typeof name === 'string' && ALLOWED.includes(name)),
        )
      }),
    )
  })

  it('is decided for any bytes, and nothing is thrown', () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), fc.json().map(utf8), message.map(utf8)), (bytes) => {
        for (const { forward, answer } of [filter?.toServer(bytes), filter?.toClient(bytes)].filter(
          (it) => it !== undefined,
        ))
          expect(forward === undefined || answer === undefined).toBe(true)
      }),
    )
  })
})
