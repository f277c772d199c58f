import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { hex } from '../../src/base/bytes.ts'
import { jetStreamRotationLog } from '../../src/rotation/jetstream-log.ts'
import { memoryRotationStore } from '../../src/rotation/store.ts'
import { encodeEndorsed } from '../../src/wire/endorsed.ts'
import { engine, NOTHING, newAuthority, newIdentity } from '../support/identities.ts'
import { TestRealm } from '../support/realm.ts'
import { DAY, HOUR, type MadeEpoch } from '../support/statements.ts'
import { failure, until } from '../support/until.ts'
import { LEASE_MS, leads, ReplicaRealm, rotated, type TestReplica, troubles } from './replica-realm.ts'

/** In these tests the broker does with the stream whatever it likes. */
let replicas: ReplicaRealm

beforeEach(async () => {
  replicas = await ReplicaRealm.start()
})
afterEach(() => replicas.stop())

/** Three epochs, of which a replica has published the last two. */
async function threeEpochs(): Promise<TestReplica> {
  const replica = await replicas.replica()
  await replica.service.rotate()
  await replica.service.rotate()
  return replica
}

/** The epochs that the stream holds, each once, and those of a record: in hexadecimal. */
const loggedEpochs = async () => {
  const entries = (await replicas.logged()).filter(({ subject }) => subject === replicas.names.epochs)
  return [...new Set(entries.map(({ data }) => hex(data)))]
}
const recorded = ({ store }: Pick<TestReplica, 'store'>) => store.load().epochs.map(hex)

const asLog = (epochs: readonly MadeEpoch[]) =>
  epochs.map(({ bytes }) => ({ subject: replicas.names.epochs, data: bytes }))

/** The chain of a realm that the same rotator has signed, and nobody has published. */
function others(count: number): readonly MadeEpoch[] {
  const chain: MadeEpoch[] = [replicas.first]
  while (chain.length <= count)
    chain.push(replicas.world.epoch(chain.at(-1), { notBefore: Date.now(), graceMs: 1000 }))
  return chain.slice(1)
}

async function append(subject: string, ...entries: readonly Uint8Array[]): Promise<void> {
  const broker = await replicas.realm.connection()
  for (const bytes of entries) await broker.request(subject, bytes)
}

describe('a log that is gone', () => {
  it('is made again out of the record, with every epoch and revocation', async () => {
    const replica = await threeEpochs()
    const revocation = replicas.world.revocation(replicas.realm.identity('mallory'), { since: Date.now() })
    const broker = await replicas.realm.connection()
    broker.publish(`${replicas.realm.root}.revoke`, revocation)
    await until('it is held', () => replica.store.load().revocations.length === 1)
    await replicas.deleteLog()
    expect(await rotated(replica)).toBe(4)
    expect(await loggedEpochs()).toEqual(recorded(replica))
    await replica.crash()
    const later = await replicas.replica()
    await leads(later)
    expect(later.service.epoch).toBe(4)
    expect(later.store.load().revocations).toEqual([revocation])
    expect(replicas.forks()).toBe(1)
  })

  it('while nobody ran is made again by the first that comes', async () => {
    const { service, store } = await threeEpochs()
    await service.close()
    const manager = await replicas.manager()
    await replicas.deleteLog()
    await manager.streams.delete(replicas.names.bucketStream)
    const again = await replicas.replica({ store })
    await leads(again)
    expect(await again.service.rotate()).toBe(4)
    expect(await loggedEpochs()).toEqual(recorded({ store }))
  })

  it('with the lease alone costs no more than the lease', async () => {
    const first = await replicas.replica()
    await (await replicas.manager()).streams.delete(replicas.names.bucketStream)
    const second = await replicas.replica()
    await until('one leads', () => [first, second].some(({ service }) => service.role === 'leader'))
    const leader = first.service.role === 'leader' ? first : second
    expect(await rotated(leader)).toBe(2)
    expect(replicas.forks()).toBe(1)
  })
})

