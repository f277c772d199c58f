import { beforeEach, describe, expect, it, vi } from 'vitest'
import type { HouseClock } from '../../../src/base/house-clock.ts'
import type { SentPing } from '../../../src/bus/realm/pings.ts'
import { TickJudge } from '../../../src/bus/realm/tick-judge.ts'
import { readTick } from '../../../src/keys/ticks.ts'
import { encodeSignedTick } from '../../../src/wire/ticks.ts'
import { houseClock, ManualClock } from '../../support/clock.ts'
import { engine } from '../../support/identities.ts'
import { codeOf, MINUTE, T0, World } from '../../support/statements.ts'

let world: World
let machine: ManualClock
let clock: HouseClock
let open: SentPing[]
let newest: Map<string, number>
let isKnownRoot: boolean
let hasPlan: boolean
let judge: TickJudge

beforeEach(() => {
  world = new World({ rotators: 2 })
  machine = new ManualClock(T0)
  clock = houseClock(machine)
  open = []
  newest = new Map()
  isKnownRoot = true
  hasPlan = true
  judge = new TickJudge({
    engine,
    clock,
    trust: world.trust,
    revocations: world.revocations,
    plan: () => (hasPlan ? world.held : undefined),
    open: () => open,
    newestOf: (rotator) => newest.get(rotator),
    isKnownRoot: () => isKnownRoot,
  })
})

function ping(sentAtLateMs = 0): Uint8Array {
  const nonce = engine.randomBytes(16)
  open = [{ nonce, sentAtLateMs }, ...open]
  return nonce
}

/** How many signatures a task has checked. */
function checks(task: () => void): number {
  const verify = vi.spyOn(engine, 'verify')
  task()
  const { length } = verify.mock.calls
  verify.mockRestore()
  return length
}

/** The same tick with another signature. */
function unsigned(bytes: Uint8Array): Uint8Array {
  const { signed } = readTick(engine, bytes)
  return encodeSignedTick({ ...signed, signature: engine.randomBytes(64) })
}

