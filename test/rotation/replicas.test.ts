import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { concat, hex, samePublic } from '../../src/base/bytes.ts'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { SubrosaError } from '../../src/base/errors.ts'
import { labels } from '../../src/crypto/labels.ts'
import { memoryRotationStore } from '../../src/rotation/store.ts'
import { encodeEndorsed } from '../../src/wire/endorsed.ts'
import { WireType } from '../../src/wire/preamble.ts'
import { decodeEpoch, decodeStatement, encodeQuery, QueryKind } from '../../src/wire/statements.ts'
import { engine } from '../support/identities.ts'
import { collectStatus } from '../support/realm.ts'
import { HOUR } from '../support/statements.ts'
import { failure, until } from '../support/until.ts'
import { LEASE_MS, leads, ReplicaRealm, type TestReplica, troubles } from './replica-realm.ts'

let replicas: ReplicaRealm

beforeEach(async () => {
  replicas = await ReplicaRealm.start()
})
afterEach(() => replicas.stop())

const publish = async (kind: string, bytes: Uint8Array): Promise<void> => {
  const broker = await replicas.realm.connection()
  broker.publish(`${replicas.realm.root}.${kind}`, bytes)
  await broker.flush()
}

/** The machine's clock, off by so much. */
const clockOff = (ms: number): Clock => ({ ...systemClock, now: () => Date.now() + ms })

const isGrowing = (times: readonly number[]): boolean =>
  times.every((time, i) => i === 0 || time > (times[i - 1] ?? 0))

/** The revocations that the newest epoch of a store carries. */
function carriedBy({ store }: TestReplica): readonly Uint8Array[] {
  const newest = store.load().epochs.at(-1) ?? new Uint8Array(0)
  return decodeEpoch(decodeStatement(WireType.epoch, newest).structure).revocations
}

const held = ({ store }: TestReplica): readonly Uint8Array[] => store.load().revocations