describe('a log that was set back', () => {
  it('is completed out of the record: no number is given twice', async () => {
    const replica = await threeEpochs()
    const entries = await replicas.logged()
    await replicas.replaceLog(entries.slice(0, 2))
    expect(await rotated(replica)).toBe(4)
    expect(await loggedEpochs()).toEqual(recorded(replica))
    expect(replicas.forks()).toBe(1)
  })

  it('by taking out its newest entries is noticed when the next one does not fit', async () => {
    const manager = await replicas.manager()
    const { stream: name, epochs, revocations } = replicas.names
    // Made by somebody who may take entries out.
    await manager.streams.add({ name, subjects: [epochs, revocations] })
    const replica = await threeEpochs()
    for (const seq of [2, 3]) await manager.streams.deleteMessage(name, seq)
    expect(await rotated(replica)).toBe(4)
    expect(await loggedEpochs()).toEqual(recorded(replica))
    expect(replicas.forks()).toBe(1)
  })

  it('and has grown again since is seen as a whole', async () => {
    const leader = await threeEpochs()
    const follower = await replicas.replica()
    const entries = await replicas.logged()
    // To the follower the numbers of the stream look as if it had only grown.
    await replicas.replaceLog([...entries, { subject: replicas.names.revocations, data: new Uint8Array(1) }])
    expect(await rotated(leader)).toBe(4)
    await until('the follower has it', () => follower.service.epoch === 4)
    expect(recorded(follower)).toEqual(recorded(leader))
  })

  it('is no beginning for a replica without a record, as long as nobody vouches for it', async () => {
    const first = await threeEpochs()
    await first.crash()
    await replicas.replaceLog((await replicas.logged()).slice(0, 1))
    const store = memoryRotationStore()
    const newcomer = await replicas.replica({ store })
    await until('it says so', () => troubles(newcomer).length > 0 || newcomer.service.role === 'leader')
    expect(troubles(newcomer).join()).toContain('nobody vouches for the log')
    expect(newcomer.service.role).toBe('follower')
    expect(store.load().epochs).toEqual([])
    // One that has its record mends it, and vouches for it.
    const second = await replicas.replica({ store: first.store })
    await until('the newcomer has all', () => store.load().epochs.length === 3)
    await second.crash()
    await leads(newcomer)
    expect(await newcomer.service.rotate()).toBe(4)
    expect(replicas.forks()).toBe(1)
  })
})

describe('a log with other epochs than the record', () => {
  it('keeps a replica from starting', async () => {
    const { service, store } = await threeEpochs()
    await service.close()
    await replicas.replaceLog(asLog([replicas.first, ...others(2)]))
    for (let i = 0; i < 2; i++) {
      const error = await failure(() => replicas.replica({ store }))
      expect(error).toMatchObject({
        code: 'ERR_ROLLBACK',
        hint: expect.stringContaining('stop this replica'),
      })
    }
    expect(store.load().epochs).toHaveLength(3)
    expect(await loggedEpochs()).toHaveLength(3)
  })

  it('is none where nobody with the role has signed them', async () => {
    const { service, store } = await threeEpochs()
    await service.close()
    const mallory = replicas.realm.identity('mallory')
    const by = { signer: mallory, token: mallory.token }
    const forged = replicas.world.epoch(replicas.first, { notBefore: Date.now() }, by)
    await replicas.replaceLog(asLog([replicas.first, forged]))
    const again = await replicas.replica({ store })
    await leads(again)
    expect(await again.service.rotate()).toBe(4)
    expect(await loggedEpochs()).toEqual([recorded(again)[0], hex(forged.bytes), ...recorded(again).slice(1)])
  })

  it('is refused where it leaves a gap, too', async () => {
    const { service, store } = await threeEpochs()
    await service.close()
    await replicas.replaceLog(asLog(others(5).slice(-1)))
    expect((await failure(() => replicas.replica({ store }))).code).toBe('ERR_ROLLBACK')
  })

  it('ends the term of the one that leads', async () => {
    const { service, events, store } = await threeEpochs()
    await replicas.replaceLog(asLog([replicas.first, ...others(3)]))
    await failure(() => service.rotate())
    await until('it leads no more', () => service.role === 'follower')
    const before = replicas.ticks().length
    await until('it has tried again', () => events.filter(({ type }) => type === 'error').length > 2)
    expect(service.role).toBe('follower')
    expect(replicas.ticks()).toHaveLength(before)
    expect(store.load().epochs).toHaveLength(3)
    expect(replicas.forks()).toBe(1)
  })

  it('is not followed by a second one of a number that both know', async () => {
    const replica = await threeEpochs()
    const [second] = others(1)
    await append(replicas.names.epochs, second?.bytes ?? new Uint8Array(0))
    expect(await replica.service.rotate()).toBe(4)
    await until('it is reported', () => troubles(replica).join().includes('1 entries that count for nothing'))
    const later = await replicas.replica()
    expect(recorded(later)).toEqual(recorded(replica))
  })
})

