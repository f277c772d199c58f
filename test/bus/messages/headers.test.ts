import { describe, expect, it } from 'vitest'
import { MAX_HEADER_BYTES, MAX_HEADERS } from '../../../src/base/limits.ts'
import { clearHeadersMatch, type HeadersLike, splitHeaders } from '../../../src/bus/messages/headers.ts'
import type { NatsMessage } from '../../../src/bus/nats-like.ts'
import { codeOf } from '../../support/statements.ts'

const pair = (name: string, value: string): HeadersLike => [[name, [value]]]
const refusal = (headers: HeadersLike): string | undefined => codeOf(() => splitHeaders(headers))

describe('the headers of a message that is sealed', () => {
  it('are sealed, but for those that the server acts on', () => {
    const clear = [
      'Nats-Msg-Id',
      'nats-expected-stream',
      'Nats-Rollup',
      'NATS-TTL',
      'Nats-Schedule',
      'KV-Operation',
    ]
    const sealed = ['X-Trace', 'Nats-Msg-Id2', 'X-Nats-Msg-Id', 'Nats-Expected-']
    const all: [string, string[]][] = [...clear, ...sealed].map((name) => [name, ['v']])
    const split = splitHeaders(all)
    expect(split.clear.map(({ name }) => name)).toEqual(clear)
    expect(split.sealed.map(({ name }) => name)).toEqual(sealed)
    expect(splitHeaders(undefined)).toEqual({ sealed: [], clear: [] })
  })

  it('are at most 256 values, sealed and clear together', () => {
    const values = (count: number): string[] => Array.from({ length: count }, () => 'v')
    expect(
      refusal([
        ['X', values(MAX_HEADERS)],
        ['Nats-Msg-Id', ['v']],
      ]),
    ).toBe('ERR_HEADER')
    const most = splitHeaders([
      ['X', values(MAX_HEADERS - 1)],
      ['Nats-Msg-Id', ['v']],
    ])
    expect(most.sealed.length + most.clear.length).toBe(MAX_HEADERS)
  })

  it('have names of printable ASCII without colon or space', () => {
    for (const name of ['', 'a b', 'a:b', 'a\r\nb', 'a\0', 'ä', 'a\u007f'])
      expect(refusal(pair(name, 'v'))).toBe('ERR_HEADER')
    expect(splitHeaders(pair('!~9;', 'v')).sealed).toHaveLength(1)
  })

  it('have values that NATS would not trim, and that do not begin a header of their own', () => {
    for (const value of [' v', 'v ', '\tv', 'v\n', 'a\r\nB: c', 'a\nb', 'a\rb'])
      expect(refusal(pair('X', value))).toBe('ERR_HEADER')
    expect(splitHeaders(pair('X', 'a b')).sealed).toHaveLength(1)
  })

  it('have names and values of at most 32 KiB, in bytes', () => {
    const most = 'x'.repeat(MAX_HEADER_BYTES)
    expect(splitHeaders(pair(most, most)).sealed).toHaveLength(1)
    for (const [name, value] of [
      [`${most}x`, 'v'],
      ['X', `${most}x`],
      ['X', 'ä'.repeat(MAX_HEADER_BYTES / 2 + 1)],
    ] as const)
      expect(refusal(pair(name, value))).toBe('ERR_HEADER')
  })
})

describe('the clear headers of a message that arrives', () => {
  const withHeaders = (headers: HeadersLike | undefined) => ({ headers }) as unknown as NatsMessage
  const sealed = [
    { name: 'Nats-Msg-Id', value: 'one' },
    { name: 'Nats-Rollup', value: 'all' },
  ]

  it('are exactly those that were sealed, in any order and case of their names, and others do not matter', () => {
    const same: HeadersLike = [
      ['nats-rollup', ['all']],
      ['X-Of-The-Broker', ['v']],
      ['Nats-Msg-Id', ['one']],
    ]
    expect(clearHeadersMatch(withHeaders(same), sealed)).toBe(true)
    expect(clearHeadersMatch(withHeaders(undefined), [])).toBe(true)
    expect(clearHeadersMatch(withHeaders([['X', ['v']]]), [])).toBe(true)
  })

  it('are refused with another value, another name, one more or one less', () => {
    const wrong: HeadersLike[] = [
      [
        ['Nats-Msg-Id', ['two']],
        ['Nats-Rollup', ['all']],
      ],
      [
        ['Nats-TTL', ['one']],
        ['Nats-Rollup', ['all']],
      ],
      [
        ['Nats-Msg-Id', ['all']],
        ['Nats-Rollup', ['one']],
      ],
      [
        ['Nats-Msg-Id', ['one']],
        ['Nats-Rollup', ['all', 'all']],
      ],
      [
        ['Nats-Msg-Id', ['one']],
        ['Nats-Rollup', ['all']],
        ['Nats-Zero', ['v']],
        ['Nats-TTL', ['1']],
      ],
      [['Nats-Msg-Id', ['one']]],
      [],
    ]
    for (const headers of wrong) expect(clearHeadersMatch(withHeaders(headers), sealed)).toBe(false)
    expect(clearHeadersMatch(withHeaders(undefined), sealed)).toBe(false)
    expect(clearHeadersMatch(withHeaders([['Nats-TTL', ['1']]]), [])).toBe(false)
  })

  it('are refused where the client throws when they are read, at once or on the way', () => {
    const malformed = {
      get headers(): never {
        throw new Error('values cannot contain line breaks')
      },
    } as unknown as NatsMessage
    const inTheMiddle = withHeaders({
      *[Symbol.iterator](): Generator<[string, string[]]> {
        yield ['Nats-Msg-Id', ['one']]
        throw new Error('values cannot contain line breaks')
      },
    })
    for (const message of [malformed, inTheMiddle])
      for (const inside of [sealed, sealed.slice(0, 1), []])
        expect(clearHeadersMatch(message, inside)).toBe(false)
  })

  it('are read once', () => {
    let reads = 0
    const message = {
      get headers() {
        reads++
        return undefined
      },
    } as unknown as NatsMessage
    expect([clearHeadersMatch(message, []), clearHeadersMatch(message, sealed)]).toEqual([true, false])
    expect(reads).toBe(2)
  })
})
