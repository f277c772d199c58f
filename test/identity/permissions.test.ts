import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { allows, allowsSomeOf, parseRules } from '../../src/identity/permissions.ts'

const rules = (allow: readonly string[], deny: readonly string[] = []) => ({ allow, deny })
const invalid = expect.objectContaining({ code: 'ERR_TOKEN_INVALID' })

describe('permissions', () => {
  it('allow nothing where the allow list is empty', () => {
    for (const subject of ['a', 'a.b', '_INBOX.1']) {
      expect(allows(rules([]), subject)).toBe(false)
      expect(allowsSomeOf(rules([]), subject)).toBe(false)
    }
    expect(allowsSomeOf(rules([]), '>')).toBe(false)
  })

  it('allow nothing where both lists are absent', () => {
    expect(allows(parseRules(undefined), 'a')).toBe(false)
    expect(allows(parseRules({}), 'a')).toBe(false)
    expect(allows(parseRules({ deny: ['b'] }), 'a')).toBe(false)
  })

  it.each([
    ['orders.new', true],
    ['orders.new.eu', true],
    ['orders', false],
    ['orders.secret', false],
    ['orders.secret.x', true],
    ['payments.new', false],
  ])('deny wins over allow: "%s" is allowed: %s', (subject, expected) => {
    expect(allows(rules(['orders.>'], ['orders.secret']), subject)).toBe(expected)
  })

  it('deny wins whatever the order and however much is allowed', () => {
    const tokens = fc
      .array(fc.constantFrom('a', 'b', 'c'), { minLength: 1, maxLength: 3 })
      .map((t) => t.join('.'))
    fc.assert(
      fc.property(tokens, fc.array(tokens), fc.array(tokens), (subject, allow, deny) => {
        expect(allows(rules(['>', ...allow], [...deny, subject]), subject)).toBe(false)
        expect(allows(rules([...allow, '>'], deny), subject)).toBe(!deny.includes(subject))
        expect(allows(rules(allow, deny), subject)).toBe(allow.includes(subject) && !deny.includes(subject))
      }),
    )
  })

  it.each([
    ['orders.>', true],
    ['orders.*', true],
    ['>', true],
    ['*.new', true],
    ['orders.new', true],
    ['orders.secret', false],
    ['orders.secret.>', false],
    ['payments.>', false],
    ['orders', false],
  ])('a subscription to "%s" could receive something: %s', (pattern, expected) => {
    expect(allowsSomeOf(rules(['orders.>'], ['orders.secret', 'orders.secret.>']), pattern)).toBe(expected)
  })

  it('let no subscription through of which every subject is denied', () => {
    expect(allowsSomeOf(rules(['>'], ['a.>']), 'a.*')).toBe(false)
    expect(allowsSomeOf(rules(['>'], ['a.*']), 'a.>')).toBe(true)
    expect(allowsSomeOf(rules(['>'], ['>']), 'a')).toBe(false)
  })
})

describe('reading permissions', () => {
  it('keeps both lists as they are', () => {
    expect(parseRules({ allow: ['a.>', 'b'], deny: ['a.c'] })).toEqual(rules(['a.>', 'b'], ['a.c']))
    expect(parseRules({ allow: ['a'] })).toEqual(rules(['a']))
    expect(parseRules(undefined)).toEqual(rules([]))
  })

  it.each<[string, unknown]>([
    ['null', null],
    ['a list', ['a']],
    ['a string', 'a'],
    ['an allow list that is a string', { allow: 'a' }],
    ['an allow list that is null', { allow: null }],
    ['a deny list that is an object', { deny: {} }],
    ['an entry that is a number', { allow: [1] }],
    ['an entry that is null', { allow: ['a', null] }],
    ['an empty entry', { allow: [''] }],
    ['an entry with a queue name', { allow: ['orders.> workers'] }],
    ['a denied entry with a queue name', { allow: ['>'], deny: ['orders.> workers'] }],
    ['an entry with an empty token', { allow: ['a..b'] }],
    ['an entry with ">" before its end', { allow: ['>.a'] }],
    ['a misspelt list, which would deny nothing', { allow: ['>'], denied: ['a'] }],
    ['a third list', { allow: ['a'], deny: [], resp: 1 }],
  ])('refuses %s', (_, value) => {
    expect(() => parseRules(value)).toThrow(invalid)
  })

  it('says that queue names are not supported', () => {
    expect(() => parseRules({ allow: ['orders.> workers'] })).toThrow(
      expect.objectContaining({ hint: expect.stringContaining('queue name') }),
    )
  })
})
