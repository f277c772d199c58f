import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Signer } from '../../../src/identity/signing-key.ts'
import { signOrder } from '../../../src/keys/orders.ts'
import { HandRealm } from '../../support/hand-agents.ts'
import { HandRotator } from '../../support/hand-rotator.ts'
import { pass, passingUntil } from '../../support/passing.ts'
import { collectStatus } from '../../support/realm.ts'
import { MINUTE, reparse } from '../../support/statements.ts'
import { until } from '../../support/until.ts'

const SECOND = 1000

let all: HandRealm
let announced: readonly { readonly data: Uint8Array }[]

beforeEach(async () => {
  all = await HandRealm.start()
  announced = await all.realm.tap(`${all.realm.root}.announce.bob.*`)
})
afterEach(() => all.stop())

/** The rotation service is another process, which has heard of nobody. */
async function restart(): Promise<HandRotator> {
  all.hand.isTicking = false
  all.hand.isAnswering = false
  return HandRotator.start(all.realm)
}

describe('the announcements of an instance', () => {
  it('are published once for each epoch: what was lost is handed over', async () => {
    await pass(all.clock, 3 * MINUTE)
    await all.realm.settled()
    expect(announced).toEqual([])
  })

  it('are handed over to a rotation service that has started again and does not have them', async () => {
    const [first] = all.hand.announcements
    const hand = await restart()
    await passingUntil(all.clock, 'it has it', () => hand.handedOver.length > 0, 500)
    expect(hand.handedOver).toEqual([first])
    expect(announced).toEqual([])
  })

  it('are not handed over where they are held', async () => {
    await pass(all.clock, 3 * MINUTE)
    expect(all.hand.handedOver).toEqual([])
  })

  it('are not handed over once it has retired, while it waits for the server', async () => {
    const closing = all.bob.close()
    const hand = await restart()
    all.clock.advance(2 * MINUTE)
    await closing
    await all.realm.settled()
    expect(hand.handedOver).toEqual([])
    expect(announced.map(({ data }) => reparse(data).announcement.keys)).toEqual([[]])
  })
})

describe('an order for fresh keys', () => {
  const order = (by: Signer = all.realm.authority, at = all.clock.now()): Uint8Array =>
    signOrder(by, {
      realm: all.realm.authority.publicKey,
      number: all.epoch.number,
      epochHash: all.epoch.hash,
      at,
    })

  it('makes an instance announce itself again, with the time of the order, within half a minute', async () => {
    const events = collectStatus(all.bob)
    const at = all.clock.now()
    all.hand.publish('rotate', order())
    await all.bob.flush()
    await pass(all.clock, 30 * SECOND)
    await until('it was announced', () => announced.length === 1)
    const { announcement } = reparse(announced[0]?.data ?? new Uint8Array(0))
    expect([announcement.epoch, announcement.seq]).toEqual([all.epoch.number, at])
    expect(events.filter(({ type }) => type === 'rotated')).toEqual([
      { type: 'rotated', epoch: all.epoch.number },
    ])
    // Others seal to the newest, and what was sealed before is opened still.
    const mary = await all.join('mary')
    await all.expectDelivered(all.seal(mary))
    await all.expectDelivered(all.seal(mary, { to: [all.keyOfBob(all.epoch)] }))
    expect(events.filter(({ type }) => type === 'clone')).toEqual([])
  })

  it('has keys made that count, also after one of a time that lies ahead', async () => {
    const ahead = all.clock.now() + 2 * MINUTE
    all.hand.publish('rotate', order(all.realm.rotator, ahead))
    await all.bob.flush()
    await pass(all.clock, 31 * SECOND)
    all.hand.publish('rotate', order())
    await all.bob.flush()
    await pass(all.clock, 31 * SECOND)
    await all.realm.settled()
    const seqs = announced.map(({ data }) => reparse(data).announcement.seq)
    expect(seqs).toEqual([ahead, ahead + 1])
  })

  it('of nobody who may is not followed', async () => {
    const forged = order()
    forged[forged.length - 2] = (forged.at(-2) ?? 0) ^ 1
    all.hand.publish('rotate', forged)
    await all.bob.flush()
    await pass(all.clock, 31 * SECOND)
    expect(announced).toEqual([])
  })
})
