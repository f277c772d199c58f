import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { subscribeSafely } from '../../../src/bus/safely.ts'
import { isConfirmed, publishPlan, wordOn } from '../../../src/cli/realm/publish-plan.ts'
import { OBSERVER_NAME } from '../../../src/identity/token.ts'
import { ANY_SERVICE } from '../../../src/keys/subjects.ts'
import { decodePage, encodeQuery, QueryKind, writePlanCursor } from '../../../src/wire/queries.ts'
import { ManualClock } from '../../support/clock.ts'
import { engine } from '../../support/identities.ts'
import { passingUntil } from '../../support/passing.ts'
import { Visited } from './visits.ts'

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

describe('a plan that is brought to the services', () => {
  it('is confirmed once as many count under it as must answer', async () => {
    const former = visited.held()
    const kept = visited.realm.nextPlan()
    const plan = visited.held(kept)
    const bring = () =>
      visited.visit((operator) => publishPlan(operator, plan, kept), {
        plans: [plan, former],
        timeoutMs: 2000,
      })
    const [first, second, third] = visited.hands
    first?.adopt(kept, { isPublished: false })
    expect(isConfirmed(plan, await bring())).toBe(false)
    second?.adopt(kept, { isPublished: false })
    if (second !== undefined) second.changes = { standing: 0 }
    const word = await bring()
    expect(isConfirmed(plan, word)).toBe(false)
    expect(word).toMatchObject({ handingOver: [visited.key(1)], behind: [visited.key(2)] })
    third?.adopt(kept, { isPublished: false })
    expect(isConfirmed(plan, await bring())).toBe(true)
  })

  it('tells the services before of every revocation that they lack, and then the plan', async () => {
    const [held, missing] = [revocationOf('intern'), revocationOf('guest')]
    for (const hand of visited.hands) hand.revocations = [held]
    const former = visited.held()
    const kept = visited.realm.nextPlan({ list: [held, missing] })
    const plan = visited.held(kept)
    const seen = await visited.realm.tap(`${visited.realm.root}.*`)
    await visited.visit((operator) => publishPlan(operator, plan, kept), {
      plans: [plan, former],
      timeoutMs: 1500,
    })
    const told = seen.filter(({ subject }) => /\.(revoke|plan)$/.test(subject))
    const [first] = told.filter(({ subject }) => subject.endsWith('.plan'))
    expect(first?.data).toEqual(kept.plan)
    const revoked = told.filter(({ subject }) => subject.endsWith('.revoke'))
    expect(new Set(revoked.map(({ data }) => Buffer.from(data).toString('hex')))).toEqual(
      new Set([Buffer.from(missing).toString('hex')]),
    )
    expect(told.findIndex(({ subject }) => subject.endsWith('.revoke'))).toBe(0)
  })

  it('is handed out with its whole list to whoever asks anybody for it', async () => {
    for (const hand of visited.hands) hand.isAnswering = false
    const list = Array.from({ length: 250 }, (_, i) => revocationOf(`intern-${i}`))
    const former = visited.held()
    const kept = visited.realm.nextPlan({ list })
    const plan = visited.held(kept)
    const got: Uint8Array[] = []
    await visited.visit(
      async (operator) => {
        const { subjects, nc } = operator
        const instance = engine.randomBytes(8)
        const ask = (cursor: Uint8Array | undefined): void => {
          const query = { nonce: engine.randomBytes(16), kind: QueryKind.plan, cursor }
          const reply = subjects.inbox(OBSERVER_NAME, instance)
          nc.publish(subjects.query(ANY_SERVICE, OBSERVER_NAME, instance), encodeQuery(query), { reply })
        }
        subscribeSafely(nc, subjects.inbox(OBSERVER_NAME, instance), {
          take: ({ data }) => {
            const { statements, next } = decodePage(data)
            got.push(...statements.map((bytes) => new Uint8Array(bytes)))
            if (next !== undefined) ask(next)
          },
          onError: () => {},
          reject: () => {},
          onRefused: () => {},
        })
        const brought = publishPlan(operator, plan, kept)
        ask(writePlanCursor(plan.version))
        await passingUntil(clock, 'it has come', () => got.length > list.length)
        await brought
      },
      { plans: [plan, former], timeoutMs: 10_000 },
    )
    expect(got).toEqual([kept.plan, ...list])
  })
})

describe('what services say of a plan', () => {
  it('is counted by service, and by no other than those of the plan', () => {
    const plan = visited.held()
    const answer = (rotator: string, changes: object) => [
      rotator,
      {
        tick: { rotator, planVersion: 1, standing: 1 as const, now: 0, ...changes },
        cameAt: 0,
      },
    ]
    const stranger = visited.realm.identity('rotator-9').publicKey
    const answers = new Map([
      answer(visited.key(0), {}),
      answer(visited.key(1), { now: 120_001 }),
      answer(visited.key(2), { standing: 0 }),
      answer(stranger, {}),
    ] as never)
    expect(wordOn(plan, answers as never)).toEqual({
      counting: [visited.key(0)],
      skewed: [visited.key(1)],
      handingOver: [visited.key(2)],
      behind: [],
      ahead: [],
    })
  })
})
