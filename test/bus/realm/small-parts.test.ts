import { describe, expect, it } from 'vitest'
import { SubrosaError } from '../../../src/base/errors.ts'
import { FetchBackoff } from '../../../src/bus/realm/fetch-backoff.ts'
import { Joining } from '../../../src/bus/realm/joining.ts'
import { noRotationService } from '../../../src/bus/realm/no-rotation-service.ts'
import { randomDelay } from '../../../src/bus/realm/random.ts'
import { ServiceClocks } from '../../../src/bus/realm/service-clocks.ts'
import { StatementBudget } from '../../../src/bus/realm/statement-budget.ts'
import { houseClock, ManualClock } from '../../support/clock.ts'
import { engine } from '../../support/identities.ts'

describe('the budget of one kind of statements', () => {
  it('is working time as it is measured: a fortieth of a core', () => {
    const machine = new ManualClock()
    machine.workMs = 1
    const budget = new StatementBudget(houseClock(machine))
    const count = (): number => {
      let checked = 0
      for (let i = 0; i < 1000; i++) if (budget.run(() => true) === true) checked++
      return checked
    }
    expect(count()).toBe(25)
    machine.advance(1000)
    expect(count()).toBe(25)
  })

  it('is spent by what throws too', () => {
    const machine = new ManualClock()
    machine.workMs = 1000
    const budget = new StatementBudget(houseClock(machine))
    expect(() =>
      budget.run(() => {
        throw new TypeError('junk')
      }),
    ).toThrow('junk')
    expect(budget.run(() => true)).toBeUndefined()
  })
})

describe('a rotation service that does not deliver', () => {
  it('is left alone for 2 s, and for twice as long each time, up to 8 s', () => {
    const backoff = new FetchBackoff()
    const waits: number[] = []
    let nowMs = 0
    for (let i = 0; i < 6; i++) {
      backoff.failed('A', nowMs)
      const since = nowMs
      while (!backoff.mayAsk('A', nowMs)) nowMs += 1000
      waits.push(nowMs - since)
    }
    expect(waits).toEqual([2000, 4000, 8000, 8000, 8000, 8000])
    backoff.failed('A', nowMs)
    expect(backoff.mayAsk('B', nowMs)).toBe(true)
    backoff.succeeded('A')
    expect(backoff.mayAsk('A', nowMs)).toBe(true)
  })
})

describe('rotation services that do not deliver', () => {
  it('are remembered, the last 64 of them', () => {
    const backoff = new FetchBackoff()
    for (let i = 0; i < 64; i++) backoff.failed(`U${i}`, 0)
    backoff.failed('U0', 0)
    backoff.failed('one more', 0)
    const mayAsk = [0, 1, 2, 63].map((i) => backoff.mayAsk(`U${i}`, 1))
    expect(mayAsk).toEqual([false, true, false, false])
  })
})

describe('a random delay', () => {
  it('is from 0 up to what is asked for', () => {
    const delays = Array.from({ length: 1000 }, () => randomDelay(engine, 10))
    expect(new Set(delays)).toEqual(new Set([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]))
    expect(randomDelay(engine, 0)).toBe(0)
  })
})

describe('the clocks of rotation services', () => {
  it('matter where too few are left that fit', () => {
    const clocks = new ServiceClocks()
    const plan = { rotators: ['A', 'B', 'C'], threshold: 2 }
    expect([clocks.differs('A', plan), clocks.differs('A', plan)]).toEqual([false, false])
    expect(clocks.differs('B', plan)).toBe(true)
    clocks.fits('A')
    expect(clocks.differs('B', plan)).toBe(false)
    expect(clocks.differs('A', { rotators: ['A'], threshold: 1 })).toBe(true)
  })
})

describe('the error for too few rotation services', () => {
  const plan = { rotators: ['A', 'B', 'C'], threshold: 2 }

  it('says whether any has answered, how many count, or that the directory is missing', () => {
    const messages = [
      { plan: undefined, counted: 0 },
      { plan, counted: 1 },
      { plan: { rotators: ['A'], threshold: 1 }, counted: 0 },
      { plan, counted: 2 },
    ].map((answers) => noRotationService(answers).message)
    expect(messages).toEqual([
      'no rotation service has answered with a plan of the realm in time',
      '1 of 3 rotation services answered in time, and it takes 2',
      '0 of 1 rotation service answered in time, and it takes 1',
      'rotation services answer, but the directory did not come in step in time',
    ])
  })
})

describe('a join', () => {
  const late = (): SubrosaError => new SubrosaError('ERR_NO_ROTATION_SERVICE', 'late')

  it('runs out of time with what stood in the way last, unless that is gone', async () => {
    const machine = new ManualClock()
    const outcomes: unknown[] = []
    for (const isGone of [false, true]) {
      const joining = new Joining(machine)
      const over = joining.wait(1000, late).catch((error: unknown) => outcomes.push(error))
      joining.hinderedBy(new SubrosaError('ERR_ROLLBACK', 'older'))
      if (isGone) joining.goesOn()
      machine.advance(1000)
      await over
    }
    expect(outcomes.map((error) => error instanceof SubrosaError && error.code)).toEqual([
      'ERR_ROLLBACK',
      'ERR_NO_ROTATION_SERVICE',
    ])
  })

  it('fails at once, or is done once and for all', async () => {
    const machine = new ManualClock()
    const failing = new Joining(machine)
    const failed = failing.wait(1000, late)
    failing.fail(new SubrosaError('ERR_REVOKED', 'revoked'))
    await expect(failed).rejects.toMatchObject({ code: 'ERR_REVOKED' })
    const joining = new Joining(machine)
    const joined = joining.wait(1000, late)
    joining.succeed()
    joining.fail(late())
    machine.advance(2000)
    await expect(joined).resolves.toBeUndefined()
    expect([failing.isJoined, joining.isJoined]).toEqual([false, true])
  })
})
