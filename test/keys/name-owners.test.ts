import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MAX_NAMES_REMEMBERED, OWNERS_KEPT_MS, WRITE_AGAIN_MS } from '../../src/base/limits.ts'
import type { IdentityClaims } from '../../src/identity/token.ts'
import { mergeOwners, type NameMoved, type NameOwner, NameOwners } from '../../src/keys/name-owners.ts'
import { ManualClock } from '../support/clock.ts'
import { EVERYTHING } from '../support/identities.ts'

/** Claims of an identity, called by a letter, whose name was first issued at `since` and this token at `issuedAt`. */
function claims(
  identity: string,
  since: number,
  issuedAt = since,
  rest: Partial<Pick<IdentityClaims, 'succeeds' | 'roles'>> = {},
): IdentityClaims {
  return {
    realm: 'A',
    name: 'billing',
    identity,
    issuer: 'A',
    roles: [],
    permissions: EVERYTHING,
    maxInstances: 16,
    since,
    succeeds: [],
    plan: undefined,
    issuedAt,
    expiresAt: issuedAt + 1000,
    ...rest,
  }
}

interface Setting {
  readonly owners: NameOwners
  readonly moved: NameMoved[]
  readonly errors: unknown[]
  /** What is in force: identity and up to when its tokens are covered. */
  readonly revoked: Map<string, number>
  readonly clock: ManualClock
  readonly kept: (readonly [string, NameOwner])[][]
}

function setting(
  options: {
    readonly remembered?: readonly (readonly [string, NameOwner])[]
    readonly isByPins?: boolean
    readonly keep?: () => void
    readonly leftOut?: number
  } = {},
): Setting {
  const { remembered = [], isByPins = false, keep = () => {}, leftOut = 0 } = options
  const [moved, errors, kept, clock] = [
    [] as NameMoved[],
    [] as unknown[],
    [] as (readonly [string, NameOwner])[][],
    new ManualClock(),
  ]
  const revoked = new Map<string, number>()
  const owners = new NameOwners({
    trust: { isByPins },
    revocations: {
      covers: ({ identity, issuedAt, isRotator }) => !isRotator && issuedAt <= (revoked.get(identity) ?? -1),
    },
    clock,
    state: {
      owners: new Map(remembered),
      keepOwners: (all) => {
        keep()
        kept.push([...all])
        return leftOut
      },
    },
    onMoved: (event) => moved.push(event),
    onError: (error) => errors.push(error),
  })
  return { owners, moved, errors, revoked, clock, kept }
}

