import type { NatsConnection } from '@nats-io/transport-node'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { SecureConnection } from '../../src/bus/connection.ts'
import { TestRealm } from '../support/realm.ts'
import { until } from '../support/until.ts'

const MESSAGES = 12

/** What a network may do to messages: lose, repeat and reorder them. Each entry is the index of a captured message. */
const schedule = fc.array(fc.integer({ min: 0, max: MESSAGES - 1 }), { maxLength: 60 })

describe('a network that loses, repeats and reorders', () => {
  let realm: TestRealm
  let broker: NatsConnection
  let alice: SecureConnection
  let bob: SecureConnection

  beforeAll(async () => {
    realm = await TestRealm.start()
    broker = await realm.connection()
    alice = await realm.agent('alice')
    bob = await realm.agent('bob')
    await alice.waitForAudience('net.1')
  })
  afterAll(() => realm.stop())

  it('never makes a message arrive twice, and delivers every one that arrives', async () => {
    let run = 0
    await fc.assert(
      fc.asyncProperty(schedule, async (order) => {
        const subject = `net.${run++}`
        const captured = await realm.tapMessages(subject)
        for (let i = 0; i < MESSAGES; i++) {
          alice.publish(subject, String(i), { to: ['bob'] })
          // What is published in one turn to one instance can share a frame.
          await new Promise((resolve) => setImmediate(resolve))
        }
        await until('all are captured', () => captured.length === MESSAGES)
        const got: string[] = []
        const sub = bob.subscribe(subject, { callback: (_error, m) => got.push(m.string()) })
        await bob.flush()
        for (const index of order) broker.publish(subject, captured[index]?.data ?? new Uint8Array(0))
        await broker.flush()
        await bob.flush()
        const expected = [...new Set(order)].map(String)
        await until('everything that can come has come', () => got.length >= expected.length)
        expect(got).toEqual(expected)
        sub.unsubscribe()
      }),
      { numRuns: 40 },
    )
  })
})
