import { beforeEach, describe, expect, it } from 'vitest'
import { MAX_NONCES_PER_TICK } from '../../src/base/limits.ts'
import type { Signer } from '../../src/identity/signing-key.ts'
import { namesEpoch, signTick, TickOrder, verifyTick } from '../../src/keys/ticks.ts'
import type { Tick } from '../../src/wire/statements.ts'
import { engine, newAuthority } from '../support/identities.ts'
import { codeOf, T0, World } from '../support/statements.ts'

function tickAt(now: number, nonces: readonly Uint8Array[] = []): Tick {
  return {
    realm: newAuthority().publicKey,
    number: 1,
    epochHash: new Uint8Array(32),
    revocationsHash: new Uint8Array(32),
    now,
    nonces,
  }
}

describe('the signature of a tick', () => {
  const world = new World()
  const tick = { ...tickAt(T0), realm: world.realm }
  const verify = (bytes: Uint8Array, nowMs = T0, at: World = world): Tick =>
    verifyTick({ engine, trust: at.trust, revocations: at.revocations }, bytes, nowMs)
  const signed = (signer: Signer, token: string, changes: Partial<Tick> = {}): Uint8Array =>
    signTick(signer, { ...tick, ...changes }, token)

  it('is that of a rotator', () => {
    expect(verify(signed(world.rotator, world.rotator.token))).toEqual(tick)
  })

  it('is refused from another key, without the role, and from the authority itself', () => {
    const alice = world.identity('alice')
    expect(codeOf(() => verify(signed(alice, world.rotator.token)))).toBe('ERR_EPOCH_INVALID')
    expect(codeOf(() => verify(signed(alice, alice.token)))).toBe('ERR_EPOCH_INVALID')
    const revoker = world.identity('guard', { roles: ['revoker'] })
    expect(codeOf(() => verify(signed(revoker, revoker.token)))).toBe('ERR_EPOCH_INVALID')
    const anchor = signTick(world.authority, tick, '')
    expect(codeOf(() => verify(anchor))).toBe('ERR_TOKEN_INVALID')
  })

  it('is refused for another realm, with an expired token, and from a revoked rotator', () => {
    const foreign = signed(world.rotator, world.rotator.token, { realm: newAuthority().publicKey })
    expect(codeOf(() => verify(foreign))).toBe('ERR_EPOCH_INVALID')
    const late = world.rotator.claims.expiresAt * 1000
    expect(codeOf(() => verify(signed(world.rotator, world.rotator.token), late))).toBe('ERR_TOKEN_EXPIRED')
    const other = new World({ like: world })
    other.revocations.add(world.revocation(world.rotator), T0)
    expect(codeOf(() => verify(signed(world.rotator, world.rotator.token), T0, other))).toBe('ERR_REVOKED')
  })

  it('does not serve as that of an epoch', () => {
    const bytes = signed(world.rotator, world.rotator.token)
    expect(codeOf(() => world.chain.peek(bytes))).toBe('ERR_MALFORMED')
  })

  it('names exactly one epoch', () => {
    const hash = engine.randomBytes(32)
    expect(namesEpoch({ ...tick, number: 3, epochHash: hash }, { number: 3, hash })).toBe(true)
    expect(namesEpoch({ ...tick, number: 4, epochHash: hash }, { number: 3, hash })).toBe(false)
    expect(namesEpoch({ ...tick, number: 3 }, { number: 3, hash })).toBe(false)
  })
})

describe('the order of ticks', () => {
  let order: TickOrder
  beforeEach(() => {
    order = new TickOrder()
  })

  it('counts a tick within 120 s of the own clock, on either side', () => {
    for (const skew of [-120_000, 0, 120_000]) expect(order.standing(tickAt(T0 + skew), T0)).toBe('counts')
    for (const skew of [-120_001, 120_001]) expect(order.standing(tickAt(T0 + skew), T0)).toBe('skewed')
  })

  it('counts only a tick that is later than the last one that counted', () => {
    order.count(tickAt(T0))
    expect(order.standing(tickAt(T0), T0)).toBe('old')
    expect(order.standing(tickAt(T0 - 1), T0)).toBe('old')
    expect(order.standing(tickAt(T0 + 1), T0)).toBe('counts')
  })

  it('counts a tick with an own nonce in any order, but once, and never beyond 120 s', () => {
    const nonce = engine.randomBytes(16)
    order.expect(nonce)
    order.count(tickAt(T0 + 1000))
    const answer = tickAt(T0, [engine.randomBytes(16), nonce])
    expect(order.answers(answer)).toBe(true)
    expect(order.standing(answer, T0)).toBe('counts')
    expect(order.standing(answer, T0 + 120_001)).toBe('skewed')
    order.count(answer)
    expect(order.answers(answer)).toBe(false)
    expect(order.standing(answer, T0)).toBe('old')
    // The earlier one does not take back what was counted before.
    expect(order.standing(tickAt(T0 + 1000), T0)).toBe('old')
  })

  it('does not count another agent’s nonce as its own', () => {
    order.expect(engine.randomBytes(16))
    order.count(tickAt(T0))
    expect(order.standing(tickAt(T0 - 5, [engine.randomBytes(16)]), T0)).toBe('old')
  })

  it('remembers a bounded number of own nonces, the newest ones', () => {
    const nonces = Array.from({ length: MAX_NONCES_PER_TICK + 1 }, () => engine.randomBytes(16))
    for (const nonce of nonces) order.expect(nonce)
    expect(order.answers(tickAt(T0, nonces.slice(0, 1)))).toBe(false)
    expect(order.answers(tickAt(T0, nonces.slice(1, 2)))).toBe(true)
  })

  it('counts none of the own nonces any more once they are given up', () => {
    const nonce = engine.randomBytes(16)
    order.expect(nonce)
    order.count(tickAt(T0 + 1))
    expect(order.standing(tickAt(T0, [nonce]), T0)).toBe('counts')
    order.expectNone()
    expect(order.answers(tickAt(T0, [nonce]))).toBe(false)
    expect(order.standing(tickAt(T0, [nonce]), T0)).toBe('old')
  })
})
