import { beforeEach, describe, expect, it, vi } from 'vitest'
import type { HouseClock } from '../../../src/base/house-clock.ts'
import { CLOCK_WINDOW_MS } from '../../../src/base/limits.ts'
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

  it('finds a budget whatever comes that knows no nonce: of that nothing is decoded or hashed', () => {
    machine.workMs = 1
    const nonce = ping()
    for (let i = 0; i < 17; i++) ping()
    const path = new Uint8Array(12 * 32)
    const { signed } = readTick(engine, world.tick({ leaves: 4096 }, { nonce }))
    const junk = [
      encodeSignedTick({ ...signed, nonce: engine.randomBytes(16), path }),
      // Not even a tick.
      encodeSignedTick({ ...signed, structure: path, nonce: engine.randomBytes(16), path }),
      world.tick(),
    ]
    const hash = vi.spyOn(engine, 'sha256')
    for (let i = 0; i < 500; i++) for (const one of junk) expect(judge.answer(one)).toBeUndefined()
    expect(hash).not.toHaveBeenCalled()
    hash.mockRestore()
    expect(judge.answer(world.tick({}, { nonce }))?.verdict).toBe('counts')
  })

  it('is nothing where its path proves another nonce than the one that it echoes', () => {
    const nonce = ping()
    const { signed } = readTick(engine, world.tick({}, { nonce: engine.randomBytes(16) }))
    expect(checks(() => expect(judge.answer(encodeSignedTick({ ...signed, nonce }))).toBeUndefined())).toBe(0)
  })

  it('is known by its nonce before there is a plan by which to judge it', () => {
    const nonce = ping()
    hasPlan = false
    expect(judge.isAsked(world.tick({}, { nonce }))).toBe(true)
    expect(judge.isAsked(world.tick({}, { nonce: engine.randomBytes(16) }))).toBe(false)
    expect(judge.isAsked(world.tick())).toBe(false)
  })

  it('is nothing where it answers what was asked before the clocks have parted', () => {
    const nonce = ping(clock.late())
    machine.advance(1)
    machine.jump(MINUTE)
    clock.late()
    expect(judge.answer(world.tick({ now: clock.now() }, { nonce }))).toBeUndefined()
  })

  it('is refused where it is malformed', () => {
    expect(codeOf(() => judge.answer(new Uint8Array(9)))).toBe('ERR_MALFORMED')
  })
})

describe('a tick that has waited', () => {
  const stands = (askedAtLateMs = clock.late()): boolean => {
    const { tick } = readTick(engine, world.tick())
    return judge.stands({ tick, askedAtLateMs })
  }

  it('stands for 90 s', () => {
    expect([stands(), stands(clock.late() - 90_000), stands(clock.late() - 90_001)]).toEqual([
      true,
      true,
      false,
    ])
  })

  it('does not where it was asked for before the clocks have parted, or they differ by now', () => {
    const askedAt = clock.late()
    machine.advance(1)
    machine.jump(MINUTE)
    expect([stands(askedAt), stands()]).toEqual([false, true])
    machine.jump(MINUTE - 1)
    expect(stands()).toBe(true)
    machine.jump(1)
    expect(stands()).toBe(false)
  })

  it('does not under another plan, without one, or where an authority has revoked its service since', () => {
    hasPlan = false
    expect(stands()).toBe(false)
    hasPlan = true
    const { tick } = readTick(engine, world.tick())
    expect(judge.stands({ tick, askedAtLateMs: clock.late() })).toBe(true)
    world.adopt(world.plan({ version: 2 }))
    expect(judge.stands({ tick, askedAtLateMs: clock.late() })).toBe(false)
    expect(stands()).toBe(true)
    world.revocations.add(world.revocation(world.rotator), T0)
    expect(stands()).toBe(false)
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

  it('is nothing where its time is another one: what was held then is not even looked for', () => {
    const holds = vi.spyOn(world.revocations, 'holds')
    for (const now of [T0 - CLOCK_WINDOW_MS - 1, T0 + CLOCK_WINDOW_MS + 1])
      for (const planVersion of [1, 2])
        expect(
          judge.hint(world.tick({ now, planVersion, revocationsHash: new Uint8Array(32) })),
        ).toBeUndefined()
    expect(holds).not.toHaveBeenCalled()
    const inTime = world.tick({ now: T0 + CLOCK_WINDOW_MS, revocationsHash: new Uint8Array(32) })
    expect(judge.hint(inTime)).toBeDefined()
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