describe('junk in the log', () => {
  /** Everything but what a replica has appended. */
  function junk(): readonly Uint8Array[] {
    const { realm, world, first } = replicas
    const now = Date.now()
    const stranger = newAuthority()
    const mallory = realm.identity('mallory')
    const foreign = newIdentity(stranger, 'rotator', { issuedAtMs: now - HOUR, roles: ['rotator'] }).identity
    const by = (signer: typeof mallory) => ({ signer, token: signer.token })
    const next = { notBefore: now }
    const good = world.epoch(first, next)
    const flipped = Uint8Array.from(good.bytes)
    const middle = flipped.length >> 1
    flipped[middle] = (flipped[middle] ?? 0) ^ 1
    return [
      new Uint8Array(0),
      engine.randomBytes(500),
      good.bytes.subarray(1),
      flipped,
      // Nobody with the role has signed these.
      world.epoch(first, next, by(mallory)).bytes,
      world.epoch(first, next, by(foreign)).bytes,
      world.epoch(first, { ...next, number: 9000 }, by(mallory)).bytes,
      world.epoch(first, { ...next, realm: stranger.publicKey }).bytes,
      // Agents refuse these from anybody.
      world.epoch(first, { notBefore: now, notAfter: now + 2 * DAY }).bytes,
      world.epoch(first, { notBefore: now, graceMs: DAY }).bytes,
    ]
  }

  it('is skipped and reported, before and behind what counts', async () => {
    const bytes = junk()
    await (await replicas.replica()).service.close()
    await append(replicas.names.epochs, ...bytes)
    await append(replicas.names.revocations, ...bytes)
    const first = await replicas.replica()
    await leads(first)
    expect(troubles(first).join()).toContain(`${2 * bytes.length} entries that count for nothing`)
    expect(await first.service.rotate()).toBe(2)
    await append(replicas.names.epochs, ...bytes)
    expect(await first.service.rotate()).toBe(3)
    const second = await replicas.replica()
    expect(second.service.epoch).toBe(3)
    expect(recorded(second)).toEqual(recorded(first))
    expect(replicas.forks()).toBe(1)
  })

  it('among revocations revokes nobody', async () => {
    const { realm, world, names } = replicas
    await (await replicas.replica()).service.close()
    const mallory = realm.identity('mallory')
    const alice = realm.identity('alice')
    const statement = world.revocation(alice, {}, { signer: mallory, token: mallory.token })
    const endorsement = realm.rotator.sign(engine.sha256(statement))
    const revocation = world.revocation(alice, { since: Date.now() })
    await append(
      names.revocations,
      // Signed by an agent, endorsed without the label, or with the label of another statement.
      encodeEndorsed({ statement, endorsement }),
      encodeEndorsed({ statement: world.epoch(undefined).bytes, endorsement }),
      revocation,
    )
    const replica = await replicas.replica()
    await leads(replica)
    expect(replica.store.load().revocations).toEqual([])
    expect(troubles(replica).join()).toContain('3 entries')
  })
})

