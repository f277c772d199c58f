import { describe, expect, it, vi } from 'vitest'
import { HANDSHAKE_REPEAT_MS, MAX_HANDSHAKE_ANSWER_BYTES_PER_SECOND } from '../../../src/base/limits.ts'
import { HandshakeAnswers } from '../../../src/bus/out/handshake-answers.ts'
import { ManualClock } from '../../support/clock.ts'
import { testContext } from '../../support/context.ts'

/** Handshakes of so many bytes each, and who was answered in which order. */
function desk(count: number, byteLength: number) {
  const clock = new ManualClock()
  const answers = new HandshakeAnswers(testContext({ clock }))
  const answered: number[] = []
  const handshakes = Array.from({ length: count }, (_, i) => ({ byteLength, answer: () => answered.push(i) }))
  const ask = (i: number): void => {
    const handshake = handshakes[i]
    if (handshake !== undefined) answers.ask(handshake)
  }
  return { clock, answers, answered, handshakes, ask }
}

describe('answers to session requests', () => {
  it('starve no session where somebody asks for many: each has one answer of each other before it, at most', () => {
    const perSecond = 64
    const others = 10 * perSecond
    const { clock, answered, ask } = desk(others + 1, MAX_HANDSHAKE_ANSWER_BYTES_PER_SECOND / perSecond)
    const askForAll = (): void => {
      for (let i = 0; i < others; i++) ask(i)
    }
    askForAll()
    ask(others)
    for (let ms = 0; ms < 11_000; ms += 50) {
      clock.advance(50)
      askForAll()
    }
    const before = answered.slice(0, answered.indexOf(others))
    expect(answered).toContain(others)
    expect([before.length, new Set(before).size]).toEqual([others, others])
  })

  it('take as many bytes a second as they may, however large a handshake is', () => {
    const { clock, answered, ask } = desk(100, MAX_HANDSHAKE_ANSWER_BYTES_PER_SECOND / 16)
    for (let i = 0; i < 100; i++) ask(i)
    expect(answered).toHaveLength(16)
    clock.advance(1000)
    expect(answered.length).toBeGreaterThanOrEqual(31)
    expect(answered.length).toBeLessThanOrEqual(33)
    const large = desk(2, 3 * MAX_HANDSHAKE_ANSWER_BYTES_PER_SECOND)
    large.ask(0)
    large.ask(1)
    large.clock.advance(1900)
    expect(large.answered).toEqual([0])
    large.clock.advance(200)
    expect(large.answered).toEqual([0, 1])
  })

  it('to one session wait for its turn without holding up those of others', () => {
    const { clock, answered, ask } = desk(2, 100)
    ask(0)
    ask(0)
    ask(1)
    expect(answered).toEqual([0, 1])
    clock.advance(HANDSHAKE_REPEAT_MS + 50)
    expect(answered).toEqual([0, 1, 0])
  })

  it('cost the same however many sessions wait for their turn', () => {
    const others = 2000
    const { clock, ask, answered } = desk(others + 1, 1)
    for (let i = 0; i < others; i++) ask(i)
    for (let i = 0; i < others; i++) ask(i)
    const looks = vi.spyOn(WeakMap.prototype, 'get')
    ask(0)
    ask(others)
    expect(looks.mock.calls.length).toBeLessThan(10)
    looks.mockRestore()
    expect(answered).toHaveLength(others + 1)
    clock.advance(HANDSHAKE_REPEAT_MS + 50)
    expect(answered).toHaveLength(2 * others + 1)
  })

  it('are not given for a session that is forgotten', () => {
    const { clock, answers, answered, handshakes, ask } = desk(1, 100)
    ask(0)
    ask(0)
    for (const handshake of handshakes) answers.forget(handshake)
    clock.advance(10_000)
    expect(answered).toEqual([0])
  })
})