describe('replicas', () => {
  it('have one leader: the others know what it knows, and say nothing', async () => {
    const first = await replicas.replica()
    const followers = [await replicas.replica(), await replicas.replica()]
    expect(first.service.role).toBe('leader')
    expect(followers.map(({ service }) => service.role)).toEqual(['follower', 'follower'])
    expect(await first.service.rotate()).toBe(2)
    await until('all have it', () => followers.every(({ service }) => service.epoch === 2))
    for (const { service } of followers)
      expect(await failure(() => service.rotate())).toMatchObject({ code: 'ERR_STATE' })
    const alice = await replicas.realm.agent('alice')
    await until('the followers have her, too', () =>
      followers.every(({ events }) => events.some((event) => event.type === 'announced')),
    )
    expect(alice.epoch).toBe(2)
    const pages = await replicas.realm.tap(`${replicas.realm.root}.inbox.0011223344556677`)
    const nonce = engine.randomBytes(16)
    const broker = await replicas.realm.connection()
    for (const kind of [QueryKind.tick, QueryKind.epochs]) {
      broker.publish(`${replicas.realm.root}.query`, encodeQuery({ nonce, kind, cursor: undefined }), {
        reply: `${replicas.realm.root}.inbox.0011223344556677`,
      })
    }
    // Every replica has seen the question when it has taken in what came after it.
    const seen = () => [first, ...followers].filter((each) => held(each).length === 1).length
    await publish(
      'revoke',
      replicas.world.revocation(replicas.realm.identity('mallory'), { since: Date.now() }),
    )
    await until('all have seen it', () => seen() === 3 && pages.length > 0)
    await broker.flush()
    expect(pages).toHaveLength(1)
    const answers = () =>
      replicas.ticks().filter((tick) => tick.nonces.some((carried) => samePublic(carried, nonce)))
    await until('it is answered by a tick, too', () => answers().length > 0)
    await broker.flush()
    expect(answers()).toHaveLength(1)
    expect(replicas.forks()).toBe(1)
    expect([first, ...followers].flatMap(troubles)).toEqual([])
  })

  it('found a realm once, however many begin at once', async () => {
    const both = await Promise.all([
      replicas.replica({ store: memoryRotationStore() }),
      replicas.replica({ store: memoryRotationStore() }),
      replicas.replica({ store: memoryRotationStore() }),
    ])
    await until('all have the first epoch', () => both.every(({ service }) => service.epoch === 1))
    expect(both.filter(({ service }) => service.role === 'leader')).toHaveLength(1)
    expect((await replicas.logged()).map(({ subject }) => subject)).toEqual([replicas.names.epochs])
    expect(replicas.forks()).toBe(1)
  })

  it('take over at once from a leader that ends in order', async () => {
    const first = await replicas.replica()
    const second = await replicas.replica()
    const endedAt = performance.now()
    await first.service.close()
    await leads(second)
    expect(performance.now() - endedAt).toBeLessThan(LEASE_MS)
    expect(first.events.some(({ type }) => type === 'following')).toBe(false)
    expect(second.events.map(({ type }) => type)).toEqual(['leading'])
    expect(await second.service.rotate()).toBe(2)
  })

  it('take over from a leader that crashes, with the same directory: agents notice nothing', async () => {
    const first = await replicas.replica()
    const alice = await replicas.realm.agent('alice')
    const second = await replicas.replica()
    const events = collectStatus(alice)
    await first.crash()
    await leads(second)
    const bob = await replicas.realm.agent('bob')
    expect(
      bob
        .audience('orders.new')
        .map(({ name }) => name)
        .sort(),
    ).toEqual(['alice', 'bob'])
    const got: string[] = []
    bob.subscribe('orders.new', { callback: (_error, m) => got.push(m.string()) })
    await bob.flush()
    await alice.waitForAudience('orders.new')
    alice.publish('orders.new', 'over the change')
    await until('it has come', () => got.length === 1)
    expect(await second.service.rotate()).toBe(2)
    expect((await replicas.realm.agent('carol')).epoch).toBe(2)
    await alice.flush()
    expect(events.filter(({ type }) => type === 'rollback' || type === 'stale')).toEqual([])
    expect(replicas.forks()).toBe(1)
  })

  it('give every number to one epoch, even where a broker tells two of them that they lead', async () => {
    const tampered = { takeLease: async () => true }
    const both = await Promise.all([replicas.replica({ tampered }), replicas.replica({ tampered })])
    expect(both.map(({ service }) => service.role)).toEqual(['leader', 'leader'])
    const failures: unknown[] = []
    for (let round = 0; round < 10; round++) {
      await Promise.all(
        both.map(({ service }) => service.rotate().catch((error: unknown) => failures.push(error))),
      )
    }
    expect(failures).toEqual([])
    await until('both have all', () => both[0].service.epoch === both[1].service.epoch)
    const [one = [], other] = both.map(({ store }) => store.load().epochs)
    expect(one).toEqual(other)
    expect(one.length).toBeGreaterThan(10)
    await until('they were published', () => replicas.hashes().size >= one.length)
    expect(replicas.forks()).toBe(1)
  })

  it('tick later than every tick before, whatever their clocks', async () => {
    const first = await replicas.replica({ clock: clockOff(30_000) })
    const second = await replicas.replica({ clock: clockOff(-30_000), tickMs: 50 })
    const before = replicas.ticks().length
    await first.crash()
    await leads(second)
    await until('the other ticks', () => replicas.ticks().length > before + 2)
    await second.service.close()
    const times = replicas.ticks().map(({ now }) => now)
    expect(isGrowing(times)).toBe(true)
    expect(second.store.load().tickedUntil).toBeGreaterThanOrEqual(times.at(-1) ?? 0)
  })

  it('do not follow a leader whose clock is far ahead: agents do not either', async () => {
    const first = await replicas.replica({ clock: clockOff(150_000) })
    const second = await replicas.replica()
    await first.service.close()
    await leads(second)
    const alice = await replicas.realm.agent('alice')
    expect(alice.epoch).toBe(1)
  })

  it('leave it to another one when the leader cannot write', async () => {
    const store = replicas.storeWith([replicas.first])
    let isFull = false
    const failing = {
      ...store,
      save: (record: Parameters<typeof store.save>[0]) => {
        if (isFull) throw new SubrosaError('ERR_STATE', 'no space left')
        store.save(record)
      },
    }
    const first = await replicas.replica({ store: failing, tickMs: 50 })
    const second = await replicas.replica()
    isFull = true
    await leads(second)
    expect(troubles(first).join()).toContain('no space left')
    expect(await second.service.rotate()).toBe(2)
    isFull = false
  })

  it('go on after the server was restarted', async () => {
    const first = await replicas.replica()
    const second = await replicas.replica()
    const events = collectStatus(await replicas.realm.agent('alice'))
    await replicas.restartServer()
    // What is under way while the server is gone may fail: whoever wants it asks again.
    for (const before = first.service.epoch; first.service.epoch === before; ) {
      await until('one leads', () => [first, second].some(({ service }) => service.role === 'leader'))
      const leader = first.service.role === 'leader' ? first : second
      await leader.service.rotate().catch(() => {})
      await first.nc.flush()
    }
    expect((await replicas.realm.agent('bob')).epoch).toBe(first.service.epoch)
    expect(events.filter(({ type }) => type === 'rollback')).toEqual([])
    await until('both agree', () => first.service.epoch === second.service.epoch)
    expect(first.store.load().epochs.map(hex)).toEqual(second.store.load().epochs.map(hex))
    expect(replicas.forks()).toBe(1)
  })
})

