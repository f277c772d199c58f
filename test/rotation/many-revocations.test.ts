import { afterEach, describe, expect, it } from 'vitest'
import { memoryRotationStore } from '../../src/rotation/store.ts'
import { servedEpoch } from '../support/crowd.ts'
import { TestRealm } from '../support/realm.ts'
import { HOUR } from '../support/statements.ts'
import { until } from '../support/until.ts'

let realm: TestRealm
afterEach(() => realm.stop())

describe('a realm in which a revoker has revoked as much as it may', () => {
  it('goes on when the authority revokes some more: the service starts again and rotates, and agents join', async () => {
    realm = await TestRealm.start({ rotation: false })
    const store = memoryRotationStore()
    const first = await realm.startService({ store })
    const { world } = await servedEpoch(realm)
    const broker = await realm.connection()
    const guard = realm.identity('guard', { roles: ['revoker'] })
    const now = Date.now()
    const intern = realm.identity('intern')
    const by = { signer: guard, token: guard.token }
    const held = (): number => store.load().revocations.length
    for (let i = 0; i < 300; i++) {
      const changes = { since: now, until: now + HOUR, reason: String(i) }
      broker.publish(`${realm.root}.revoke`, world.revocation(intern, changes, by))
    }
    await broker.flush()
    const byAuthority = (reason: string): Uint8Array =>
      world.revocation(realm.identity('mallory'), { since: now, until: now + HOUR, reason })
    for (let i = 0; i < 10; i++) broker.publish(`${realm.root}.revoke`, byAuthority(String(i)))
    const last = byAuthority('the last one')
    broker.publish(`${realm.root}.revoke`, last)
    await until('it is held', () =>
      store.load().revocations.some((bytes) => Buffer.compare(bytes, last) === 0),
    )
    const many = held()
    expect(many).toBeLessThan(301)
    await first.close()

    const again = await realm.startService({ store })
    expect(held()).toBe(many)
    await again.rotate()
    const bob = await realm.agent('bob')
    expect([bob.epoch, held()]).toEqual([2, many])
  })
})
