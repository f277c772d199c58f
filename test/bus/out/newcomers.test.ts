import { describe, expect, it } from 'vitest'
import { hex } from '../../../src/base/bytes.ts'
import {
  MAX_NEWCOMERS_PER_INSTANCE,
  MAX_ORDERS_PER_EPOCH,
  NEWCOMER_REFILL_MS,
  NEWCOMER_SUCCESSION_MS,
} from '../../../src/base/limits.ts'
import { Newcomers } from '../../../src/bus/out/newcomers.ts'
import type { RecipientKey } from '../../../src/envelope/keys.ts'
import type { Audience, AudienceMember } from '../../../src/keys/directory.ts'
import type { Epoch } from '../../../src/keys/epochs.ts'
import { houseClock, ManualClock } from '../../support/clock.ts'
import { engine } from '../../support/identities.ts'

const MAX_INSTANCES = 16
const AT_ONCE = MAX_NEWCOMERS_PER_INSTANCE * MAX_INSTANCES
const epochOf = (number: number): Epoch => ({ number, hash: new Uint8Array(32).fill(number) }) as Epoch

function member(name: string, instanceBytes = engine.randomBytes(8)): AudienceMember {
  const key: RecipientKey = {
    kid: engine.randomBytes(16),
    context: { sealed: new Uint8Array(0), handshake: new Uint8Array(0) },
    publicKey: new Uint8Array(32),
  }
  const announcementHash = engine.randomBytes(32)
  const instance = hex(instanceBytes)
  return { name, instance, instanceBytes, key, announcementHash, maxInstances: MAX_INSTANCES }
}

function setUp() {
  const clock = new ManualClock()
  const told: string[] = []
  const newcomers = new Newcomers(houseClock(clock), ({ instance }) => told.push(instance))
  const audience = (members: readonly AudienceMember[], number = 1): Audience => ({
    epoch: epochOf(number),
    members,
  })
  return { clock, newcomers, audience, told }
}

describe('new instances', () => {
  it('are taken in at once, and the audience stays the same object, as long as they are not too many', () => {
    const { newcomers, audience } = setUp()
    const crowd = audience(Array.from({ length: 2000 }, (_, i) => member(`agent${i % 200}`)))
    expect(newcomers.settle(crowd)).toBe(crowd)
    const workers = audience(Array.from({ length: AT_ONCE }, () => member('workers')))
    expect(newcomers.settle(workers)).toBe(workers)
    expect(newcomers.waiting(workers)).toEqual([])
  })

  it('of an agent that has started too many wait, and come in one by one; those of others do not wait', () => {
    const { clock, newcomers, audience } = setUp()
    const many = Array.from({ length: AT_ONCE + 3 }, () => member('mary'))
    const all = audience([...many, member('alice')])
    const settled = newcomers.settle(all)
    expect(settled.members).toHaveLength(AT_ONCE + 1)
    expect(settled.members.at(-1)?.name).toBe('alice')
    expect(newcomers.waiting(all)).toEqual(['mary', 'mary', 'mary'])
    // The same object while nothing changes: sessions are kept for it.
    expect(newcomers.settle(all)).toBe(settled)
    clock.advance(NEWCOMER_REFILL_MS / MAX_INSTANCES)
    expect(newcomers.settle(all).members).toHaveLength(AT_ONCE + 2)
    expect(newcomers.settle(audience([member('bob'), ...all.members])).members).toHaveLength(AT_ONCE + 3)
  })

  it('take the place of all others of their agent that have gone, the newest one and now and then, and are told of once', () => {
    const { clock, newcomers, audience, told } = setUp()
    const alone = (one: AudienceMember): number => newcomers.settle(audience([one])).members.length
    for (let i = 0; i < AT_ONCE; i++) expect(alone(member('mary'))).toBe(1)
    const [newest, older, waits] = [member('mary'), member('mary'), member('mary')]
    expect(newcomers.settle(audience([newest, older])).members).toEqual([newest])
    expect(told).toEqual([older.instance])
    // In the audience of another subject it is there at once.
    expect(alone(newest)).toBe(1)
    expect([alone(waits), alone(waits)]).toEqual([0, 0])
    expect(told).toEqual([older.instance, waits.instance])
    clock.advance(NEWCOMER_SUCCESSION_MS)
    expect(alone(waits)).toBe(1)
  })

  it('are not those that announce themselves for another epoch, and are those that announce again in the same one', () => {
    const { newcomers, audience } = setUp()
    const instances = Array.from({ length: AT_ONCE }, () => engine.randomBytes(8))
    const announced = (): AudienceMember[] => instances.map((instance) => member('mary', instance))
    expect(newcomers.settle(audience(announced(), 1)).members).toHaveLength(AT_ONCE)
    for (let epoch = 2; epoch < 9; epoch++)
      expect(newcomers.settle(audience(announced(), epoch)).members).toHaveLength(AT_ONCE)
    // One for all that have gone.
    expect(newcomers.settle(audience(announced(), 8)).members).toHaveLength(1)
  })

  it('are not kept waiting by orders for fresh keys, three of which an epoch may have', () => {
    const { newcomers, audience } = setUp()
    const all = Array.from({ length: MAX_INSTANCES }, () => engine.randomBytes(8))
    for (let order = 0; order <= MAX_ORDERS_PER_EPOCH; order++) {
      const fresh = all.map((instance) => member('mary', instance))
      expect(newcomers.settle(audience(fresh)).members).toHaveLength(MAX_INSTANCES)
    }
  })

  it('that come and go 256 times in 21 minutes make few other audiences of a thousand, and none of the thousand waits', () => {
    const { clock, newcomers, audience } = setUp()
    const thousand = Array.from({ length: 1000 }, (_, i) => member(`agent${i}`))
    const seen = new Set<string>()
    const settle = (members: readonly AudienceMember[]): void => {
      const settled = newcomers.settle(audience(members))
      const newest = settled.members.at(1000)
      expect([newest?.name ?? 'mary', settled.members[999]]).toEqual(['mary', thousand[999]])
      seen.add(newest?.instance ?? 'none')
    }
    for (let i = 0; i < 256; i++) {
      settle([...thousand, member('mary')])
      settle(thousand)
      clock.advance((21 * 60_000) / 256)
    }
    const inTheMeantime = (21 * 60_000 * MAX_INSTANCES) / NEWCOMER_REFILL_MS
    const succeeded = (21 * 60_000) / NEWCOMER_SUCCESSION_MS
    expect(seen.size).toBeLessThanOrEqual(1 + AT_ONCE + Math.ceil(inTheMeantime + succeeded))
  })
})
