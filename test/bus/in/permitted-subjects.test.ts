import { describe, expect, it } from 'vitest'
import { PermittedSubjects } from '../../../src/bus/in/permitted-subjects.ts'

const LIMIT = 32 * 1024

/** Rules that count how often somebody looks at them. */
function counted() {
  const looks = { count: 0 }
  const rules = {
    deny: ['orders.secret.>'],
    get allow() {
      looks.count++
      return ['orders.>', 'a.>']
    },
  }
  return { looks, rules, subjects: PermittedSubjects.of(rules) }
}

describe('what rules said of subjects', () => {
  it('is what they say, the first time and later', () => {
    const { subjects } = counted()
    for (let i = 0; i < 2; i++) {
      expect(subjects.allows('orders.new')).toBe(true)
      expect(subjects.allows('orders.secret.key')).toBe(false)
      expect(subjects.allows('talk.new')).toBe(false)
    }
  })

  it('is remembered for everybody who asks with the same rules, and for nobody else', () => {
    const { looks, rules, subjects } = counted()
    const others = counted()
    subjects.allows('orders.new')
    expect(PermittedSubjects.of(rules)).toBe(subjects)
    expect(PermittedSubjects.of(rules).allows('orders.new')).toBe(true)
    expect([looks.count, others.looks.count]).toEqual([1, 0])
    expect(PermittedSubjects.of({ ...rules })).not.toBe(subjects)
  })

  it('takes 32 KiB at most, whatever is asked for', () => {
    const { looks, subjects } = counted()
    let most = 0
    for (let i = 0; i < 10_000; i++) {
      subjects.allows(`orders.${i}.${'x'.repeat(i % 240)}`)
      most = Math.max(most, subjects.bytes)
    }
    expect(most).toBeGreaterThan(LIMIT / 2)
    expect(most).toBeLessThanOrEqual(LIMIT)
    // Most were forgotten, and are found out again.
    expect([subjects.allows('orders.0.'), looks.count]).toEqual([true, 10_001])
  })

  it('is not remembered for subjects of more than 256 characters', () => {
    const { looks, subjects } = counted()
    const [fits, long] = [`a.${'x'.repeat(254)}`, `a.${'x'.repeat(255)}`]
    subjects.allows(fits)
    const { bytes } = subjects
    for (let i = 0; i < 3; i++) expect([subjects.allows(fits), subjects.allows(long)]).toEqual([true, true])
    expect(subjects.bytes).toBe(bytes)
    expect(looks.count).toBe(1 + 3)
  })
})
