import { afterEach, describe, expect, test } from 'vitest'
import { orderFreshKeys } from '../../../src/cli/realm/order-fresh-keys.ts'
import type { Identity } from '../../../src/identity/identity.ts'
import { Trust } from '../../../src/identity/trust.ts'
import { peekOrder, verifyOrder } from '../../../src/keys/orders.ts'
import { RevocationSet } from '../../../src/keys/revocations.ts'
import type { Announcement, Order } from '../../../src/wire/statements.ts'
import { ManualClock } from '../../support/clock.ts'
import { engine } from '../../support/identities.ts'
import { failure } from '../../support/until.ts'
import { DailyRealm } from '../daily-realm.ts'
import { Visited } from '../realm/visits.ts'
import { run } from '../run.ts'

describe('subrosa rotate now', () => {
  let realm: DailyRealm
  afterEach(() => realm.stop())
  const now = (...argv: readonly string[]) =>
    run('rotate', 'now', '--realm', realm.running.realm.dir, ...argv)

  test('says so where nobody is, where no service answers, where no broker is, and where no realm is', async () => {
    realm = await DailyRealm.start()
    expect(await now()).toMatchObject({ code: 0, stdout: '0 of 0' })
    await realm.running.stopServices()
    expect(await now('--timeout', '1s')).toMatchObject({
      code: 4,
      stdout: '',
      stderr: expect.stringContaining('0 of the 1 rotation services that must answer act on plan 1'),
    })
    await realm.running.stopServer()
    expect(await now()).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringContaining('nothing listens there'),
    })
    expect(await now('--realm', `${realm.running.realm.dir}/nothing`)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('there is no realm in'),
    })
  })
})

describe('orderFreshKeys', () => {
  const clock = new ManualClock()
  let visited: Visited
  afterEach(() => visited.realm.stop())

  async function order() {
    const signer = visited.realm.authority
    const trust = new Trust(engine, visited.realm.trust)
    const options = { plan: visited.held(), signer, trust, revocations: new RevocationSet({ engine, trust }) }
    return visited.visit((operator) => orderFreshKeys(operator, options))
  }

  /** An agent of two instances that has announced keys, and how one of them announces again. */
  async function announce() {
    visited = await Visited.start(clock, 1)
    const [hand] = visited.hands
    if (hand === undefined) throw new Error('there is no rotation service')
    const identity = visited.realm.identity('billing')
    const instances = [engine.randomBytes(8), engine.randomBytes(8)]
    const announced = (
      which: number,
      changes: Partial<Announcement> = {},
      keys: { readonly signer?: Identity } = {},
    ): Uint8Array => {
      const instance = instances[which] ?? new Uint8Array(8)
      return hand.world.announcement(identity, hand.epoch(), { instance, ...changes }, keys).bytes
    }
    hand.announcements.push(announced(0), announced(1))
    const nc = await visited.realm.connection()
    /** Has these bytes follow every order. */
    const follow = (answers: (order: Order) => readonly Uint8Array[]): void =>
      void nc.subscribe(`${visited.realm.root}.rotate`, {
        callback: (_error, { data }) => {
          for (const bytes of answers(peekOrder(new Uint8Array(data))))
            nc.publish(`${visited.realm.root}.announce.billing.0011223344556677`, bytes)
        },
      })
    return { announced, follow }
  }

  test('resolves when all that were there have announced keys of this very order', async () => {
    const { announced, follow } = await announce()
    follow(({ at }) => [announced(0, { seq: at }), announced(1, { seq: at })])
    const { live, renewed, epoch, at } = await order()
    expect({ live, renewed, epoch }).toEqual({ live: 2, renewed: 2, epoch: 1 })
    expect(Math.abs(clock.now() - at)).toBeLessThan(4000)
  })

  test('counts no other keys, and nobody twice', async () => {
    const { announced, follow } = await announce()
    const stranger = visited.realm.identity('mallory')
    const ahead = announced(1, { seq: clock.now() + 100_000 })
    for (const hand of visited.hands) hand.announcements.push(ahead)
    follow(({ at }) => [
      announced(0, { seq: at }),
      announced(0, { seq: at }),
      // Those of another order, of one of a time that lies ahead, of another epoch, of a newcomer, of somebody else, and none at all.
      announced(1, { seq: at - 1 }),
      ahead,
      announced(1, { seq: at, epochHash: new Uint8Array(32) }),
      announced(1, { seq: at, instance: engine.randomBytes(8) }),
      announced(1, { seq: at }, { signer: stranger }),
      announced(1, { seq: at, keys: [], messageKey: new Uint8Array(0) }),
    ])
    expect(await order()).toMatchObject({ live: 2, renewed: 1 })
  })

  test('does not go by the clock of a machine that no instance would follow', async () => {
    visited = await Visited.start(clock, 1)
    for (const hand of visited.hands) hand.changes = { now: clock.now() - 300_000 }
    expect(await failure(() => order())).toMatchObject({ code: 'ERR_CLOCK_SKEW' })
  })

  test('orders as the authority, again until it is followed', async () => {
    await announce()
    const orders = await visited.realm.tap(`${visited.realm.root}.rotate`)
    await order()
    expect(orders.length).toBeGreaterThan(1)
    const [first, ...others] = orders
    for (const other of others) expect(other.data).toEqual(first?.data)
    const trust = new Trust(engine, visited.realm.trust)
    const around = { engine, trust, revocations: new RevocationSet({ engine, trust }) }
    expect(verifyOrder(around, first?.data ?? new Uint8Array(0), ['authority'])).toBe('authority')
  })
})
