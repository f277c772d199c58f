import type { NatsConnection } from '@nats-io/transport-node'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { MAX_ORDERS_PER_SECOND, MIN_ROTATION_MS } from '../../src/base/limits.ts'
import type { Identity } from '../../src/identity/identity.ts'
import { signOrder } from '../../src/keys/orders.ts'
import type { RotationEvent, RotationService } from '../../src/rotation/service.ts'
import { WireType } from '../../src/wire/preamble.ts'
import { decodeEpoch, decodeStatement, type Order } from '../../src/wire/statements.ts'
import { ManualClock } from '../support/clock.ts'
import { engine } from '../support/identities.ts'
import { type Tapped, TestRealm } from '../support/realm.ts'
import { World } from '../support/statements.ts'
import { until } from '../support/until.ts'

let clock: ManualClock
let realm: TestRealm
let service: RotationService
let broker: NatsConnection
let epochs: readonly Tapped[]
let events: RotationEvent[]

beforeEach(async () => {
  clock = new ManualClock()
  events = []
  realm = await TestRealm.start({ clock, rotation: false })
  epochs = await realm.tap(`${realm.root}.epoch`)
  broker = await realm.connection()
  service = await realm.startService({ onEvent: (event) => events.push(event) })
  await until('the first epoch has come', () => epochs.length === 1)
  clock.advance(MIN_ROTATION_MS)
})
afterEach(() => realm.stop())

/** What names the newest epoch. */
function newest(): Order {
  const { structure } = decodeStatement(WireType.epoch, epochs.at(-1)?.data ?? new Uint8Array(0))
  const { number, realm: name } = decodeEpoch(structure)
  return { realm: name, number, epochHash: engine.sha256(structure) }
}

/** The service has seen everything that was published until now. */
async function give(...orders: readonly Uint8Array[]): Promise<void> {
  for (const bytes of orders) broker.publish(`${realm.root}.rotate`, bytes)
  const known = events.filter(({ type }) => type === 'revoked').length
  const marker = new World({ like: realm }).revocation(realm.identity('marker'), { since: clock.now() })
  broker.publish(`${realm.root}.revoke`, marker)
  await until('the service has seen it', () => events.filter(({ type }) => type === 'revoked').length > known)
}

describe('the order to rotate', () => {
  it.each<[string, () => Uint8Array]>([
    ['an authority', () => signOrder(realm.authority, newest())],
    ['a rotator', () => signOrder(realm.rotator, newest(), realm.rotator.token)],
  ])('by %s begins the next epoch at once', async (_who, order) => {
    await give(order())
    expect(service.epoch).toBe(2)
    await until('it is published', () => epochs.length === 2)
    expect(newest().number).toBe(2)
  })

  it('that is played again does nothing: it names an epoch that is not the newest', async () => {
    const order = signOrder(realm.authority, newest())
    await give(order)
    for (let i = 0; i < 5; i++) {
      clock.advance(MIN_ROTATION_MS)
      await give(order, order)
    }
    expect(service.epoch).toBe(2)
  })

  it('names the newest epoch by its hash, too', async () => {
    const order = { ...newest(), epochHash: engine.randomBytes(32) }
    await give(signOrder(realm.authority, order), signOrder(realm.authority, { ...newest(), number: 2 }))
    expect(service.epoch).toBe(1)
  })

  it('is taken once a second', async () => {
    await give(signOrder(realm.authority, newest()))
    await until('it is published', () => epochs.length === 2)
    clock.advance(MIN_ROTATION_MS - 1)
    const early = signOrder(realm.authority, newest())
    await give(early)
    expect(service.epoch).toBe(2)
    clock.advance(1)
    await give(early)
    expect(service.epoch).toBe(3)
  })

  it('by nobody who may give it does nothing', async () => {
    const by = (signer: Identity): Uint8Array => signOrder(signer, newest(), signer.token)
    const mallory = realm.identity('mallory')
    const guard = realm.identity('guard', { roles: ['revoker'] })
    await give(by(mallory), by(guard), signOrder(realm.rotator, newest()), new Uint8Array(9))
    expect(service.epoch).toBe(1)
    await give(signOrder(realm.authority, newest()))
    expect(service.epoch).toBe(2)
  })

  it('costs bounded work under a flood of forged ones, and is taken when it is over', async () => {
    const forged = signOrder(realm.identity('mallory'), newest())
    const isRefused = (event: RotationEvent): boolean =>
      event.type === 'error' && String(event.error).includes('signature of the order')
    await give(...Array.from({ length: 500 }, () => forged))
    expect(events.filter(isRefused).length).toBe(MAX_ORDERS_PER_SECOND)
    await give(signOrder(realm.authority, newest()))
    expect(service.epoch).toBe(1)
    clock.advance(1000)
    await give(signOrder(realm.authority, newest()))
    expect(service.epoch).toBe(2)
  })
})
