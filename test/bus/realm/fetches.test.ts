import { afterEach, describe, expect, it } from 'vitest'
import { decodeQuery, encodePage, QueryKind } from '../../../src/wire/statements.ts'
import { HandRealm } from '../../support/hand-agents.ts'
import { until } from '../../support/until.ts'

/** More than an agent follows, and each about as large as all revocations together. */
const PAGES = 40

describe('a fetch', () => {
  let hand: HandRealm
  afterEach(() => hand.stop())

  it('of revocations ends when it has as many bytes as there can be, whatever pages come', async () => {
    hand = await HandRealm.start()
    const { bob, broker, realm } = hand
    const asked: QueryKind[] = []
    const subscription = broker.subscribe(`${realm.root}.query`, {
      callback: (_error, { data }) => void asked.push(decodeQuery(data).kind),
    })
    await broker.flush()
    const revocationQueries = (): number => asked.filter((kind) => kind === QueryKind.revocations).length
    hand.hand.isAnswering = false
    hand.hand.isTicking = false
    hand.hand.tick([], { revocationsHash: new Uint8Array(32) })
    await until('bob asks for revocations', () => revocationQueries() === 1)
    const statements = [new Uint8Array(1_000_000)]
    const page = encodePage({ kind: QueryKind.revocations, statements, next: new Uint8Array(8) })
    for (let i = 0; i < PAGES; i++) {
      broker.publish(hand.inboxOfBob, page)
      await broker.flush()
    }
    await bob.flush()
    await realm.settled()
    expect(revocationQueries()).toBe(2)
    subscription.unsubscribe()
  })
})