describe('a name', () => {
  it('stays with its owner when that one is renewed, is away, or has no token in force any more', () => {
    const { owners, moved } = setting()
    const [x, y] = [claims('X', 100), claims('Y', 200)]
    expect(owners.ownerOf('billing', [x])).toBe('X')
    expect(owners.ownerOf('billing', [claims('X', 100, 300), y])).toBe('X')
    expect(owners.ownerOf('billing', [y])).toBe('X')
    expect(owners.ownerOf('billing', [])).toBe('X')
    expect(moved).toEqual([])
  })

  it('is of whom the authority has given it to last, where it went there and back', () => {
    const back = { ...claims('X', 100, 300), succeeds: ['Y'] }
    const there = { ...claims('Y', 200, 200), succeeds: ['X'] }
    const { owners, moved } = setting()
    owners.ownerOf('billing', [claims('X', 100)])
    expect(owners.ownerOf('billing', [claims('X', 100), there])).toBe('Y')
    for (let i = 0; i < 3; i++) expect(owners.ownerOf('billing', [there, back])).toBe('X')
    expect(moved.map(({ from, to }) => [from, to])).toEqual([
      ['X', 'Y'],
      ['Y', 'X'],
    ])
    // Whoever has seen nothing of it agrees, in whatever order it hears of them.
    for (const proved of [
      [there, back],
      [back, there],
    ]) {
      const later = setting().owners
      for (const one of proved) later.ownerOf('billing', [one])
      expect([later.ownerOf('billing', proved), setting().owners.ownerOf('billing', proved)]).toEqual([
        'X',
        'X',
      ])
    }
  })

  it('goes to the earliest of the others when its owner is revoked, and not back when that is forgotten', () => {
    const { owners, moved, revoked } = setting()
    owners.ownerOf('billing', [claims('X', 100)])
    revoked.set('X', 150)
    owners.review()
    revoked.clear()
    expect(owners.ownerOf('billing', [])).toBeUndefined()
    expect(owners.ownerOf('billing', [claims('Z', 300), claims('Y', 200)])).toBe('Y')
    expect(owners.ownerOf('billing', [claims('Z', 300)])).toBe('Y')
    // It proves itself again, by the token that was revoked and by a newer one.
    for (const x of [claims('X', 100), claims('X', 100, 900)])
      expect(owners.ownerOf('billing', [x, claims('Y', 200)])).toBe('Y')
    expect(moved).toEqual([{ name: 'billing', from: 'X', to: 'Y', why: 'revoked' }])
  })

  it('stays with an owner whose newest token that was seen is not covered by its revocation', () => {
    const { owners, revoked } = setting()
    owners.ownerOf('billing', [claims('X', 100)])
    owners.ownerOf('billing', [claims('X', 100, 300)])
    revoked.set('X', 299)
    expect(owners.ownerOf('billing', [claims('Y', 200)])).toBe('X')
    revoked.set('X', 300)
    expect(owners.ownerOf('billing', [claims('Y', 200)])).toBe('Y')
  })

  it('comes back to an identity whose tokens were covered when it proves itself by a newer one, first of all', () => {
    const { owners, moved, revoked } = setting()
    owners.ownerOf('billing', [claims('X', 100)])
    revoked.set('X', 150)
    expect(owners.ownerOf('billing', [claims('X', 100, 200)])).toBe('X')
    expect(owners.ownerOf('billing', [claims('Y', 120)])).toBe('X')
    expect(moved).toEqual([])
  })

  it('does not come back by a token that was covered, when the revocation is forgotten', () => {
    const { owners, revoked } = setting()
    owners.ownerOf('billing', [claims('X', 100)])
    revoked.set('X', 150)
    owners.review()
    revoked.clear()
    expect(owners.ownerOf('billing', [claims('X', 100)])).toBeUndefined()
  })

  it('goes at once to an identity of which the authority says that it succeeds the owner, and never back', () => {
    const { owners, moved } = setting()
    owners.ownerOf('billing', [claims('X', 100)])
    const z = claims('Z', 900, 900, { succeeds: ['W', 'X'] })
    expect(owners.ownerOf('billing', [claims('X', 100), z])).toBe('Z')
    expect(owners.ownerOf('billing', [claims('X', 100, 999)])).toBe('Z')
    expect(owners.ownerOf('billing', [claims('W', 50)])).toBe('Z')
    expect(moved).toEqual([{ name: 'billing', from: 'X', to: 'Z', why: 'succeeded' }])
    // Whoever hears of it first, too.
    const other = setting()
    expect(other.owners.ownerOf('billing', [z])).toBe('Z')
    expect(other.owners.ownerOf('billing', [claims('X', 100)])).toBe('Z')
    expect(other.moved).toEqual([])
  })

  it('goes to the successor of its owner, and not to a third identity that is earlier than that one', () => {
    for (const isOver of [false, true]) {
      const { owners, revoked } = setting()
      owners.ownerOf('billing', [claims('K', 10)])
      if (isOver) revoked.set('K', 10)
      const s = claims('S', 30, 30, { succeeds: ['K'] })
      expect(owners.ownerOf('billing', [claims('E', 20), s])).toBe('S')
    }
  })

  it('of a rotation service is not freed by what does not reach it, and nothing is written again and again', () => {
    const { owners, revoked, clock, kept } = setting()
    const rotator = claims('X', 100, 100, { roles: ['rotator'] })
    owners.ownerOf('billing', [rotator])
    clock.advance(OWNERS_KEPT_MS)
    revoked.set('X', 150)
    for (let i = 0; i < 5; i++) {
      expect(owners.ownerOf('billing', [rotator, claims('Y', 200)])).toBe('X')
      owners.review()
      clock.advance(OWNERS_KEPT_MS)
    }
    expect(kept.length).toBe(1)
  })

  it('goes to an identity that had it before, which is reported', () => {
    const { owners, moved } = setting()
    owners.ownerOf('billing', [claims('Y', 200)])
    expect(owners.ownerOf('billing', [claims('X', 100, 500)])).toBe('X')
    expect(owners.ownerOf('billing', [claims('A', 100), claims('X', 100)])).toBe('A')
    expect(moved).toEqual([
      { name: 'billing', from: 'Y', to: 'X', why: 'earlier' },
      { name: 'billing', from: 'X', to: 'A', why: 'earlier' },
    ])
  })

  it('has one owner for all who have heard of the same identities, in whatever order they heard of them and of revocations', () => {
    const identities = fc.uniqueArray(
      fc.record({ identity: fc.constantFrom(...'ABCDEF'), since: fc.nat(3), isRevoked: fc.boolean() }),
      { selector: ({ identity }) => identity, minLength: 1 },
    )
    const run = fc.tuple(identities, fc.infiniteStream(fc.nat(99)), fc.infiniteStream(fc.nat(99)))
    fc.assert(
      fc.property(run, ([all, one, other]) => {
        const good = all.filter(({ isRevoked }) => !isRevoked)
        const [first] = [...good].sort((a, b) => a.since - b.since || (a.identity < b.identity ? -1 : 1))
        for (const draws of [one, other]) {
          const { owners, revoked } = setting()
          const draw = (below: number): number => (draws.next().value ?? 0) % below
          const shuffled = [...all]
          for (let i = shuffled.length - 1; i > 0; i--) {
            const j = draw(i + 1)
            const [a, b] = [shuffled[i], shuffled[j]]
            if (a !== undefined && b !== undefined) [shuffled[i], shuffled[j]] = [b, a]
          }
          for (const { identity, since, isRevoked } of shuffled) {
            if (isRevoked && draw(2) === 0) revoked.set(identity, since)
            if (!revoked.has(identity)) owners.ownerOf('billing', [claims(identity, since)])
          }
          for (const { identity, since, isRevoked } of all) if (isRevoked) revoked.set(identity, since)
          // Of some it hears again, one after the other.
          for (const { identity, since } of good) owners.ownerOf('billing', [claims(identity, since)])
          expect(owners.ownerOf('billing', [])).toBe(first?.identity)
        }
      }),
    )
  })

  it('is judged by who is held alone under pins, which say themselves who has it', () => {
    const { owners, clock, kept } = setting({ isByPins: true })
    expect(owners.ownerOf('billing', [claims('X', 100)])).toBe('X')
    expect(owners.ownerOf('billing', [claims('Y', 200)])).toBe('Y')
    clock.advance(OWNERS_KEPT_MS)
    expect(kept).toEqual([])
  })

  it('is not remembered above so many: then it belongs to the earliest that is held', () => {
    const { owners } = setting()
    for (let i = 0; i < MAX_NAMES_REMEMBERED; i++) owners.ownerOf(`agent${i}`, [claims('X', 100)])
    expect(owners.ownerOf('billing', [claims('X', 100)])).toBe('X')
    expect(owners.ownerOf('billing', [claims('Y', 200)])).toBe('Y')
    expect(owners.ownerOf('agent0', [claims('Y', 200)])).toBe('X')
  })
})

