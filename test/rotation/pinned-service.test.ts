import type { NatsConnection } from '@nats-io/transport-node'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { silentLog } from '../../src/base/logger.ts'
import type { Identity } from '../../src/identity/identity.ts'
import { protocolSubjects } from '../../src/keys/subjects.ts'
import type { RotationEvent } from '../../src/rotation/events.ts'
import {
  type RotationOptions,
  type RotationService,
  startRotationService,
} from '../../src/rotation/service.ts'
import { memoryRotationStore } from '../../src/rotation/store.ts'
import { connectClient } from '../support/client.ts'
import { ManualClock } from '../support/clock.ts'
import { engine } from '../support/identities.ts'
import { pass, passingUntil } from '../support/passing.ts'
import { selfSigned } from '../support/pinned.ts'
import { startTestServer, type TestServer } from '../support/server.ts'
import { DAY, MINUTE } from '../support/statements.ts'
import { failure, until } from '../support/until.ts'

let clock: ManualClock
let server: TestServer
let nc: NatsConnection
let identity: Identity
let events: RotationEvent[]
const services: RotationService[] = []

beforeEach(async () => {
  clock = new ManualClock()
  server = await startTestServer()
  nc = await connectClient({ servers: server.url })
  identity = selfSigned('rotator')
  events = []
})
afterEach(async () => {
  for (const service of services.splice(0)) await service.close()
  await nc.close()
  await server.stop()
})

async function start(options: Partial<RotationOptions> = {}): Promise<RotationService> {
  const service = await startRotationService(nc, {
    identity,
    trust: { realm: identity.publicKey, pins: {} },
    store: memoryRotationStore(),
    clock,
    log: silentLog,
    onEvent: (event) => {
      events.push(event)
    },
    ...options,
  })
  services.push(service)
  return service
}

describe('a rotation service under pins', () => {
  it('signs its own plan, and counts at once', async () => {
    expect(await start()).toMatchObject({ standing: 1, planVersion: 1, epoch: 1 })
  })

  it('has the same plan when it starts again, and renews it in time', async () => {
    const store = memoryRotationStore()
    await (await start({ store })).close()
    const kept = store.load()?.plan
    const service = await start({ store })
    expect(store.load()?.plan).toEqual(kept)
    clock.jump(301 * DAY)
    await passingUntil(clock, 'it has renewed it', () => service.planVersion === 2)
    expect(service.standing).toBe(1)
  })

  it('gives its epochs the schedule that it is given', async () => {
    const service = await start({ schedule: { periodMs: 10 * MINUTE, leadMs: MINUTE } })
    await pass(clock, 10 * MINUTE, MINUTE)
    expect(service.epoch).toBe(2)
    await expect(start({ schedule: { leadMs: 1 } })).rejects.toThrow(RangeError)
  })

  it('whose record is lost goes above the plan that others have', async () => {
    const store = memoryRotationStore()
    const first = await start({ store })
    clock.jump(301 * DAY)
    await passingUntil(clock, 'it has renewed it', () => first.planVersion === 2)
    await first.close()
    const newest = store.load()?.plan
    if (newest === undefined) throw new Error('it has no plan')
    const again = await start()
    expect(again.planVersion).toBe(1)
    // An agent tells it what it has, as it does whoever goes by an older plan.
    nc.publish(protocolSubjects(engine, identity.publicKey).plan, newest.plan)
    await passingUntil(clock, 'it has signed a newer one', () => again.planVersion === 3)
    await again.close()
    expect((await start({ plan: newest })).planVersion).toBe(2)
  })

  it('is none without the key of the realm', async () => {
    const other = selfSigned('other', { realm: identity.publicKey })
    const error = await failure(() => start({ identity: other }))
    expect(error).toMatchObject({
      code: 'ERR_PLAN_INVALID',
      message: 'other does not have the key of the realm',
    })
    await until('nothing was said', () => events.every(({ type }) => type !== 'plan'))
  })
})
