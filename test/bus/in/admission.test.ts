import { beforeEach, describe, expect, it } from 'vitest'
import { MAX_PENDING_BYTES, MAX_PENDING_MESSAGES } from '../../../src/base/limits.ts'
import { Admission, type AdmissionLine } from '../../../src/bus/in/admission.ts'
import { houseClock, ManualClock } from '../../support/clock.ts'

const PER_SECOND_MS = 50

let clock: ManualClock
let admission: Admission
let opened: string[]
let givenUp: string[]
let errors: unknown[]

beforeEach(() => {
  clock = new ManualClock()
  opened = []
  givenUp = []
  errors = []
  admission = new Admission(PER_SECOND_MS, {
    clock: houseClock(clock),
    onError: (error) => errors.push(error),
  })
})

/** Has a message opened that takes so long, and comes to nothing. */
function admit(line: AdmissionLine, name: string, { workMs = 1, bytes = 1 } = {}): void {
  const open = (): void => {
    opened.push(name)
    line.spend(workMs)
  }
  line.admit({ open, wait: () => ({ open, bytes, giveUp: () => givenUp.push(name) }) })
}

function admitMany(line: AdmissionLine, count: number, name: string): void {
  for (let i = 0; i < count; i++) admit(line, `${name}${i}`)
}

describe('the budget of openings', () => {
  it('opens at once while there is budget, and what comes to something costs nothing', () => {
    const line = admission.line()
    for (let i = 0; i < 10_000; i++) {
      const open = (): void => {
        opened.push('good')
        line.spend(1)
        line.spend(-1)
      }
      line.admit({ open, wait: () => ({ open, bytes: 1, giveUp: () => {} }) })
    }
    expect(opened).toHaveLength(10_000)
  })

  it('lets what comes to nothing take so much working time in a second and no more', () => {
    const line = admission.line()
    for (let second = 0; second < 10; second++) {
      for (let i = 0; i < 100; i++) {
        admitMany(line, 10, 'junk')
        clock.advance(10)
      }
    }
    // A burst of one second's budget at the beginning.
    expect(opened.length).toBeGreaterThanOrEqual(PER_SECOND_MS * 10)
    expect(opened.length).toBeLessThanOrEqual(PER_SECOND_MS * 11 + 2)
  })

  it('keeps what finds no budget, in its order, and opens it when there is some', () => {
    const line = admission.line()
    admitMany(line, PER_SECOND_MS, 'junk')
    admit(line, 'a')
    admit(line, 'b')
    expect(opened).toHaveLength(PER_SECOND_MS)
    clock.advance(1000)
    expect(opened.slice(PER_SECOND_MS)).toEqual(['a', 'b'])
    expect(givenUp).toEqual([])
  })

  it('gives up the oldest of a line beyond 64 messages, beyond 256 KiB, and after 2 s', () => {
    const line = admission.line()
    admitMany(line, PER_SECOND_MS, 'junk')
    admitMany(line, MAX_PENDING_MESSAGES + 2, 'wait')
    expect(givenUp).toEqual(['wait0', 'wait1'])
    admit(line, 'large', { bytes: MAX_PENDING_BYTES })
    expect(givenUp).toHaveLength(MAX_PENDING_MESSAGES + 2)
    expect(givenUp).not.toContain('large')
    const slow = admission.line()
    admit(slow, 'late')
    // Nothing is opened meanwhile: others use up what there is for three seconds.
    for (let second = 0; second < 3; second++) {
      admission.spend(PER_SECOND_MS * 3)
      clock.advance(1000)
    }
    clock.advance(1000)
    expect(givenUp.slice(-2).sort()).toEqual(['large', 'late'])
  })

  it('lets lines take turns, so that a flood in one delays another by one opening at a time', () => {
    const flooded = admission.line()
    const quiet = admission.line()
    admitMany(flooded, PER_SECOND_MS + MAX_PENDING_MESSAGES, 'junk')
    admit(quiet, 'a')
    admit(quiet, 'b')
    clock.advance(150)
    expect(opened.slice(PER_SECOND_MS)).toEqual(expect.arrayContaining(['a', 'b']))
    expect(opened.indexOf('b')).toBeLessThan(PER_SECOND_MS + 5)
  })

  it('lets nothing overtake what waits, as soon as anything does', () => {
    const flooded = admission.line()
    const quiet = admission.line()
    admitMany(flooded, PER_SECOND_MS + 3, 'junk')
    clock.advance(20)
    admit(flooded, 'later')
    admit(quiet, 'a')
    clock.advance(1000)
    const afterwards = opened.slice(PER_SECOND_MS)
    expect(afterwards.filter((name) => name !== 'a')).toEqual(['junk50', 'junk51', 'junk52', 'later'])
    expect(afterwards.indexOf('a')).toBeLessThan(3)
  })

  it('drops what waits in a line that is closed, and goes on with the others', async () => {
    const line = admission.line()
    const other = admission.line()
    admitMany(line, PER_SECOND_MS + 5, 'junk')
    admit(other, 'a')
    line.close()
    clock.advance(1000)
    expect(opened.slice(PER_SECOND_MS)).toEqual(['a'])
    await line.idle()
  })

  it('is waited for in each line by itself, and no longer than there is an admission', async () => {
    const line = admission.line()
    const other = admission.line()
    admitMany(other, PER_SECOND_MS + 5, 'junk')
    admit(line, 'a')
    const idle: string[] = []
    const waiting = [line.idle().then(() => idle.push('line')), other.idle().then(() => idle.push('other'))]
    clock.advance(60)
    await waiting[0]
    expect([idle, opened.includes('a'), other.isEmpty]).toEqual([['line'], true, false])
    admission.close()
    await waiting[1]
    expect(idle).toEqual(['line', 'other'])
  })

  it('goes on where an opening throws, and says what it threw', () => {
    const line = admission.line()
    admitMany(line, PER_SECOND_MS, 'junk')
    const failure = new Error('thrown while it was opened')
    const open = (): never => {
      throw failure
    }
    line.admit({ open, wait: () => ({ open, bytes: 1, giveUp: () => {} }) })
    admit(line, 'a')
    clock.advance(1000)
    expect(errors).toEqual([failure])
    expect(opened.at(-1)).toBe('a')
  })
})