describe('a replica that loses the lease while it takes over, and gets it again', () => {
  it('begins anew: somebody else may have led in between', async () => {
    let release = (): void => {}
    const gate = new Promise<void>((resolve) => {
      release = resolve
    })
    let readings = 0
    let isFree = true
    const taken: boolean[] = []
    let readingsBefore: number | undefined
    const starting = replicas.replica({
      // The first reading is that of the start, the second one that of the takeover.
      tampered: {
        takeLease: async () => {
          taken.push(readings > 0 && isFree)
          return taken.at(-1) === true
        },
        read: async (log) => {
          if (readings++ > 0) await gate
          return log.read()
        },
      },
      onEvent: ({ type }) => {
        if (type === 'leading') readingsBefore ??= readings
      },
    })
    await until('it takes over', () => readings > 1)
    isFree = false
    await until('it has lost the lease', () => taken.at(-1) === false)
    isFree = true
    await until('it has it again', () => taken.at(-1) === true)
    release()
    await until('it leads', () => readingsBefore !== undefined)
    expect(readingsBefore).toBeGreaterThan(2)
    await starting
  })
})

describe('a leader that stood still past its lease', () => {
  it('answers nobody, until it has the lease again', async () => {
    let late = 0
    const clock: Clock = {
      ...systemClock,
      now: () => Date.now() + late,
      monotonic: () => performance.now() + late,
    }
    const { service, events } = await replicas.replica({ clock, tickMs: 20 })
    await leads({ service } as TestReplica)
    const [early, timely] = [engine.randomBytes(16), engine.randomBytes(16)]
    const ask = async (nonce: Uint8Array): Promise<void> => {
      const broker = await replicas.realm.connection()
      const query = encodeQuery({ nonce, kind: QueryKind.tick, cursor: undefined })
      broker.publish(`${replicas.realm.root}.query`, query, {
        reply: `${replicas.realm.root}.inbox.0011223344556677`,
      })
      await broker.flush()
    }
    late = 10_000
    expect(service.role).toBe('follower')
    await ask(early)
    await until('it has noticed', () => events.some(({ type }) => type === 'following'))
    await leads({ service } as TestReplica)
    await ask(timely)
    const answered = (nonce: Uint8Array): boolean =>
      replicas.ticks().some((tick) => tick.nonces.some((carried) => samePublic(carried, nonce)))
    await until('the other one is answered', () => answered(timely))
    expect(answered(early)).toBe(false)
  })
})

