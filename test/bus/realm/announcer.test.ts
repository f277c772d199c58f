import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  MAX_UNVERIFIED_PER_AGENT,
  REPEAT_INTERVAL_MS,
  REPEAT_INTERVAL_MS_PER_ANNOUNCEMENT,
} from '../../../src/base/limits.ts'
import { HandRealm } from '../../support/hand-agents.ts'
import { pass, passingUntil } from '../../support/passing.ts'
import { announceSubject, junkAnnouncement, reparse } from '../../support/statements.ts'

let all: HandRealm
let announced: readonly { readonly data: Uint8Array }[]

beforeEach(async () => {
  all = await HandRealm.start()
  announced = await all.realm.tap(`${all.realm.root}.announce.bob.*`)
})
afterEach(() => all.stop())

describe('the announcements of an instance', () => {
  it('are published again and again: what was lost on the way to anybody is mended', async () => {
    const [first] = all.hand.announcements
    await pass(all.clock, REPEAT_INTERVAL_MS - 1000)
    expect(announced).toEqual([])
    await pass(all.clock, 4 * REPEAT_INTERVAL_MS)
    await all.realm.settled()
    expect(announced.length).toBeGreaterThanOrEqual(3)
    for (const { data } of announced) expect(Buffer.from(data)).toEqual(Buffer.from(first ?? []))
  })

  it('are not published again once it has retired, while it waits for the server', async () => {
    const closing = all.bob.close()
    all.clock.advance(2 * REPEAT_INTERVAL_MS)
    await closing
    await all.realm.settled()
    expect(announced.map(({ data }) => reparse(data).announcement.keys)).toEqual([[]])
  })

  it('are published again no more seldom where junk comes in the names of others', async () => {
    for (let i = 0; i < 5; i++) {
      const identity = all.realm.identity(`name-${i}`)
      for (let n = 0; n < MAX_UNVERIFIED_PER_AGENT - 1; n++) {
        const junk = junkAnnouncement(identity, all.epoch)
        all.broker.publish(`${all.realm.root}.${announceSubject(junk)}`, junk)
      }
    }
    await all.broker.flush()
    await all.bob.flush()
    // The first time was chosen before.
    await passingUntil(all.clock, 'it came again', () => announced.length === 1, 1000)
    await pass(all.clock, 1.5 * REPEAT_INTERVAL_MS)
    expect(announced.length).toBe(2)
  })

  it('are published again the more seldom the more of them there are', async () => {
    const others = (3 * REPEAT_INTERVAL_MS) / REPEAT_INTERVAL_MS_PER_ANNOUNCEMENT
    for (let i = 0; i < others; i++) await all.join(`agent-${i}`)
    // The first time was chosen when there was one.
    await passingUntil(all.clock, 'it came again', () => announced.length === 1, 1000)
    await pass(all.clock, 1.5 * REPEAT_INTERVAL_MS)
    expect(announced.length).toBe(1)
    await passingUntil(all.clock, 'it came once more', () => announced.length === 2, 1000)
  })
})
