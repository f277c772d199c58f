import { beforeEach, describe, expect, it } from 'vitest'
import type { SigningKey } from '../../src/identity/signing-key.ts'
import { peekOrder, signOrder, verifyOrder } from '../../src/keys/orders.ts'
import { signTick } from '../../src/keys/ticks.ts'
import { WireType } from '../../src/wire/preamble.ts'
import { decodeStatement, encodeOrder, encodeStatement, type Order } from '../../src/wire/statements.ts'
import { engine, newAuthority } from '../support/identities.ts'
import { codeOf, DAY, MINUTE, T0, World } from '../support/statements.ts'

let world: World
let order: Order

beforeEach(() => {
  world = new World()
  order = { realm: world.realm, number: 7, epochHash: engine.randomBytes(32) }
})

const verify = (bytes: Uint8Array, nowMs = T0): Order => {
  const { trust, revocations } = world
  return verifyOrder({ engine, trust, revocations }, bytes, nowMs)
}

describe('an order', () => {
  it('is given by an authority, or by a rotator with its token', () => {
    for (const bytes of [
      signOrder(world.authority, order),
      signOrder(world.rotator, order, world.rotator.token),
    ]) {
      expect(verify(bytes)).toEqual(order)
      expect(peekOrder(bytes)).toEqual(order)
    }
  })

  it.each<[string, () => Uint8Array, string]>([
    ['an agent', () => by('alice'), 'ERR_EPOCH_INVALID'],
    ['a revoker', () => by('guard', ['revoker']), 'ERR_EPOCH_INVALID'],
    ['a stranger', () => signOrder(newAuthority(), order), 'ERR_EPOCH_INVALID'],
    ['a rotator without its token', () => signOrder(world.rotator, order), 'ERR_EPOCH_INVALID'],
    ['an agent with the token of a rotator', () => stolen(), 'ERR_EPOCH_INVALID'],
    ['an authority with the token of a rotator', () => mixed(), 'ERR_EPOCH_INVALID'],
    ['a rotator of another realm', () => foreign(), 'ERR_UNKNOWN_AUTHORITY'],
  ])('is not given by %s', (_who, bytes, code) => {
    expect(codeOf(() => verify(bytes()))).toBe(code)
  })

  const by = (name: string, roles: readonly 'revoker'[] = []): Uint8Array => {
    const agent = world.identity(name, { roles })
    return signOrder(agent, order, agent.token)
  }
  const stolen = (): Uint8Array => signOrder(world.identity('mallory'), order, world.rotator.token)
  const mixed = (): Uint8Array => signOrder(world.authority, order, world.rotator.token)
  const foreign = (): Uint8Array => {
    const { rotator } = new World()
    return signOrder(rotator, order, rotator.token)
  }

  it('is not given by a rotator that is revoked, nor with a token that has ended', () => {
    const bytes = signOrder(world.rotator, order, world.rotator.token)
    expect(codeOf(() => verify(bytes, T0 + 31 * DAY))).toBe('ERR_TOKEN_EXPIRED')
    world.revocations.add(world.revocation(world.rotator), T0)
    expect(codeOf(() => verify(bytes))).toBe('ERR_REVOKED')
  })

  it('is of one realm, whoever trusts the same authority', () => {
    const other = newAuthority()
    const bytes = signOrder(world.authority, { ...order, realm: other.publicKey })
    expect(codeOf(() => verify(bytes))).toBe('ERR_EPOCH_INVALID')
  })

  it('covers every field', () => {
    const { signature, token } = decodeStatement(WireType.order, signOrder(world.authority, order))
    for (const changes of [{ number: 8 }, { epochHash: engine.randomBytes(32) }]) {
      const structure = encodeOrder({ ...order, ...changes })
      const bytes = encodeStatement(WireType.order, { structure, signature, token })
      expect(codeOf(() => verify(bytes))).toBe('ERR_EPOCH_INVALID')
    }
  })

  it('is no other statement, and no other statement is one', () => {
    const signer: SigningKey = world.authority
    const revocation = decodeStatement(WireType.revocation, world.revocation(world.identity('bob')))
    expect(codeOf(() => verify(encodeStatement(WireType.order, revocation)))).toBe('ERR_MALFORMED')
    const structure = encodeOrder(order)
    const unlabelled = { structure, signature: signer.sign(structure), token: undefined }
    expect(codeOf(() => verify(encodeStatement(WireType.order, unlabelled)))).toBe('ERR_EPOCH_INVALID')
    const tick = {
      realm: world.realm,
      number: 7,
      epochHash: order.epochHash,
      revocationsHash: new Uint8Array(32),
      now: T0 + MINUTE,
      nonces: [],
    }
    expect(codeOf(() => verify(signTick(world.rotator, tick, world.rotator.token)))).toBe('ERR_MALFORMED')
  })
})
