import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { covers, isPattern, isSubject, overlaps } from '../../src/base/subject.ts'

const tokens = ['a', 'b', 'ab'] as const
const subject = fc.array(fc.constantFrom(...tokens), { minLength: 1, maxLength: 4 }).map((t) => t.join('.'))
const pattern = fc
  .tuple(
    fc.array(fc.constantFrom(...tokens, '*'), { maxLength: 4 }),
    fc.constantFrom<readonly string[]>([], ['>']),
  )
  .filter(([head, tail]) => head.length + tail.length > 0)
  .map(([head, tail]) => [...head, ...tail].join('.'))

/** Every subject of one to six of these tokens, of which `c` stands in no pattern. */
const universe = subjectsUpTo(5)

describe('matching', () => {
  it.each([
    ['a.b', 'a.b', true],
    ['a.b', 'a.c', false],
    ['a.b', 'a', false],
    ['a.b', 'a.b.c', false],
    ['a.*', 'a.b', true],
    ['a.*', 'a', false],
    ['a.*', 'a.b.c', false],
    ['*.b', 'a.b', true],
    ['a.>', 'a.b', true],
    ['a.>', 'a.b.c', true],
    ['a.>', 'a', false],
    ['>', 'a', true],
    ['>', 'a.b.c', true],
    ['*', 'a', true],
    ['*', 'a.b', false],
    ['*.>', 'a', false],
    ['a.*.c', 'a.b.c', true],
    ['a*', 'ab', false],
    ['A', 'a', false],
  ])('"%s" matches "%s": %s', (outer, inner, expected) => {
    expect(covers(outer, inner)).toBe(expected)
    expect(overlaps(outer, inner)).toBe(expected)
  })

  it('agrees with a regular expression made of the pattern', () => {
    fc.assert(
      fc.property(pattern, subject, (outer, inner) => {
        expect(covers(outer, inner)).toBe(asRegExp(outer).test(inner))
      }),
      { numRuns: 3000 },
    )
  })

  it('says that a pattern covers another exactly where it matches all that the other matches', () => {
    fc.assert(
      fc.property(pattern, pattern, (outer, inner) => {
        const inside = universe.filter((each) => asRegExp(inner).test(each))
        expect(covers(outer, inner)).toBe(inside.every((each) => asRegExp(outer).test(each)))
      }),
      { numRuns: 500 },
    )
  })

  it('says that patterns overlap exactly where some subject matches both', () => {
    fc.assert(
      fc.property(pattern, pattern, (a, b) => {
        const both = universe.some((each) => asRegExp(a).test(each) && asRegExp(b).test(each))
        expect(overlaps(a, b)).toBe(both)
        expect(overlaps(b, a)).toBe(both)
      }),
      { numRuns: 500 },
    )
  })
})

describe('the form of subjects', () => {
  it.each(['a', 'a.b', 'A-1_2.$JS.API', 'ä.€', 'a*b', 'fo>o', 'a'.repeat(1024)])(
    'takes "%s" as a subject',
    (text) => {
      expect(isSubject(text)).toBe(true)
      expect(isPattern(text)).toBe(true)
    },
  )

  it.each(['*', '>', 'a.*', 'a.>', '*.b', 'a.*.>'])('takes "%s" as a pattern alone', (text) => {
    expect(isSubject(text)).toBe(false)
    expect(isPattern(text)).toBe(true)
  })

  it.each([
    ['nothing', ''],
    ['a leading dot', '.a'],
    ['a trailing dot', 'a.'],
    ['an empty token', 'a..b'],
    ['a dot alone', '.'],
    ['">" before the end', '>.a'],
    ['">" in the middle', 'a.>.b'],
    ['a space', 'a b'],
    ['a queue name', 'orders.> workers'],
    ['a tab', 'a\tb'],
    ['a line break', 'a\r\nb'],
    ['a NUL', 'a\0b'],
    ['a delete character', 'a\x7f'],
    ['a no-break space', 'a\u00a0b'],
    ['a line separator', 'a\u2028b'],
    ['a byte order mark', '\ufeffa'],
    ['an escape character', 'a\x1b[2J'],
    ['a control character of two bytes', 'a\u009b2J'],
    ['more than 1024 characters', 'a'.repeat(1025)],
  ])('refuses %s', (_, text) => {
    expect(isSubject(text)).toBe(false)
    expect(isPattern(text)).toBe(false)
  })
})

/** The naive matcher: `*` is a token, `>` one token and whatever follows. */
function asRegExp(text: string): RegExp {
  const parts = text.split('.').map((token) => (token === '*' ? '[^.]+' : token === '>' ? '.+' : token))
  return new RegExp(`^${parts.join('\\.')}$`)
}

function subjectsUpTo(maxTokens: number): readonly string[] {
  const all: string[] = []
  let last: readonly string[] = ['']
  for (let i = 0; i < maxTokens; i++) {
    last = last.flatMap((head) => [...tokens, 'c'].map((token) => (head === '' ? token : `${head}.${token}`)))
    all.push(...last)
  }
  return all
}
