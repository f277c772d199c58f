import { describe, expect, it } from 'vitest'
import { REVOCATIONS_KEPT_MS } from '../../src/base/limits.ts'
import { KeptRevocations } from '../../src/keys/kept-revocations.ts'
import { ManualClock } from '../support/clock.ts'
import { HOUR, T0, World } from '../support/statements.ts'

function setting(
  options: {
    readonly held?: readonly Uint8Array[]
    readonly keep?: () => void
    readonly leftOut?: number
  } = {},
) {
  const { held = [], keep = () => {}, leftOut = 0 } = options
  const world = new World()
  const clock = new ManualClock(T0)
  const written: (readonly Uint8Array[])[] = []
  const errors: unknown[] = []
  const state = {
    revocations: held,
    keepRevocations: (all: readonly Uint8Array[]) => {
      keep()
      written.push(all)
      return leftOut
    },
  }
  const { revocations } = world
  const open = (): KeptRevocations =>
    new KeptRevocations({ revocations, clock, state, onError: (error) => errors.push(error) })
  return { world, clock, written, errors, state, open }
}

describe('the revocations that an agent keeps', () => {
  it('are in force in the next process, also when the token of their revoker has ended meanwhile', () => {
    const { world, state, open } = setting()
    const guard = world.identity('guard', { roles: ['revoker'], expiresAtMs: T0 + 1000 })
    const [alice, bob] = [world.identity('alice'), world.identity('bob')]
    const until = T0 + HOUR
    state.revocations = [world.revocation(alice, { until }, { signer: guard, token: guard.token })]
    open()
    expect([alice, bob].map(({ claims }) => world.revocations.isRevoked(claims))).toEqual([true, false])
  })

  it.each([
    ['behind', -48 * HOUR],
    ['ahead', 48 * HOUR],
  ])('are not lost to a clock that is %s when a process starts, nor when it writes', (_what, errorMs) => {
    const { world, clock, written, state, open } = setting()
    const all = ['a', 'b'].map((name) => world.revocation(world.identity(name), { until: T0 + HOUR }))
    state.revocations = all
    clock.jump(errorMs)
    const kept = open()
    kept.changed()
    clock.advance(REVOCATIONS_KEPT_MS)
    expect(written).toEqual([all])
    expect(world.revocations.inForce(T0)).toHaveLength(2)
    // When the right time has been confirmed they go.
    world.revocations.prune(T0 + 2 * HOUR)
    kept.changed()
    kept.close()
    expect(written.at(-1)).toEqual([])
  })

  it('are believed no more than others: somebody else signs none', () => {
    const { world, state, open } = setting()
    const mallory = world.identity('mallory')
    const alice = world.identity('alice')
    state.revocations = [
      world.revocation(alice, {}, { signer: mallory, token: mallory.token }),
      new Uint8Array(5),
    ]
    open()
    expect(world.revocations.isRevoked(alice.claims)).toBe(false)
  })

  it('are written together, a second after one came, and what is left of them at the end', () => {
    const { world, clock, written, open } = setting()
    const kept = open()
    const all = ['a', 'b'].map((name) => world.revocation(world.identity(name), { until: T0 + HOUR }))
    for (const bytes of all) {
      world.revocations.add(bytes, T0)
      kept.changed()
    }
    clock.advance(REVOCATIONS_KEPT_MS - 1)
    expect(written).toEqual([])
    clock.advance(1)
    expect(written).toHaveLength(1)
    expect(written[0]).toEqual(expect.arrayContaining(all))
    kept.changed()
    kept.close()
    expect(written).toHaveLength(2)
    kept.close()
    clock.advance(REVOCATIONS_KEPT_MS)
    expect(written).toHaveLength(2)
  })

  it('are an error and no more where they cannot be written', () => {
    const failed = new Error('the disk is full')
    const { clock, errors, open } = setting({
      keep: () => {
        throw failed
      },
    })
    open().changed()
    clock.advance(REVOCATIONS_KEPT_MS)
    expect(errors).toEqual([failed])
  })

  it('are written in the order of their weight: the authority’s first', () => {
    const { world, clock, written, open } = setting()
    const kept = open()
    const guard = world.identity('guard', { roles: ['revoker'] })
    const byRevoker = world.revocation(world.identity('a'), {}, { signer: guard, token: guard.token })
    const byAuthority = world.revocation(world.identity('b'))
    for (const bytes of [byRevoker, byAuthority]) world.revocations.add(bytes, T0)
    kept.changed()
    clock.advance(REVOCATIONS_KEPT_MS)
    expect(written).toEqual([[byAuthority, byRevoker]])
  })

  it('are an error once where there is no room for all of them', () => {
    const { clock, errors, open } = setting({ leftOut: 3 })
    const kept = open()
    for (let i = 0; i < 3; i++) {
      kept.changed()
      clock.advance(REVOCATIONS_KEPT_MS)
    }
    expect(errors).toEqual([
      expect.objectContaining({ code: 'ERR_STATE', message: expect.stringContaining('3 revocations') }),
    ])
  })
})