describe('a tick that comes in the own inbox', () => {
  it('counts where it answers an own question: from when that was asked', () => {
    const nonce = ping(500)
    ping(900)
    const answer = judge.answer(world.tick({}, { nonce }))
    expect(answer).toMatchObject({ verdict: 'counts', askedAtLateMs: 500 })
    expect(answer?.tick.rotator).toBe(world.rotator.publicKey)
  })

  it('is nothing, and costs no signature, where it answers nothing', () => {
    ping()
    const stranger = engine.randomBytes(16)
    const ticks = [world.tick({}), world.tick({}, { nonce: stranger })]
    expect(
      checks(() => expect(ticks.map((tick) => judge.answer(tick))).toEqual([undefined, undefined])),
    ).toBe(0)
  })

  it('is nothing, and costs no signature, of another realm, or of a stranger to the plan', () => {
    const nonce = ping()
    const other = new World()
    const ticks = [
      other.tick({}, { nonce }),
      world.tick({}, { nonce, by: world.identity('mallory') }),
      other.tick({ realm: world.realm }, { nonce }),
    ]
    expect(
      checks(() => expect(ticks.map((tick) => judge.answer(tick))).toEqual(ticks.map(() => undefined))),
    ).toBe(0)
  })

  it('is no news, and costs no signature, where a newer question was answered', () => {
    const nonce = ping(500)
    newest.set(world.rotator.publicKey, 500)
    expect(checks(() => expect(judge.answer(world.tick({}, { nonce }))).toBeUndefined())).toBe(0)
    newest.set(world.rotator.publicKey, 499)
    expect(judge.answer(world.tick({}, { nonce }))?.verdict).toBe('counts')
  })

  it('counts for no one where its signature does not fit, or is that of another', () => {
    const nonce = ping()
    const [, second] = world.rotators
    expect(judge.answer(unsigned(world.tick({}, { nonce })))).toBeUndefined()
    expect(judge.answer(world.tick({ rotator: second?.publicKey ?? '' }, { nonce }))).toBeUndefined()
  })

  it('counts for no one of whom an authority says that it is revoked; a revoker cannot', () => {
    const nonce = ping()
    const revoker = world.identity('revoker', { roles: ['revoker'] })
    world.revocations.add(world.revocation(world.rotator, {}, { signer: revoker, token: revoker.token }), T0)
    expect(judge.answer(world.tick({}, { nonce }))?.verdict).toBe('counts')
    world.revocations.add(world.revocation(world.rotator), T0)
    expect(checks(() => expect(judge.answer(world.tick({}, { nonce }))).toBeUndefined())).toBe(0)
  })

  it('does not count where its service is not complete, or its clock and the own one are far apart', () => {
    const nonce = ping()
    const verdictOf = (now: number, standing: 0 | 1 = 1) =>
      judge.answer(world.tick({ now, standing }, { nonce }))?.verdict
    expect(verdictOf(T0, 0)).toBe('not complete')
    expect([verdictOf(T0 - 2 * MINUTE), verdictOf(T0 + 2 * MINUTE)]).toEqual(['counts', 'counts'])
    expect([verdictOf(T0 - 2 * MINUTE - 1), verdictOf(T0 + 2 * MINUTE + 1)]).toEqual(['skewed', 'skewed'])
  })

  it('says, unproved, that another plan is gone by, whoever signs for that one', () => {
    const nonce = ping()
    const by = world.identity('rotator-9')
    expect(
      checks(() => {
        expect(judge.answer(world.tick({ planVersion: 2 }, { nonce, by }))?.verdict).toBe('other plan')
      }),
    ).toBe(0)
    expect(judge.answer(world.tick({ planVersion: 2 }, { by }))).toBeUndefined()
  })

  it('is nothing before there is a plan', () => {
    const nonce = ping()
    hasPlan = false
    expect(judge.answer(world.tick({}, { nonce }))).toBeUndefined()
  })

  it('finds a budget of working time: junk that knows the nonce costs no more', () => {
    machine.workMs = 1
    const nonce = ping()
    const junk = unsigned(world.tick({}, { nonce }))
    const checked = checks(() => {
      for (let i = 0; i < 500; i++) judge.answer(junk)
    })
    expect(checked).toBe(25)
    machine.advance(1000)
    expect(judge.answer(world.tick({}, { nonce }))?.verdict).toBe('counts')
  })

  it('is refused where it is malformed', () => {
    expect(codeOf(() => judge.answer(new Uint8Array(9)))).toBe('ERR_MALFORMED')
  })
})

describe('a tick that is broadcast', () => {
  it('is not even verified where it says what is held', () => {
    expect(checks(() => expect(judge.hint(world.tick())).toBeUndefined())).toBe(0)
  })

  it('is a hint where it names other revocations, another directory or another plan', () => {
    const hints = [
      judge.hint(world.tick({ revocationsHash: new Uint8Array(32) })),
      judge.hint(world.tick({ planVersion: 2 })),
    ]
    expect(hints.map((tick) => tick?.planVersion)).toEqual([1, 2])
    isKnownRoot = false
    expect(judge.hint(world.tick())?.rotator).toBe(world.rotator.publicKey)
  })

  it('is nothing that a rotation service of the plan has not signed', () => {
    const changes = { planVersion: 2 }
    expect(judge.hint(unsigned(world.tick(changes)))).toBeUndefined()
    expect(judge.hint(world.tick(changes, { by: world.identity('mallory') }))).toBeUndefined()
    expect(judge.hint(new World().tick(changes))).toBeUndefined()
  })

  it('is verified four times a second at most', () => {
    const junk = unsigned(world.tick({ planVersion: 2 }))
    const flood = (): number =>
      checks(() => {
        for (let i = 0; i < 100; i++) judge.hint(junk)
      })
    expect(flood()).toBe(4)
    machine.advance(1000)
    expect(flood()).toBe(4)
    // A budget that goes by the wall clock would be refilled.
    machine.jump(MINUTE)
    expect(flood()).toBe(0)
  })
})
