import { beforeEach, describe, expect, it } from 'vitest'
import { CLOCK_WINDOW_MS, MIN_ORDER_INTERVAL_MS } from '../../src/base/limits.ts'
import { generateSigningKey, type Signer } from '../../src/identity/signing-key.ts'
import { Trust } from '../../src/identity/trust.ts'
import { type OrderSigner, OrdersFollowed, peekOrder, signOrder, verifyOrder } from '../../src/keys/orders.ts'
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
const AUTHORITY = 'authority'
const order: Order = { realm: authority.publicKey, number: 7, epochHash: engine.randomBytes(32), at: T0 }

function verify(
  bytes: Uint8Array,
  options: { readonly revoked?: string; readonly trust?: Trust; readonly rotators?: readonly string[] } = {},
): OrderSigner | undefined {
  const { revoked, rotators = plan.rotators } = options
  const { trust = new Trust(engine, { authority: [authority.publicKey] }) } = options
  const revocations = { revokedByAuthority: (identity: string) => identity === revoked }
  return verifyOrder({ engine, trust, revocations }, bytes, [AUTHORITY, ...rotators])
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
      expect(verify(bytes)).toBe(signer === authority ? AUTHORITY : signer.publicKey)
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
    expect(verify(signOrder(second, order), { revoked: rotator.publicKey })).toBe(second.publicKey)
  })

  it('is given by the key of the realm under pins, and by no other', () => {
    const trust = new Trust(engine, { realm: rotator.publicKey, pins: {} })
    const pinned = { ...order, realm: rotator.publicKey }
    const rotators = [rotator.publicKey]
    expect(verify(signOrder(rotator, pinned), { trust, rotators })).toBe(AUTHORITY)
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
  const APART = MIN_ORDER_INTERVAL_MS
  const at = (ms: number, epochHash = order.epochHash): Order => ({ ...order, at: T0 + ms, epochHash })
  let followed: OrdersFollowed

  beforeEach(() => {
    followed = new OrdersFollowed()
  })

  /** By whom an order of this time would be followed. */
  const signersOf = (one: Order, nowMs = one.at) => followed.signersOf(one, plan, nowMs)

  /** Follows an order of this time, where it may. @returns whether it may */
  function follow(by: OrderSigner, ms: number): boolean {
    const may = signersOf(at(ms)).includes(by)
    if (may) followed.note(at(ms), by)
    return may
  }

  it('are those of about now by its clock', () => {
    const all = [AUTHORITY, ...plan.rotators]
    expect(signersOf(at(0), T0 + CLOCK_WINDOW_MS)).toEqual(all)
    expect(signersOf(at(0), T0 - CLOCK_WINDOW_MS)).toEqual(all)
    expect(signersOf(at(0), T0 + CLOCK_WINDOW_MS + 1)).toEqual([])
    expect(signersOf(at(0), T0 - CLOCK_WINDOW_MS - 1)).toEqual([])
  })

  it('are three of the authority in an epoch, a minute apart, the later after the earlier', () => {
    const times = [0, 0, APART - 1, APART, APART / 2, 3 * APART]
    expect(times.map((ms) => follow(AUTHORITY, ms))).toEqual([true, false, false, true, false, true])
    expect(follow(AUTHORITY, 9 * APART)).toBe(false)
    // So many announcements of an instance are held, and its first one.
    expect(follow(rotator.publicKey, 9 * APART)).toBe(false)
  })

  it('are one of each rotation service, and two of all of them', () => {
    const third = generateSigningKey(engine, 'U').key.publicKey
    const three = { rotators: [...plan.rotators, third] }
    expect(follow(rotator.publicKey, 0)).toBe(true)
    expect(follow(rotator.publicKey, 5 * APART)).toBe(false)
    expect(follow(second.publicKey, 0)).toBe(true)
    expect(followed.signersOf(at(5 * APART), three, T0 + 5 * APART)).toEqual([AUTHORITY])
  })

  it('of the authority are followed whatever those have ordered who have keys of rotation services', () => {
    for (const thief of [rotator, second]) follow(thief.publicKey, CLOCK_WINDOW_MS)
    expect(follow(AUTHORITY, 0)).toBe(true)
    expect(follow(AUTHORITY, 5 * APART)).toBe(false)
  })

  it('are counted for each epoch by itself, for as long as it is held', () => {
    const other = engine.randomBytes(32)
    followed.note(at(0), AUTHORITY)
    expect(signersOf(at(1))).not.toContain(AUTHORITY)
    expect(signersOf(at(1, other))).toContain(AUTHORITY)
    followed.keepOnly([{ hash: order.epochHash }])
    expect(signersOf(at(1))).not.toContain(AUTHORITY)
    followed.keepOnly([{ hash: other }])
    expect(signersOf(at(1))).toContain(AUTHORITY)
  })

  it('are not used up by those that were only asked about', () => {
    for (let i = 0; i < 10; i++) expect(signersOf(at(0))).toContain(AUTHORITY)
  })
})
