import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Gathered, type GatherTerms, gather, isGathered } from '../../../src/cli/realm/gather.ts'
import { refusalOf } from '../../../src/cli/realm/gather-refusals.ts'
import { ManualClock } from '../../support/clock.ts'
import type { HandRotator } from '../../support/hand-rotator.ts'
import { Visited } from './visits.ts'

/** Where somebody is silent. */
const PINGS_OF_ROUND = 3

let clock: ManualClock
let visited: Visited
beforeEach(async () => {
  clock = new ManualClock()
  visited = await Visited.start(clock)
})
afterEach(() => visited.realm.stop())

const revocationOf = (name: string): Uint8Array => {
  const [first] = visited.hands
  if (first === undefined) throw new Error('there is no rotation service')
  return first.world.revocation(visited.realm.identity(name), { since: clock.now() })
}

/** Does something as soon as a service was pinged once more than in one round. It must answer then. */
function atRoundTwo(hand: HandRotator, act: () => void): void {
  hand.beforePage = () => {
    if (hand.pings.length > PINGS_OF_ROUND) act()
  }
}

describe('what is gathered before a plan', () => {
  const gathered = () =>
    visited.visit(async (operator) => {
      const found = await gather(operator, visited.held())
      return { ...found, isEnough: isGathered(visited.held(), found) }
    })

  it('is what all services hold that answer', async () => {
    const [own, others] = [revocationOf('intern'), revocationOf('guest')]
    const [first, second] = visited.hands
    if (first !== undefined) first.revocations = [own]
    if (second !== undefined) second.revocations = [own, others]
    const { revocations, isEnough, withheld } = await gathered()
    expect({ isEnough, withheld }).toEqual({ isEnough: true, withheld: [] })
    expect(revocations).toEqual(expect.arrayContaining([own, others]))
  })

  it('is not enough where fewer count than must answer', async () => {
    for (const hand of visited.hands.slice(1)) hand.changes = { standing: 0 }
    const { isEnough, word } = await gathered()
    expect(isEnough).toBe(false)
    expect(word).toMatchObject({ counting: [visited.key(0)] })
    expect(word.handingOver).toHaveLength(2)
  })

  it('is not enough where fewer say what they hold than must answer', async () => {
    for (const hand of visited.hands.slice(1)) hand.namedRevocations = [revocationOf('intern')]
    const { isEnough, word, withheld } = await gathered()
    expect(isEnough).toBe(false)
    expect(word.counting).toHaveLength(3)
    expect(new Set(withheld)).toEqual(new Set([visited.key(1), visited.key(2)]))
  })

  it('is not held up by one that names a set which nobody can produce', async () => {
    const [wild] = visited.hands
    if (wild !== undefined) wild.namedRevocations = [revocationOf('intern')]
    expect(await gathered()).toMatchObject({ isEnough: true, withheld: [visited.key(0)] })
  })

  it('is not held up by one that only says that it has a newer plan', async () => {
    const [wild] = visited.hands
    if (wild !== undefined) wild.changes = { planVersion: 1000 }
    const { isEnough, newer, word } = await gathered()
    expect({ isEnough, newer }).toEqual({ isEnough: true, newer: undefined })
    expect(word.ahead).toEqual([visited.key(0)])
  })

  it('shows a newer plan that one of them has', async () => {
    const [first] = visited.hands
    const held = visited.held()
    const kept = visited.realm.nextPlan()
    first?.adopt(kept)
    const { newer } = await visited.visit((operator) => gather(operator, held), { plans: [held] })
    expect(newer?.version).toBe(2)
  })

  it('shows a newer plan that only a service has which the plan does not name', async () => {
    const held = visited.held()
    const [first, second, third] = held.rotators
    const kept = visited.realm.nextPlan({ rotators: [second, third].flatMap((key) => key ?? []) })
    const leftOut = visited.hands.find(({ identity }) => identity.publicKey === first)
    if (leftOut === undefined) throw new Error('nobody is left out')
    // The other way round: the folder is an old copy, and names this one alone.
    for (const hand of visited.hands) if (hand !== leftOut) hand.adopt(kept, { isPublished: false })
    leftOut.isTicking = false
    leftOut.isAnswering = false
    const old = { ...held, rotators: [leftOut.identity.publicKey], threshold: 1 }
    for (const isLost of [false, true]) {
      const found = await visited.visit((operator) => gather(operator, old, { isLost }), { plans: [old] })
      expect(found.newer?.version).toBe(2)
    }
  })

  it('has all that was said, also by one that has fallen silent since', async () => {
    const [own] = [revocationOf('intern')]
    const [first, second] = visited.hands
    if (first === undefined || second === undefined) throw new Error('too few')
    first.revocations = [own]
    for (const hand of visited.hands.slice(1)) hand.isTicking = false
    atRoundTwo(first, () => {
      first.isTicking = false
      second.isTicking = true
    })
    const { revocations, isEnough } = await gathered()
    expect({ revocations, isEnough }).toEqual({ revocations: [own], isEnough: true })
  })
})

