import { beforeEach, describe, expect, it } from 'vitest'
import { MAX_NONCES_PER_TICK, STALE_AFTER_MS } from '../../src/base/limits.ts'
import type { Signer } from '../../src/identity/signing-key.ts'
import { Freshness, namesEpoch, signTick, verifyTick } from '../../src/keys/ticks.ts'
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

describe('freshness', () => {
  let freshness: Freshness
  beforeEach(() => {
    freshness = new Freshness()
  })

  it('is stale before the first tick', () => {
    expect(freshness.isStale(0)).toBe(true)
    expect(freshness.staleIn(0)).toBe(0)
  })

  it('counts a tick within 120 s of the own clock, on either side', () => {
    for (const skew of [-120_000, 0, 120_000])
      expect(freshness.standing(tickAt(T0 + skew), T0)).toBe('counts')
    for (const skew of [-120_001, 120_001]) expect(freshness.standing(tickAt(T0 + skew), T0)).toBe('skewed')
  })

  it('counts only a tick that is later than the last one that counted', () => {
    freshness.count(tickAt(T0), 0)
    expect(freshness.standing(tickAt(T0), T0)).toBe('old')
    expect(freshness.standing(tickAt(T0 - 1), T0)).toBe('old')
    expect(freshness.standing(tickAt(T0 + 1), T0)).toBe('counts')
  })

  it('counts a tick with an own nonce in any order, but once, and never beyond 120 s', () => {
    const nonce = engine.randomBytes(16)
    freshness.expect(nonce)
    freshness.count(tickAt(T0 + 1000), 0)
    const answer = tickAt(T0, [engine.randomBytes(16), nonce])
    expect(freshness.answers(answer)).toBe(true)
    expect(freshness.standing(answer, T0)).toBe('counts')
    expect(freshness.standing(answer, T0 + 120_001)).toBe('skewed')
    freshness.count(answer, 10)
    expect(freshness.answers(answer)).toBe(false)
    expect(freshness.standing(answer, T0)).toBe('old')
    // The earlier one does not take back what was counted before.
    expect(freshness.standing(tickAt(T0 + 1000), T0)).toBe('old')
  })

  it('does not count another agent’s nonce as its own', () => {
    freshness.expect(engine.randomBytes(16))
    freshness.count(tickAt(T0), 0)
    expect(freshness.standing(tickAt(T0 - 5, [engine.randomBytes(16)]), T0)).toBe('old')
  })

  it('remembers a bounded number of own nonces, the newest ones', () => {
    const nonces = Array.from({ length: MAX_NONCES_PER_TICK + 1 }, () => engine.randomBytes(16))
    for (const nonce of nonces) freshness.expect(nonce)
    expect(freshness.answers(tickAt(T0, nonces.slice(0, 1)))).toBe(false)
    expect(freshness.answers(tickAt(T0, nonces.slice(1, 2)))).toBe(true)
  })

  it('ends 90 s after the last one on the monotonic clock, whatever the wall clock says', () => {
    freshness.count(tickAt(T0), 5000)
    expect(freshness.isStale(5000 + STALE_AFTER_MS)).toBe(false)
    expect(freshness.isStale(5000 + STALE_AFTER_MS + 1)).toBe(true)
    expect(freshness.staleIn(5000 + STALE_AFTER_MS - 7)).toBe(7)
    freshness.count(tickAt(T0 + 1), 200_000)
    expect(freshness.isStale(200_000)).toBe(false)
  })
})
