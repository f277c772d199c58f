import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ReplayWindow, ReplayWindows, windowFor } from '../../src/bus/replay.ts'
import { REPLAY_WINDOW } from '../../src/limits.ts'

/** What a window must answer, from a plain set of everything that was marked. */
class Reference {
  readonly #marked = new Set<number>()
  #highest = 0

  seen(seq: number): boolean {
    return this.#marked.has(seq) || seq <= this.#highest - REPLAY_WINDOW || seq < 1
  }

  mark(seq: number): void {
    this.#marked.add(seq)
    this.#highest = Math.max(this.#highest, seq)
  }
}

const sequence = fc.array(
  fc.oneof(
    fc.integer({ min: 1, max: 50 }),
    fc.integer({ min: 1, max: 3 * REPLAY_WINDOW }),
    fc.constantFrom(1, REPLAY_WINDOW, REPLAY_WINDOW + 1, 2 * REPLAY_WINDOW, 2 ** 40, 2 ** 53 - 1),
  ),
  { maxLength: 200 },
)

describe('a replay window', () => {
  it('accepts each number once, in any order, and nothing older than 4096 behind the newest', () => {
    fc.assert(
      fc.property(sequence, (numbers) => {
        const window = new ReplayWindow()
        const reference = new Reference()
        for (const seq of numbers) {
          expect(window.seen(seq)).toBe(reference.seen(seq))
          if (window.seen(seq)) continue
          window.mark(seq)
          reference.mark(seq)
          expect(window.seen(seq)).toBe(true)
        }
      }),
    )
  })

  it('refuses number zero, which no sender uses', () => {
    expect(new ReplayWindow().seen(0)).toBe(true)
  })

  it('does not take a number for one that is a window behind it', () => {
    for (const newest of [REPLAY_WINDOW + 4, 2 * REPLAY_WINDOW]) {
      const window = new ReplayWindow()
      window.mark(1)
      window.mark(newest)
      expect(window.seen(REPLAY_WINDOW + 1)).toBe(false)
    }
  })

  it('merged with another one has seen what either has', () => {
    fc.assert(
      fc.property(sequence, sequence, (first, second) => {
        const [a, b] = [new ReplayWindow(), new ReplayWindow()]
        for (const seq of first) if (!a.seen(seq)) a.mark(seq)
        for (const seq of second) if (!b.seen(seq)) b.mark(seq)
        const seenByB = second.filter((seq) => b.seen(seq))
        a.merge(b)
        for (const seq of [...first, ...seenByB]) expect(a.seen(seq)).toBe(true)
      }),
    )
  })
})

describe('the windows of a connection', () => {
  it('pass from a closed subscription to a later one with the same pattern and queue', () => {
    const windows = new ReplayWindows()
    const early = windows.open('a.>', 'q')
    windowFor(early, 'alice').mark(7)
    windows.close('a.>', 'q', early)
    expect(windowFor(windows.open('a.>', 'q'), 'alice').seen(7)).toBe(true)
    expect(windowFor(windows.open('a.>', undefined), 'alice').seen(7)).toBe(false)
    expect(windowFor(windows.open('a.*', 'q'), 'alice').seen(7)).toBe(false)
  })

  it('pass from one that is still open, and then go separate ways', () => {
    const windows = new ReplayWindows()
    const first = windows.open('a', undefined)
    windowFor(first, 'alice').mark(1)
    const second = windows.open('a', undefined)
    expect(windowFor(second, 'alice').seen(1)).toBe(true)
    windowFor(first, 'alice').mark(2)
    expect(windowFor(second, 'alice').seen(2)).toBe(false)
  })

  it('keep what several closed subscriptions have seen', () => {
    const windows = new ReplayWindows()
    const [a, b] = [windows.open('x', undefined), windows.open('x', undefined)]
    windowFor(a, 'alice').mark(1)
    windowFor(b, 'alice').mark(2)
    windows.close('x', undefined, a)
    windows.close('x', undefined, b)
    const later = windowFor(windows.open('x', undefined), 'alice')
    expect([later.seen(1), later.seen(2), later.seen(3)]).toEqual([true, true, false])
  })

  it('are forgotten with the announcements that they belong to', () => {
    const windows = new ReplayWindows()
    const open = windows.open('a', undefined)
    windowFor(open, 'old').mark(1)
    windowFor(open, 'new').mark(1)
    windows.prune((announcement) => announcement === 'new')
    expect([...open.keys()]).toEqual(['new'])
    windows.close('a', undefined, open)
    windows.prune(() => false)
    expect(windows.open('a', undefined).size).toBe(0)
  })
})