describe('an epoch', () => {
  it('is in the log before anybody sees it', async () => {
    let release = (): void => {}
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    const tampered = {
      appendEpoch: async (log: { appendEpoch(bytes: Uint8Array): Promise<boolean> }, bytes: Uint8Array) => {
        await held
        return log.appendEpoch(bytes)
      },
    }
    // Nothing is to be seeded: the log has the first epoch.
    await (await replicas.replica()).service.close()
    const { service, store } = await replicas.replica({ tampered })
    await leads({ service } as TestReplica)
    const rotating = service.rotate()
    await until('it is signed, and stored as pending', () => store.load().pending !== undefined)
    const before = replicas.ticks().length
    await publish('query', new Uint8Array(0))
    expect(service.epoch).toBe(1)
    expect(replicas.hashes().has(2)).toBe(false)
    release()
    expect(await rotating).toBe(2)
    expect(store.load().pending).toBeUndefined()
    await until('it is named', () => replicas.ticks().length > before && replicas.hashes().has(2))
  })

  it('whose fate is not known is offered again, byte for byte, also after a restart', async () => {
    await (await replicas.replica()).service.close()
    const offered: Uint8Array[] = []
    const lost = {
      appendEpoch: async (_log: unknown, bytes: Uint8Array): Promise<boolean> => {
        offered.push(bytes)
        throw new SubrosaError('ERR_TIMEOUT', 'no answer')
      },
    }
    const first = await replicas.replica({ tampered: lost })
    await leads(first)
    for (let i = 0; i < 3; i++)
      expect(await failure(() => first.service.rotate())).toMatchObject({ code: 'ERR_TIMEOUT' })
    await first.service.close()
    expect(offered.length).toBe(3)
    const second = await replicas.replica({ store: first.store })
    await leads(second)
    expect(await second.service.rotate()).toBe(2)
    for (const bytes of [...offered, second.store.load().epochs[1] ?? new Uint8Array(0)])
      expect(samePublic(bytes, offered[0] ?? new Uint8Array(1))).toBe(true)
  })

  it('whose answer is lost is found in the log, and followed', async () => {
    await (await replicas.replica()).service.close()
    const tampered = {
      appendEpoch: async (log: { appendEpoch(bytes: Uint8Array): Promise<boolean> }, bytes: Uint8Array) => {
        await log.appendEpoch(bytes)
        throw new SubrosaError('ERR_TIMEOUT', 'no answer')
      },
    }
    const { service, store } = await replicas.replica({ tampered })
    await leads({ service } as TestReplica)
    await failure(() => service.rotate())
    await until('it is taken in', () => service.epoch === 2)
    expect(store.load().pending).toBeUndefined()
    await until('it was published', () => replicas.hashes().has(2))
    expect(replicas.forks()).toBe(1)
  })

  it('that agents would refuse is neither in the log nor published', async () => {
    const expiresAtMs = Date.now() + 2000
    const identity = replicas.realm.identity('rotator', { roles: ['rotator'], expiresAtMs })
    const { service, store } = await replicas.replica({ identity })
    await leads({ service } as TestReplica)
    const epochs = service.epoch
    await until('its token has expired', () => Date.now() > expiresAtMs)
    expect((await failure(() => service.rotate())).code).toBe('ERR_TOKEN_EXPIRED')
    expect(service.epoch).toBe(epochs)
    expect(await replicas.logged()).toHaveLength(epochs)
    expect(store.load().pending).toBeUndefined()
  })
})

