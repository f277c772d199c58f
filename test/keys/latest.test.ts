import { beforeEach, describe, expect, it } from 'vitest'
import { engine } from '../support/identities.ts'
import { codeOf, DAY, HOUR, MINUTE, T0, World } from '../support/statements.ts'

let world: World
beforeEach(() => {
  world = new World()
})

/** The clock is set back, or behind: the latest time that was confirmed is ahead of it by so much. */
const confirmed = (ms: number): void => {
  world.latestMs = ms
}

describe('by the latest time, where the clock is behind it,', () => {
  const soon = { expiresAtMs: T0 + MINUTE }

  it('a token has expired, and one from the future is judged by the clock all the same', () => {
    const { token } = world.identity('alice', soon)
    const early = world.identity('alice', { issuedAtMs: T0 + 120_000 }).token
    const tooEarly = world.identity('alice', { issuedAtMs: T0 + 121_000 }).token
    const verify = (one: string, notBeforeMs: number) => world.trust.verify(one, T0, notBeforeMs)
    expect(verify(token, T0 + MINUTE - 1).name).toBe('alice')
    expect(codeOf(() => verify(token, T0 + MINUTE))).toBe('ERR_TOKEN_EXPIRED')
    expect(verify(early, T0 + HOUR).name).toBe('alice')
    expect(codeOf(() => verify(tooEarly, T0 + HOUR))).toBe('ERR_TOKEN_INVALID')
  })

  it('an announcement is not taken in under a token that has expired, and one that is held counts no more', () => {
    const alice = world.identity('alice', soon)
    const epoch = world.epoch()
    const [held, other] = [world.announcement(alice, epoch), world.announcement(alice, epoch)]
    world.directory.add(held.bytes, T0)
    expect(world.directory.sender(held.hash, T0).standing).toBe('known')
    confirmed(T0 + MINUTE)
    expect(world.directory.add(other.bytes, T0)).toBeUndefined()
    expect(world.directory.sender(held.hash, T0).standing).toBe('refused')
    expect(world.directory.live(T0)).toEqual([])
    expect(world.directory.absences('orders.new', T0)).toEqual([
      { name: 'alice', why: 'its identity token has expired' },
    ])
  })

  it('an audience that was found before ends with its epoch', () => {
    const epoch = world.epoch()
    world.directory.add(world.announcement(world.identity('bob'), epoch).bytes, T0)
    expect(world.directory.audience('orders.new', T0)?.members).toHaveLength(1)
    confirmed(epoch.notAfter)
    expect(world.directory.audience('orders.new', T0)).toBeUndefined()
  })

  it('an audience that was found while the clock was ahead is looked for again', () => {
    const next = world.epoch(2)
    const bob = world.identity('bob')
    const instance = engine.randomBytes(8)
    for (const epoch of [world.epoch(1), next])
      world.directory.add(world.announcement(bob, epoch, { instance }).bytes, next.notBefore)
    expect(world.directory.audience('orders.new', next.notBefore)?.epoch.number).toBe(2)
    expect(world.directory.audience('orders.new', T0)?.epoch.number).toBe(1)
  })

  it('an epoch is over', () => {
    const [epoch] = world.epochs.current(T0)
    confirmed(T0 + HOUR - 1)
    expect(world.epochs.current(T0)).toEqual([epoch])
    confirmed(T0 + HOUR)
    expect(world.epochs.current(T0)).toEqual([])
  })

  it('a revoker whose token has expired revokes nobody, and a revocation that is over is not taken in', () => {
    const alice = world.identity('alice')
    const guard = world.identity('guard', { ...soon, roles: ['revoker'] })
    const bytes = world.revocation(alice, {}, { signer: guard, token: guard.token })
    const over = world.revocation(alice, { until: T0 + MINUTE })
    confirmed(T0 + MINUTE)
    expect(world.revocations.add(bytes, T0)).toBeUndefined()
    expect(world.revocations.add(over, T0)).toBeUndefined()
    expect(world.revocations.isRevoked(alice.claims)).toBe(false)
    // What the whole set of the service holds is judged as of the tick that names it, and agents agree with it.
    expect(world.revocations.take(over, T0)).toBeDefined()
    expect(world.revocations.take(bytes, T0)).toBeDefined()
  })

  it('a revoker whose token has expired has revoked whom it had revoked', () => {
    const alice = world.identity('alice')
    const guard = world.identity('guard', { ...soon, roles: ['revoker'] })
    world.revocations.add(world.revocation(alice, {}, { signer: guard, token: guard.token }), T0)
    confirmed(T0 + DAY)
    expect(world.revocations.isRevoked(alice.claims)).toBe(true)
  })
})