describe('what is remembered of names', () => {
  const owner = { identity: 'X', since: 100, issuedAt: 100, isRotator: false, isOver: false, former: [] }

  it('counts in the next process', () => {
    const { owners, kept } = setting({ remembered: [['billing', owner]] })
    expect(owners.ownerOf('billing', [claims('Y', 200)])).toBe('X')
    owners.close()
    expect(kept).toEqual([])
  })

  it('is written together, some seconds after a change, and what is left of it at the end', () => {
    const { owners, clock, kept } = setting()
    owners.ownerOf('billing', [claims('X', 100)])
    owners.ownerOf('orders', [claims('O', 100)])
    clock.advance(OWNERS_KEPT_MS - 1)
    expect(kept).toEqual([])
    clock.advance(1)
    expect(kept.map((all) => all.map(([name]) => name))).toEqual([['billing', 'orders']])
    owners.ownerOf('billing', [claims('X', 100)])
    clock.advance(OWNERS_KEPT_MS)
    expect(kept.length).toBe(1)
    owners.ownerOf('billing', [claims('X', 100, 200)])
    owners.close()
    expect(kept.at(-1)?.[0]).toMatchObject(['billing', { identity: 'X', issuedAt: 200, isOver: false }])
    clock.advance(OWNERS_KEPT_MS)
    expect(kept.length).toBe(2)
  })

  it('is an error once where there is no room for all of it', () => {
    const { owners, errors, clock } = setting({ leftOut: 2 })
    for (const name of ['a', 'b', 'c']) {
      owners.ownerOf(name, [claims('X', 100)])
      clock.advance(OWNERS_KEPT_MS)
    }
    expect(errors).toEqual([
      expect.objectContaining({ code: 'ERR_STATE', message: expect.stringContaining('2 names') }),
    ])
  })

  it('is an error and no more where it cannot be written', () => {
    const failed = new Error('the disk is full')
    const { owners, clock, errors } = setting({
      keep: () => {
        throw failed
      },
    })
    owners.ownerOf('billing', [claims('X', 100)])
    clock.advance(OWNERS_KEPT_MS)
    expect(errors).toEqual([failed])
    expect(owners.ownerOf('billing', [claims('Y', 200)])).toBe('X')
  })

  it('is written again where that has failed, also at the end', () => {
    let isFull = true
    const { owners, clock, kept } = setting({
      keep: () => {
        if (isFull) throw new Error('the disk is full')
      },
    })
    owners.ownerOf('billing', [claims('X', 100)])
    clock.advance(OWNERS_KEPT_MS)
    isFull = false
    clock.advance(WRITE_AGAIN_MS - 1)
    expect(kept.length).toBe(0)
    clock.advance(1)
    expect(kept.length).toBe(1)
    isFull = true
    owners.ownerOf('orders', [claims('X', 100)])
    clock.advance(OWNERS_KEPT_MS)
    isFull = false
    owners.close()
    expect(kept.map((all) => all.length)).toEqual([1, 2])
  })
})

