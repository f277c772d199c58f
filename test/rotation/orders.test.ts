import type { NatsConnection } from '@nats-io/transport-node'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { CLOCK_WINDOW_MS, MAX_ORDERS_PER_SECOND } from '../../src/base/limits.ts'
import { deriveEpoch } from '../../src/keys/epochs.ts'
import { signOrder } from '../../src/keys/orders.ts'
import type { RotationEvent } from '../../src/rotation/events.ts'
import type { Order } from '../../src/wire/statements.ts'
import { ManualClock } from '../support/clock.ts'
import { engine } from '../support/identities.ts'
import { passingUntil } from '../support/passing.ts'
import { TestRealm } from '../support/realm.ts'
import { MINUTE, World } from '../support/statements.ts'

let clock: ManualClock
let realm: TestRealm
let broker: NatsConnection
let events: RotationEvent[]

beforeEach(async () => {
  clock = new ManualClock()
  events = []
  realm = await TestRealm.start({ clock, rotation: false })
  broker = await realm.connection()
  await realm.startService({ onEvent: (event) => events.push(event) })
})
afterEach(() => realm.stop())

const ordered = (): readonly RotationEvent[] => events.filter(({ type }) => type === 'ordered')

function order(changes: Partial<Order> = {}): Order {
  const { number, hash } = deriveEpoch(engine, realm.plan, 1)
  return { realm: realm.authority.publicKey, number, epochHash: hash, at: clock.now(), ...changes }
}

/** The service has seen everything that was published until now. */
async function give(...orders: readonly Uint8Array[]): Promise<void> {
  for (const bytes of orders) broker.publish(`${realm.root}.rotate`, bytes)
  const known = events.filter(({ type }) => type === 'revoked').length
  const marker = new World({ like: realm }).revocation(realm.identity('marker'), { since: clock.now() })
  broker.publish(`${realm.root}.revoke`, marker)
  const isSeen = (): boolean => events.filter(({ type }) => type === 'revoked').length > known
  await passingUntil(clock, 'the service has seen it', isSeen)
}

describe('the order for fresh keys', () => {
  it('by an authority or a rotation service is written down, and changes nothing at the service', async () => {
    await give(signOrder(realm.authority, order()))
    clock.advance(MINUTE)
    await give(signOrder(realm.rotator, order()))
    expect(ordered()).toEqual([
      { type: 'ordered', epoch: 1 },
      { type: 'ordered', epoch: 1 },
    ])
    expect(realm.service?.epoch).toBe(1)
  })

  it('by anybody else is nothing', async () => {
    await give(
      signOrder(realm.identity('bob'), order()),
      signOrder(realm.authority, order({ realm: realm.rotator.publicKey })),
    )
    expect(ordered()).toEqual([])
  })

  it('that is played again, of another time or of another epoch is nothing', async () => {
    const once = signOrder(realm.authority, order())
    const late = signOrder(realm.authority, order({ at: clock.now() - CLOCK_WINDOW_MS - 1000 }))
    const other = signOrder(realm.authority, order({ epochHash: engine.randomBytes(32) }))
    await give(once, once, late, other)
    expect(ordered()).toHaveLength(1)
  })

  it('costs bounded work under a flood of forged ones, and is taken when that is over', async () => {
    const forged = (): Uint8Array => signOrder(realm.identity('bob'), order())
    await give(...Array.from({ length: 2 * MAX_ORDERS_PER_SECOND }, forged))
    await give(signOrder(realm.authority, order()))
    expect(ordered()).toEqual([])
    clock.advance(1000)
    await give(signOrder(realm.authority, order()))
    expect(ordered()).toHaveLength(1)
  })
})
