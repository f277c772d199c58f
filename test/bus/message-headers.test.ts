import { Match as CurrentMatch, headers as currentHeaders } from '@nats-io/nats-core'
import fc from 'fast-check'
import { Match as EarlierMatch, headers as earlierHeaders } from 'nats'
import { describe, expect, it } from 'vitest'
import { SubrosaError } from '../../src/base/errors.ts'
import { type HeaderMatch, MessageHeaders } from '../../src/bus/messages/headers.ts'
import { failure } from '../support/until.ts'

/** What all three have in common. The clients declare `match` as a type of their own each. */
interface Headers extends Iterable<[string, string[]]> {
  get(name: string, match?: HeaderMatch): string
  last(name: string, match?: HeaderMatch): string
  values(name: string, match?: HeaderMatch): string[]
  has(name: string, match?: HeaderMatch): boolean
  keys(): string[]
  set(name: string, value: string, match?: HeaderMatch): void
  append(name: string, value: string, match?: HeaderMatch): void
  delete(name: string, match?: HeaderMatch): void
  encode(): Uint8Array
  readonly hasError: boolean
  readonly status: string
  readonly code: number
  readonly description: string
}

const lines: readonly [string, () => Headers, readonly HeaderMatch[]][] = [
  [
    '@nats-io',
    () => currentHeaders() as unknown as Headers,
    [CurrentMatch.Exact, CurrentMatch.CanonicalMIME, CurrentMatch.IgnoreCase],
  ],
  [
    'nats',
    () => earlierHeaders() as unknown as Headers,
    [EarlierMatch.Exact, EarlierMatch.CanonicalMIME, EarlierMatch.IgnoreCase],
  ],
]

const NAMES = [
  'X-Trace',
  'x-trace',
  'X-TRACE',
  'x-Trace',
  'a',
  'A',
  'a--b',
  'A--B',
  '-a',
  '1a-B',
  'a_b',
  'A.b',
]

/** One call with its arguments, `match` as an index into the list of a line; 3 leaves it out. */
const call = fc.record({
  what: fc.constantFrom<'set' | 'append' | 'delete'>('set', 'append', 'append', 'delete'),
  name: fc.oneof(fc.constantFrom(...NAMES), fc.stringMatching(/^[!-9;-~]{1,6}$/)),
  value: fc.oneof(fc.constantFrom('1', '2', ' edges ', '\ttab', 'ä'), fc.stringMatching(/^[^\r\n]{0,8}$/)),
  match: fc.nat(3),
})

/** Everything that can be read, for these names and every way of matching. */
function readings(headers: Headers, names: readonly string[], matches: readonly HeaderMatch[]): unknown {
  return {
    keys: headers.keys(),
    entries: [...headers].map(([name, values]) => [name, [...values]]),
    bytes: Buffer.from(headers.encode()).toString(),
    status: [headers.hasError, headers.status, headers.code, headers.description],
    each: names.map((name) =>
      [undefined, ...matches].map((match) => [
        headers.get(name, match),
        headers.last(name, match),
        headers.values(name, match),
        headers.has(name, match),
      ]),
    ),
  }
}

describe.each(lines)('headers of a message that was opened, and those of %s', (_line, make, matches) => {
  it('read alike after every sequence of calls, with every way of matching names', () => {
    fc.assert(
      fc.property(fc.array(call, { maxLength: 12 }), (calls) => {
        const ours: Headers = new MessageHeaders()
        const theirs = make()
        for (const { what, name, value, match } of calls) {
          for (const headers of [ours, theirs]) {
            if (what === 'delete') headers.delete(name, matches[match])
            else headers[what](name, value, matches[match])
          }
        }
        const names = [...NAMES, ...calls.map(({ name }) => name)]
        expect(readings(ours, names, matches)).toEqual(readings(theirs, names, matches))
      }),
      { numRuns: 500 },
    )
  })

  it('refuse the same names and values', async () => {
    const bad: readonly [string, string][] = [
      ['a b', 'v'],
      ['a:b', 'v'],
      ['a\r\nb', 'v'],
      ['ä', 'v'],
      ['a\u007f', 'v'],
      ['X', 'a\r\nEvil: b'],
      ['X', 'a\nb'],
      ['X', 'a\rb'],
    ]
    for (const [name, value] of bad) {
      for (const what of ['set', 'append'] as const) {
        for (const match of [undefined, ...matches]) {
          const ours = new MessageHeaders()
          expect((await failure(() => ours[what](name, value, match))).code).toBe('ERR_HEADER')
          expect(await failure(() => make()[what](name, value, match))).toBeInstanceOf(Error)
          expect(ours.keys()).toEqual([])
        }
      }
    }
  })

  it('keep what was set before where a new value is refused', async () => {
    const ours = new MessageHeaders([{ name: 'X', value: 'kept' }])
    for (const match of [undefined, ...matches]) {
      await failure(() => ours.set('X', 'a\r\nEvil: b', match))
      expect(ours.get('X')).toBe('kept')
    }
  })
})

describe('headers of a message that was opened', () => {
  it('keep apart what differs in case alone, as it was sealed', () => {
    const headers = new MessageHeaders([
      { name: 'x-trace', value: '1' },
      { name: 'X-Trace', value: '2' },
      { name: 'x-trace', value: '3' },
    ])
    expect([...headers]).toEqual([
      ['x-trace', ['1', '3']],
      ['X-Trace', ['2']],
    ])
    expect(headers.values('X-TRACE', 'insensitive')).toEqual(['1', '3', '2'])
    expect(headers.get('X-TRACE')).toBe('')
    expect(headers.get('X-TRACE', 'canonical')).toBe('2')
  })

  it('cannot become other headers on the wire, whatever a sender has sealed', async () => {
    const hostile = [
      { name: 'X', value: 'a\r\nNats-Msg-Id: evil' },
      { name: 'X\r\nNats-Msg-Id', value: 'evil' },
      { name: 'X: a\r\nNats-Rollup', value: 'all' },
    ]
    for (const pair of hostile) {
      const headers = new MessageHeaders([pair])
      const error = await failure(() => headers.encode())
      expect(error).toBeInstanceOf(SubrosaError)
      expect(error.code).toBe('ERR_HEADER')
    }
  })
})