describe('a replica without a record', () => {
  it('believes the one that leads, and then does what any other does', async () => {
    const leader = await threeEpochs()
    const revocation = replicas.world.revocation(replicas.realm.identity('mallory'), { since: Date.now() })
    const broker = await replicas.realm.connection()
    broker.publish(`${replicas.realm.root}.revoke`, revocation)
    await until('it is held', () => leader.store.load().revocations.length === 1)
    const alice = await replicas.realm.agent('alice')
    const store = memoryRotationStore()
    const newcomer = await replicas.replica({ store })
    await until('it is in step', () => store.load().epochs.length === 3)
    expect(store.load()).toMatchObject({ revocations: [revocation], isShared: true })
    expect(store.loadAnnouncements().map(hex)).toEqual(leader.store.loadAnnouncements().map(hex))
    expect(store.loadAnnouncements().length).toBeGreaterThan(0)
    await leader.crash()
    await leads(newcomer)
    expect(await newcomer.service.rotate()).toBe(4)
    const bob = await replicas.realm.agent('bob')
    expect(bob.audience('orders.new').map(({ name }) => name)).toContain('alice')
    await alice.flush()
    expect(replicas.forks()).toBe(1)
  })

  it('does not found a realm again in which a service runs alone', async () => {
    const alone = await replicas.realm.startService()
    await alone.rotate()
    const newcomer = await replicas.replica({ store: memoryRotationStore() })
    await until('it says so', () => troubles(newcomer).length > 0)
    expect(troubles(newcomer).join()).toContain('a rotation service runs here that does not use this log')
    expect(newcomer.service).toMatchObject({ role: 'follower', epoch: 0 })
    expect(await replicas.logged()).toEqual([])
    expect(replicas.forks()).toBe(1)
  })
})

describe('a service that runs alone beside replicas', () => {
  it('is reported by them', async () => {
    const replica = await replicas.replica()
    await replica.service.rotate()
    const identity = replicas.realm.identity('rotator-2', { permissions: NOTHING, roles: ['rotator'] })
    const store = replicas.storeWith([replicas.first])
    const alone = await replicas.realm.startService({ identity, store })
    expect(alone.epoch).toBe(2)
    await until('it is reported', () =>
      troubles(replica).join().includes('another rotation service runs here'),
    )
  })
})

describe('what replicas need', () => {
  it('is JetStream', async () => {
    const plain = await TestRealm.start({ rotation: false })
    const nc = await plain.connection()
    const error = await failure(() => plain.startService({ sharedLog: jetStreamRotationLog(nc) }))
    expect(error).toMatchObject({ code: 'ERR_SETUP', hint: expect.stringContaining('subrosa init') })
    await plain.stop()
  })

  it('is one duration of the lease', async () => {
    await replicas.replica()
    const error = await failure(() => replicas.replica({ leaseMs: 2 * LEASE_MS }))
    expect(error).toMatchObject({
      code: 'ERR_STATE',
      message: `the replicas of this realm have a lease of ${LEASE_MS} ms`,
    })
    expect(error.hint).toContain('--lease')
  })

  it.each([0, 299, 60_001, 1000.5, Number.NaN])(
    'is a lease within bounds, and not of %d ms',
    async (leaseMs) => {
      expect(await failure(() => replicas.replica({ leaseMs }))).toBeInstanceOf(RangeError)
    },
  )

  it('is a record that is theirs alone: without the log it is refused', async () => {
    const { service, store } = await threeEpochs()
    await service.close()
    const error = await failure(() => replicas.realm.startService({ store }))
    expect(error).toMatchObject({
      code: 'ERR_STATE',
      message: 'this is the record of a replica, up to epoch 3: others may have published since',
    })
    expect(error.hint).toContain('--jetstream')
    expect(error.hint).toContain('--alone')
  })
})