describe('a revocation', () => {
  it('is in the log before any tick names it', async () => {
    let release = (): void => {}
    const gate = new Promise<void>((resolve) => {
      release = resolve
    })
    let asked = 0
    const tampered = {
      appendRevocation: async (
        log: { appendRevocation(bytes: Uint8Array): Promise<void> },
        bytes: Uint8Array,
      ) => {
        asked++
        await gate
        await log.appendRevocation(bytes)
      },
    }
    const { service } = await replicas.replica({ tampered, tickMs: 20 })
    await leads({ service } as TestReplica)
    const revocation = replicas.world.revocation(replicas.realm.identity('mallory'), { since: Date.now() })
    const nobody = engine.sha256(new Uint8Array(0))
    await until('it ticks', () => replicas.ticks().length > 3)
    await publish('revoke', revocation)
    await until('it is to be appended', () => asked > 0)
    const tenTicks = performance.now() + 200
    await until('ten ticks could have come', () => performance.now() > tenTicks)
    expect(replicas.ticks().every((tick) => samePublic(tick.revocationsHash, nobody))).toBe(true)
    release()
    await until('it is named', () =>
      replicas.ticks().some((tick) => !samePublic(tick.revocationsHash, nobody)),
    )
    expect((await replicas.logged()).map(({ subject }) => subject)).toContain(replicas.names.revocations)
  })

  it('that was confirmed outlives the leader, in a replica that was not there', async () => {
    const first = await replicas.replica()
    const mallory = replicas.realm.identity('mallory')
    // The revoker's token ends before the next replica begins: who took it in vouches for it.
    const guard = replicas.realm.identity('guard', { roles: ['revoker'], expiresAtMs: Date.now() + 60_000 })
    const by = { signer: guard, token: guard.token }
    const until_ = Date.now() + 10 * HOUR
    const revocation = replicas.world.revocation(mallory, { since: Date.now(), until: until_ }, by)
    await publish('revoke', revocation)
    await until(
      'it is logged',
      () => replicas.ticks().at(-1)?.revocationsHash !== undefined && held(first).length === 1,
    )
    await until('it is confirmed', () => {
      const empty = engine.sha256(new Uint8Array(0))
      return replicas.ticks().some((tick) => !samePublic(tick.revocationsHash, empty))
    })
    await first.crash()
    const later = await replicas.replica({ clock: clockOff(2 * HOUR) })
    await leads(later)
    expect(held(later)).toEqual([revocation])
    await until('the next epoch carries it', () => carriedBy(later).length === 1)
  })

  it('that only a follower has is appended when it leads', async () => {
    const revocation = replicas.world.revocation(replicas.realm.identity('mallory'), { since: Date.now() })
    const first = await replicas.replica()
    const store = replicas.storeWith([replicas.first], { revocations: [revocation] })
    const second = await replicas.replica({ store })
    expect(held(first)).toEqual([])
    await first.crash()
    await leads(second)
    const third = await replicas.replica()
    expect(held(third)).toEqual([revocation])
    expect(held(second)).toEqual([revocation])
  })

  it('that is in the log is held before a replica speaks, though it has heard of nothing', async () => {
    const first = await replicas.replica()
    const second = await replicas.replica({ tampered: { isDeaf: true } })
    await first.crash()
    const { realm, world, names } = replicas
    const revocation = world.revocation(realm.identity('mallory'), { since: Date.now() })
    const endorsement = realm.rotator.sign(concat(labels.endorsement, engine.sha256(revocation)))
    await (await realm.connection()).request(
      names.revocations,
      encodeEndorsed({ statement: revocation, endorsement }),
    )
    await leads(second)
    expect(held(second)).toEqual([revocation])
  })

  it('that a broker has put into the log without an endorsement is judged by itself', async () => {
    const now = Date.now()
    const { realm, world, names } = replicas
    await (await replicas.replica()).service.close()
    const former = realm.identity('former', {
      roles: ['revoker'],
      issuedAtMs: now - 2 * HOUR,
      expiresAtMs: now - HOUR,
    })
    const good = world.revocation(realm.identity('mallory'), { since: now })
    const late = world.revocation(
      realm.identity('alice'),
      { since: now },
      { signer: former, token: former.token },
    )
    const endorsement = engine.randomBytes(64)
    const broker = await realm.connection()
    for (const statement of [good, late])
      await broker.request(names.revocations, encodeEndorsed({ statement, endorsement }))
    const replica = await replicas.replica()
    await leads(replica)
    expect(held(replica)).toEqual([good])
    expect(troubles(replica).join()).toContain('1 entries that count for nothing')
  })
})
