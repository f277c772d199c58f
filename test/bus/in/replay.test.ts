import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { REPLAY_WINDOW } from '../../../src/base/limits.ts'
import { ReplayWindow, ReplayWindows, seenIn, windowFor } from '../../../src/bus/in/replay.ts'

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

  isInWindow(seq: number): boolean {
    return seq > this.#highest - REPLAY_WINDOW
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

  it('forgets nothing but what falls out of it, however far it moves', () => {
    const full = new ReplayWindow()
    for (let seq = 1; seq <= REPLAY_WINDOW; seq++) full.mark(seq)
    for (const by of [...Array.from({ length: 100 }, (_, i) => i + 1), 1000, REPLAY_WINDOW - 1]) {
      const window = full.clone()
      window.mark(REPLAY_WINDOW + by)
      const wrong: number[] = []
      for (let seq = by + 1; seq <= REPLAY_WINDOW; seq++) if (!window.seen(seq)) wrong.push(seq)
      for (let seq = REPLAY_WINDOW + 1; seq < REPLAY_WINDOW + by; seq++) if (window.seen(seq)) wrong.push(seq)
      expect([by, wrong]).toEqual([by, []])
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

/** As merging bit by bit has it: what a window must have seen that takes over another one. */
function mergedOneByOne(first: readonly number[], second: readonly number[]): Reference {
  const [a, b, merged] = [new Reference(), new Reference(), new Reference()]
  for (const seq of first) a.mark(seq)
  for (const seq of second) b.mark(seq)
  for (const seq of [
    ...first.filter((each) => a.isInWindow(each)),
    ...second.filter((each) => b.isInWindow(each)),
  ])
    merged.mark(seq)
  return merged
}

describe('a window that takes over another one', () => {
  it('has seen exactly what one of the two has, wherever they stand', () => {
    // Close to each other, so that most have something in common.
    const near = fc.array(fc.integer({ min: 1, max: 2 * REPLAY_WINDOW }), { maxLength: 60 })
    fc.assert(
      fc.property(fc.oneof(near, sequence), fc.oneof(near, sequence), (first, second) => {
        const [a, b] = [new ReplayWindow(), new ReplayWindow()]
        for (const seq of first) if (!a.seen(seq)) a.mark(seq)
        for (const seq of second) if (!b.seen(seq)) b.mark(seq)
        const before = b.clone()
        const expected = mergedOneByOne(inOrder(first), inOrder(second))
        a.merge(b)
        const probes = [...first, ...second].flatMap((seq) => [
          seq - 33,
          seq - 1,
          seq,
          seq + 1,
          seq + REPLAY_WINDOW,
        ])
        for (const seq of probes) expect([seq, a.seen(seq)]).toEqual([seq, expected.seen(seq)])
        for (const seq of probes) expect(b.seen(seq)).toBe(before.seen(seq))
      }),
      { numRuns: 300 },
    )
  })
})

/** What of these numbers a window takes that gets them one after the other. */
function inOrder(numbers: readonly number[]): readonly number[] {
  const reference = new Reference()
  return numbers.filter((seq) => {
    if (reference.seen(seq)) return false
    reference.mark(seq)
    return true
  })
}

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

  it('are not made by a look, and have seen number zero before they are there', () => {
    const open = new ReplayWindows().open('a', undefined)
    expect([seenIn(open, 'alice', 1), seenIn(open, 'alice', 0)]).toEqual([false, true])
    expect(open.size).toBe(0)
    windowFor(open, 'alice').mark(1)
    expect([seenIn(open, 'alice', 1), seenIn(open, 'alice', 2)]).toEqual([true, false])
  })

  it('are moved and not copied, and closing one leaves nothing behind in it', () => {
    const windows = new ReplayWindows()
    const first = windows.open('a', undefined)
    const window = windowFor(first, 'alice')
    window.mark(1)
    windows.close('a', undefined, first)
    expect(first.size).toBe(0)
    expect(windows.open('a', undefined).get('alice')).toBe(window)
  })

  it('are all there for one that opens beside others, of closed ones too', () => {
    const windows = new ReplayWindows()
    const [a, b] = [windows.open('x', 'q'), windows.open('x', 'q')]
    windowFor(a, 'alice').mark(1)
    windowFor(b, 'alice').mark(2)
    windows.close('x', 'q', a)
    const c = windows.open('x', 'q')
    expect([1, 2, 3].map((seq) => seenIn(c, 'alice', seq))).toEqual([true, true, false])
    // What c marks is not b's, and the other way round.
    windowFor(c, 'alice').mark(3)
    windowFor(b, 'alice').mark(4)
    expect([seenIn(b, 'alice', 3), seenIn(c, 'alice', 4)]).toEqual([false, false])
    windows.close('x', 'q', b)
    windows.close('x', 'q', c)
    const later = windows.open('x', 'q')
    expect([1, 2, 3, 4, 5].map((seq) => seenIn(later, 'alice', seq))).toEqual([true, true, true, true, false])
  })

  it('of sessions that are forgotten are forgotten, open and closed', () => {
    const windows = new ReplayWindows()
    const [open, closed] = [windows.open('a', undefined), windows.open('b', undefined)]
    for (const each of [open, closed]) for (const name of ['old', 'new']) windowFor(each, name).mark(1)
    windows.close('b', undefined, closed)
    windows.forget(['old', 'never seen'])
    expect([[...open.keys()], [...windows.open('b', undefined).keys()]]).toEqual([['new'], ['new']])
  })
})
