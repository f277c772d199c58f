import { describe, expect, it } from 'vitest'
import type { NatsLike } from '../../src/bus/nats-like.ts'
import { startRotationService } from '../../src/rotation/service.ts'
import { memoryRotationStore, type RotationStore } from '../../src/rotation/store.ts'
import { WireType, wireType } from '../../src/wire/preamble.ts'
import { decodeStatement, decodeTick } from '../../src/wire/statements.ts'
import { ManualClock } from '../support/clock.ts'
import { newAuthority, newIdentity } from '../support/identities.ts'

/** What a service does to its store and to the network, in order. */
function watch(clock: ManualClock) {
  const log: string[] = []
  const ticks: number[] = []
  const kept = memoryRotationStore()
  const store: RotationStore = {
    ...kept,
    save(record) {
      log.push(`stored ${record.epochs.length}`)
      kept.save(record)
    },
    close() {},
  }
  const nc: NatsLike = {
    publish(_subject, payload = new Uint8Array(0)) {
      if (wireType(payload) === WireType.epoch) log.push('published')
      if (wireType(payload) === WireType.tick) {
        ticks.push(decodeTick(decodeStatement(WireType.tick, payload).structure).now - clock.now())
      }
    },
    subscribe: () => ({
      closed: new Promise(() => {}),
      unsubscribe() {},
      drain: async () => {},
      getID: () => 1,
    }),
    flush: async () => {},
    drain: async () => {},
    reconnect: async () => {},
    rtt: async () => 0,
    stats: () => ({ inBytes: 0, outBytes: 0, inMsgs: 0, outMsgs: 0 }),
    getServer: () => '',
    isClosed: () => false,
    isDraining: () => false,
    closed: () => new Promise(() => {}),
    status: async function* () {},
  }
  return { log, ticks, store, nc }
}

describe('a rotation service', () => {
  const authority = newAuthority()

  function options(clock: ManualClock, store: RotationStore) {
    const { identity } = newIdentity(authority, 'rotator', {
      issuedAtMs: clock.now() - 1000,
      roles: ['rotator'],
    })
    return { identity, trust: { authority: [authority.publicKey] }, clock, store }
  }

  it('stores an epoch before anybody sees it', async () => {
    const clock = new ManualClock()
    const { log, store, nc } = watch(clock)
    const service = await startRotationService(nc, options(clock, store))
    clock.advance(1000)
    await service.rotate()
    const firsts = ['stored 1', 'stored 2'].map((entry) => log.indexOf(entry))
    const published = log.flatMap((entry, i) => (entry === 'published' ? [i] : []))
    expect(published).toHaveLength(2)
    for (const [i, at] of published.entries()) expect(firsts[i]).toBeLessThan(at)
    expect(firsts.every((at) => at >= 0)).toBe(true)
    await service.close()
  })

  it('shows nobody an epoch that it could not store, and can try again', async () => {
    const clock = new ManualClock()
    const { log, store, nc } = watch(clock)
    let isFull = false
    const save = store.save.bind(store)
    const failing: RotationStore = {
      ...store,
      save(record) {
        if (isFull) throw new Error('no space left')
        save(record)
      },
    }
    const service = await startRotationService(nc, options(clock, failing))
    clock.advance(1000)
    isFull = true
    await expect(service.rotate()).rejects.toThrow('no space left')
    expect(service.epoch).toBe(1)
    expect(log.filter((entry) => entry === 'published')).toHaveLength(1)
    isFull = false
    expect(await service.rotate()).toBe(2)
    await service.close()
  })

  it('does not run ahead of the clock by being restarted often', async () => {
    const clock = new ManualClock()
    const { ticks, store, nc } = watch(clock)
    for (let restart = 0; restart < 20; restart++) {
      const service = await startRotationService(nc, options(clock, store))
      clock.advance(500)
      await service.close()
    }
    expect(Math.max(...ticks)).toBeLessThan(5000)
  })
})
