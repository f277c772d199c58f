import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { StatusEvent } from '../../src/bus/status.ts'
import { decodeQuery, QueryKind } from '../../src/wire/queries.ts'
import { type HandAgent, HandRealm } from '../support/hand-agents.ts'
import { pass, passingUntil } from '../support/passing.ts'
import { collectStatus, type Tapped } from '../support/realm.ts'
import { MINUTE } from '../support/statements.ts'
import { until } from '../support/until.ts'

let all: HandRealm
let mallory: HandAgent
let heard: StatusEvent[]
let harmless: Uint8Array

// The answer to a ping names a revocation that the broker withholds, and nothing else comes: no page, and no other answer.
beforeEach(async () => {
  all = await HandRealm.start()
  const { hand, realm, clock } = all
  mallory = await all.join('mallory')
  heard = collectStatus(all.bob)
  harmless = hand.world.revocation(realm.identity('somebody'), { since: clock.now() })
  hand.isAnswering = false
  hand.namedRevocations = [...hand.revocations, harmless]
  const asked = await realm.tap(`${realm.root}.query.>`)
  await passingUntil(clock, 'bob asks for what it names', () => asked.some(isForRevocations))
  hand.isTicking = false
})
afterEach(() => all.stop())

function isForRevocations({ data }: Tapped): boolean {
  return decodeQuery(data).kind === QueryKind.revocations
}

/** Lets the revocation through; resolves when bob has it. */
async function letThrough(): Promise<void> {
  const before = heard.length
  all.hand.publish('revoke', harmless)
  await until('bob has it', () => heard.slice(before).some(({ type }) => type === 'revoked'))
}

async function expectStale(): Promise<void> {
  const before = heard.length
  await all.expectRejected(all.seal(mallory), 'stale')
  expect(heard.slice(before).filter(({ type }) => type === 'fresh')).toEqual([])
}

describe('a tick that waits for what it names', () => {
  it('counts when that comes soon, and is good for no longer because it waited', async () => {
    await pass(all.clock, all.freshForMs - 30_000)
    await letThrough()
    await all.expectDelivered(all.seal(mallory))
    await pass(all.clock, 31_000)
    await expectStale()
  })

  it('makes nobody fresh when that comes minutes later: whoever was revoked meanwhile is heard by nobody', async () => {
    await pass(all.clock, 7 * MINUTE)
    await expectStale()
    await letThrough()
    await expectStale()
    expect(heard.filter(({ type }) => type === 'fresh')).toEqual([])
  })

  it('makes nobody fresh after the wall clock was set meanwhile', async () => {
    all.clock.jump(5 * MINUTE)
    await expectStale()
    await letThrough()
    await expectStale()
    expect(heard.filter(({ type }) => type === 'fresh')).toEqual([])
  })
})