describe('what is gathered where a plan is lost', () => {
  const lost = (terms: GatherTerms = {}) =>
    visited.visit((operator) => gather(operator, visited.held(), { isLost: true, ...terms }), {
      timeoutMs: 20_000,
    })

  it('is what one holds, too, that answers a round later', async () => {
    const [first, second] = visited.hands
    if (first === undefined || second === undefined) throw new Error('too few')
    const own = revocationOf('intern')
    second.revocations = [own]
    second.isTicking = false
    atRoundTwo(first, () => {
      second.isTicking = true
    })
    expect((await lost()).revocations).toEqual([own])
  })

  it('is asked for until whoever has answered has said it', async () => {
    const [first] = visited.hands
    if (first === undefined) throw new Error('too few')
    const own = revocationOf('intern')
    first.revocations = []
    first.namedRevocations = [own]
    // What it names has come to it only after a few rounds.
    let asked = 0
    first.beforePage = () => {
      if (++asked > 24) first.revocations = [own]
    }
    const { revocations, withheld } = await lost()
    expect({ revocations, withheld }).toEqual({ revocations: [own], withheld: [] })
  })

  it('is not waited for of one that goes', async () => {
    const [wild] = visited.hands
    if (wild !== undefined) wild.namedRevocations = [revocationOf('intern')]
    const before = clock.now()
    expect(await lost({ leaving: [visited.key(0)] })).toMatchObject({ withheld: [visited.key(0)] })
    expect(clock.now() - before).toBeLessThan(20_000)
    expect(await lost()).toMatchObject({ withheld: [visited.key(0)] })
    expect(clock.now() - before).toBeGreaterThan(20_000)
  })

  it('is nothing where nobody answers, and says who is silent', async () => {
    for (const hand of visited.hands) hand.isTicking = false
    const before = clock.now()
    const { revocations, silent } = await lost()
    expect(revocations).toEqual([])
    expect(new Set(silent)).toEqual(new Set(visited.held().rotators))
    expect(clock.now() - before).toBeLessThan(20_000)
  })
})

describe('clocks that are apart', () => {
  const apart = async (terms: GatherTerms) =>
    (await visited.visit((operator) => gather(operator, visited.held(), terms))).apart
  const setAhead = (...which: readonly number[]): void => {
    for (const i of which) {
      const hand = visited.hands[i]
      if (hand !== undefined) hand.changes = { now: clock.now() + 3_600_000 }
    }
  }

  it.each([false, true])('are told of any service, with lost services %s', async (isLost) => {
    setAhead(2)
    expect(await apart({ isLost })).toEqual([visited.key(2)])
  })

  it('are told of a service that does not count, and of one on another plan', async () => {
    const now = clock.now() - 3_600_000
    const [first, second] = visited.hands
    if (first !== undefined) first.changes = { now, standing: 0 }
    if (second !== undefined) second.changes = { now, planVersion: 0 }
    expect(new Set(await apart({ isLost: true }))).toEqual(new Set([visited.key(0), visited.key(1)]))
  })

  it('are told of one that goes only where no other vouches for the clock here', async () => {
    setAhead(2)
    expect(await apart({ leaving: [visited.key(2)] })).toEqual([])
    for (const hand of visited.hands.slice(0, 2)) hand.isTicking = false
    expect(await apart({ isLost: true, leaving: [visited.key(2)] })).toEqual([visited.key(2)])
  })
})

describe('a plan is refused', () => {
  const refusal = (gathered: Partial<Gathered>, terms: GatherTerms & { readonly nowMs?: number } = {}) => {
    const plan = visited.held()
    const word = { counting: [], handingOver: [], skewed: [], behind: [], ahead: [] }
    const rest = { word, whole: [], revocations: [], withheld: [], apart: [], silent: [], newer: undefined }
    const options = { names: new Map(), dir: '/realm', nowMs: clock.now(), ...terms }
    const found = refusalOf(plan, { ...rest, ...gathered }, options)
    return found && { code: found.code, message: found.message, hint: found.hint }
  }
  const counting = (...which: readonly number[]) => ({
    counting: which.map((i) => visited.key(i)),
    handingOver: [],
    skewed: [],
    behind: [],
    ahead: [],
  })

  it('where the one in force is confirmed and what its services hold did not come, and not as lost', () => {
    const withheld = [visited.key(0), visited.key(1)]
    const found = refusal({ word: counting(0, 1, 2), whole: [visited.key(2)], withheld })
    expect(found?.message).toContain('plan 1 is confirmed, and nothing was made: ')
    expect(found?.message).toContain(withheld.join(', '))
    expect(`${found?.message} ${found?.hint}`).not.toMatch(/--lost|not confirmed/)
  })

  it('where the one in force is not confirmed', () => {
    const found = refusal({ word: counting(0), whole: [visited.key(0)] })
    expect(found?.message).toContain('is not confirmed, and nothing was made: 1 of 2 needed')
    expect(found?.hint).toContain('--lost')
  })

  it('where the one in force has ended, and that is what is said', () => {
    const { until } = visited.held()
    const found = refusal({ word: { ...counting(), handingOver: [visited.key(0)] } }, { nowMs: until })
    expect(found?.message).toContain(`plan 1 ended at ${new Date(until).toISOString()}, and nothing was made`)
    expect(found?.message).not.toContain('not complete yet')
    expect(found?.hint).toContain('subrosa plan renew --lost')
  })

  it('with lost services where one that answers has not said what it holds, unless that one goes', () => {
    const withheld = [visited.key(0)]
    const word = counting(0, 1)
    const whole = [visited.key(1)]
    const found = refusal({ word, whole, withheld }, { isLost: true })
    expect(found).toMatchObject({ code: 'ERR_NO_ROTATION_SERVICE' })
    expect(found?.message).toContain(`${visited.key(0)} answered`)
    expect(refusal({ word, whole, withheld }, { isLost: true, leaving: withheld })).toBeUndefined()
    expect(refusal({ word, whole, withheld: ['UGONE'] }, { isLost: true })).toBeUndefined()
  })

  it.each([false, true])('where a service has another time, with lost services %s', (isLost) => {
    const found = refusal(
      { word: counting(0, 1), whole: [visited.key(0), visited.key(1)], apart: [visited.key(2)] },
      { isLost },
    )
    expect(found).toMatchObject({ code: 'ERR_CLOCK_SKEW' })
    expect(found?.message).toContain(visited.key(2))
  })
})