describe('what two processes remember of a name', () => {
  const owner = { identity: 'X', since: 100, issuedAt: 100, isRotator: false, isOver: false, former: [] }
  const both = (a: NameOwner, b: NameOwner): NameOwner => {
    const merged = mergeOwners(a, b)
    const { former, ...rest } = mergeOwners(b, a)
    expect({ ...rest, former: [...former].sort() }).toEqual({ ...merged, former: [...merged.former].sort() })
    return merged
  }

  it('is the earlier owner, whoever of them has written last', () => {
    const later = { ...owner, identity: 'Y', since: 200, issuedAt: 900 }
    expect(both(owner, later)).toEqual(owner)
  })

  it('is the owner of whoever knows that the other one has lost the name', () => {
    const next = { ...owner, identity: 'Y', since: 200, former: ['X'] }
    expect(both(owner, next)).toEqual(next)
    expect(both({ ...owner, isOver: true }, { ...next, former: [] })).toEqual(next)
  })

  it('is over where a revocation reaches the newest token that either has seen', () => {
    const over = { ...owner, isOver: true }
    expect(both(owner, over)).toEqual(over)
    expect(both({ ...owner, issuedAt: 200 }, over)).toEqual({ ...owner, issuedAt: 200 })
    expect(both({ ...over, issuedAt: 200 }, owner)).toEqual({ ...over, issuedAt: 200 })
  })
})
