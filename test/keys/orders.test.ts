import { describe, expect, it } from 'vitest'
import { CLOCK_WINDOW_MS, MIN_ORDER_INTERVAL_MS } from '../../src/base/limits.ts'
import { generateSigningKey, type Signer } from '../../src/identity/signing-key.ts'
import { Trust } from '../../src/identity/trust.ts'
import { OrdersFollowed, peekOrder, signOrder, verifyOrder } from '../../src/keys/orders.ts'
import { WireType } from '../../src/wire/preamble.ts'
import {
  decodeStatement,
  encodeOrder,
  encodeStatement,
  type Order,
  type SignedStatement,
} from '../../src/wire/statements.ts'
import { engine, newAuthority } from '../support/identities.ts'
import { codeOf, T0 } from '../support/statements.ts'

const authority = newAuthority()
const [rotator, second, stranger] = [0, 1, 2].map(() => generateSigningKey(engine, 'U').key)
if (rotator === undefined || second === undefined || stranger === undefined) throw new Error('no keys')
const plan = { rotators: [rotator.publicKey, second.publicKey].sort() }
const order: Order = { realm: authority.publicKey, number: 7, epochHash: engine.randomBytes(32), at: T0 }

function verify(
  bytes: Uint8Array,
  options: { readonly revoked?: string; readonly trust?: Trust; readonly rotators?: readonly string[] } = {},
): Order | undefined {
  const { revoked, rotators = plan.rotators } = options
  const { trust = new Trust(engine, { authority: [authority.publicKey] }) } = options
  const revocations = { revokedByAuthority: (identity: string) => identity === revoked }
  return verifyOrder({ engine, trust, plan: { rotators }, revocations }, bytes)
}

const forced = (statement: Partial<SignedStatement>): Uint8Array =>
  encodeStatement(WireType.order, {
    ...decodeStatement(WireType.order, signOrder(authority, order)),
    ...statement,
  })

describe('an order for fresh keys', () => {
  it('is given by an authority, or by any rotation service of the plan', () => {
    for (const signer of [authority, rotator, second]) {
      const bytes = signOrder(signer, order)
      expect(verify(bytes)).toEqual(order)
      expect(peekOrder(bytes)).toEqual(order)
    }
  })

  it.each<[string, Signer]>([
    ['a stranger', stranger],
    ['another authority', newAuthority()],
  ])('is not given by %s', (_, signer) => {
    expect(verify(signOrder(signer, order))).toBeUndefined()
  })

  it('is not given by a rotation service that has left the plan, or that an authority has revoked', () => {
    const bytes = signOrder(rotator, order)
    expect(verify(bytes, { rotators: [second.publicKey] })).toBeUndefined()
    expect(verify(bytes, { revoked: rotator.publicKey })).toBeUndefined()
    expect(verify(signOrder(second, order), { revoked: rotator.publicKey })).toEqual(order)
  })

  it('is given by the key of the realm under pins, and by no other', () => {
    const trust = new Trust(engine, { realm: rotator.publicKey, pins: {} })
    const pinned = { ...order, realm: rotator.publicKey }
    const rotators = [rotator.publicKey]
    expect(verify(signOrder(rotator, pinned), { trust, rotators })).toEqual(pinned)
    expect(verify(signOrder(second, pinned), { trust, rotators })).toBeUndefined()
  })

  it('is of one realm, whoever trusts the same authority', () => {
    const foreign = { ...order, realm: newAuthority().publicKey }
    expect(verify(signOrder(authority, foreign))).toBeUndefined()
  })

  it('covers every field', () => {
    for (const changes of [{ number: 8 }, { epochHash: engine.randomBytes(32) }, { at: T0 + 1 }])
      expect(verify(forced({ structure: encodeOrder({ ...order, ...changes }) }))).toBeUndefined()
  })

  it('is no other statement, and no other statement is one', () => {
    const structure = encodeOrder(order)
    expect(verify(forced({ signature: authority.sign(structure) }))).toBeUndefined()
    const signed = decodeStatement(WireType.order, signOrder(authority, order))
    const revocation = encodeStatement(WireType.revocation, signed)
    expect(codeOf(() => verify(revocation))).toBe('ERR_MALFORMED')
    expect(codeOf(() => verify(forced({ token: 'a.b.c' })))).toBe('ERR_MALFORMED')
  })
})

describe('which orders an instance follows', () => {
  const at = (ms: number, epochHash = order.epochHash): Order => ({ ...order, at: T0 + ms, epochHash })

  it('are those of about now by its clock', () => {
    const followed = new OrdersFollowed()
    expect(followed.mayFollow(at(0), T0 + CLOCK_WINDOW_MS)).toBe(true)
    expect(followed.mayFollow(at(0), T0 - CLOCK_WINDOW_MS)).toBe(true)
    expect(followed.mayFollow(at(0), T0 + CLOCK_WINDOW_MS + 1)).toBe(false)
    expect(followed.mayFollow(at(0), T0 - CLOCK_WINDOW_MS - 1)).toBe(false)
  })

  it('are three in an epoch, a minute apart, the later after the earlier', () => {
    const followed = new OrdersFollowed()
    const follow = (ms: number): boolean => {
      const may = followed.mayFollow(at(ms), T0 + ms)
      if (may) followed.note(at(ms))
      return may
    }
    const apart = MIN_ORDER_INTERVAL_MS
    expect([0, 0, apart - 1, apart, apart / 2, 3 * apart].map(follow)).toEqual([
      true,
      false,
      false,
      true,
      false,
      true,
    ])
    expect(follow(9 * apart)).toBe(false)
  })

  it('are counted for each epoch by itself, for as long as it is held', () => {
    const followed = new OrdersFollowed()
    const other = engine.randomBytes(32)
    followed.note(at(0))
    expect(followed.mayFollow(at(1), T0)).toBe(false)
    expect(followed.mayFollow(at(1, other), T0)).toBe(true)
    followed.keepOnly([{ hash: order.epochHash }])
    expect(followed.mayFollow(at(1), T0)).toBe(false)
    followed.keepOnly([{ hash: other }])
    expect(followed.mayFollow(at(1), T0)).toBe(true)
  })

  it('are not used up by those that were only asked about', () => {
    const followed = new OrdersFollowed()
    for (let i = 0; i < 10; i++) expect(followed.mayFollow(at(0), T0)).toBe(true)
  })
})
