import type { NatsConnection, Subscription } from '@nats-io/transport-node'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { SecureConnection } from '../../src/bus/connection.ts'
import type { SecureSubscription } from '../../src/bus/messages/subscription.ts'
import { clientLine } from '../support/client.ts'
import { TestRealm } from '../support/realm.ts'

/** What happens to a subscription, in this order. */
type Step =
  | { readonly publish: number }
  | { readonly read: number }
  | { readonly unsubscribe: number | undefined }
  | 'drain'

/** What a subscription of either kind can do. */
type Either = Subscription | SecureSubscription

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ publish: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ read: fc.integer({ min: 1, max: 3 }) }),
)
const steps = fc.array(step, { maxLength: 4 })
/** At most one of them: what the plain client makes of a second end differs from line to line. */
const end: fc.Arbitrary<readonly Step[]> = fc.constantFrom(
  [],
  ['drain'],
  ...[undefined, 0, 1, 2, 3, 5, 9].map((max): readonly Step[] => [{ unsubscribe: max }]),
)
const script = fc.oneof(
  fc.tuple(steps, end, steps).map(([before, ending, after]) => ({
    max: undefined,
    all: [...before, ...ending, ...after],
  })),
  fc.record({ max: fc.integer({ min: 1, max: 6 }), all: steps }),
)

describe('a sealed subscription, beside one of the plain client on the same server', () => {
  let realm: TestRealm
  let plain: NatsConnection
  let sender: NatsConnection
  let alice: SecureConnection
  let bob: SecureConnection
  let run = 0

  beforeAll(async () => {
    realm = await TestRealm.start()
    plain = await realm.connection()
    sender = await realm.connection()
    alice = await realm.agent('alice')
    bob = await realm.agent('bob')
    await alice.waitForAudience('sealed.0')
  })
  afterAll(() => realm.stop())

  /** Messages that a connection has received are there once it has flushed, after who sent them has. */
  async function publish(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      sender.publish(`plain.${run}`, String(i))
      alice.publish(`sealed.${run}`, String(i), { to: ['bob'] })
    }
    for (const connection of [sender, alice, plain, bob]) await connection.flush()
  }

  async function counters(subscription: Either): Promise<object> {
    // What is settled has run on.
    await new Promise((resolve) => setImmediate(resolve))
    return {
      subject: subscription.getSubject().replace(/^\w+/, ''),
      received: subscription.getReceived(),
      processed: subscription.getProcessed(),
      // The earlier line counts its own signals too.
      ...(clientLine === 'nats' ? {} : { pending: subscription.getPending() }),
      isDraining: subscription.isDraining(),
    }
  }

  async function play(
    steps: readonly Step[],
    options: { readonly max?: number; readonly callback: boolean },
  ) {
    run++
    const { callback, ...rest } = options
    const heard: [string[], string[]] = [[], []]
    const both: readonly Either[] = [
      plain.subscribe(`plain.${run}`, {
        ...rest,
        ...(callback ? { callback: (_error, m) => void heard[0].push(m.string()) } : {}),
      }),
      bob.subscribe(`sealed.${run}`, {
        ...rest,
        ...(callback ? { callback: (_error, m) => void heard[1].push(m.string()) } : {}),
      }),
    ]
    const iterators = callback ? [] : both.map((subscription) => subscription[Symbol.asyncIterator]())
    await Promise.all([plain.flush(), bob.flush()])
    const log: object[][] = [[], []]
    for (const each of steps) {
      if (each === 'drain') await Promise.all(both.map((s) => (s.isClosed() ? undefined : s.drain())))
      else if ('publish' in each) await publish(each.publish)
      else if ('unsubscribe' in each) for (const s of both) s.unsubscribe(each.unsubscribe)
      else {
        for (const [i, iterator] of iterators.entries()) {
          const unread = (both[i]?.getReceived() ?? 0) - (both[i]?.getProcessed() ?? 0)
          for (let j = 0; j < Math.min(each.read, unread); j++) {
            const { value } = await iterator.next()
            heard[i]?.push(value?.string() ?? 'end')
          }
        }
      }
      for (const [i, subscription] of both.entries()) log[i]?.push(await counters(subscription))
    }
    for (const subscription of both) subscription.unsubscribe()
    return { log, heard }
  }

  it.each([true, false])('counts the same whatever happens, with a callback: %s', async (callback) => {
    await fc.assert(
      fc.asyncProperty(script, async ({ all, max }) => {
        const { log, heard } = await play(all, { callback, ...(max === undefined ? {} : { max }) })
        expect(log[1]).toEqual(log[0])
        expect(heard[1]).toEqual(heard[0])
      }),
      { numRuns: 60 },
    )
  })
})
