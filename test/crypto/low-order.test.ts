import { describe, expect, it } from 'vitest'
import { fromHex } from '../../src/base/bytes.ts'
import { isLowOrder } from '../../src/crypto/low-order.ts'
import { LOW_ORDER } from '../support/low-order.ts'
import { engines, readVectors, type Wycheproof } from './vectors.ts'

interface XdhCase {
  readonly public: string
  readonly private: string
  readonly shared: string
}

const wycheproof = readVectors<Wycheproof<object, XdhCase>>('wycheproof/x25519_test.json')

function withTopBit(key: Uint8Array): Uint8Array {
  return key.with(31, (key[31] ?? 0) | 0x80)
}

describe.each(LOW_ORDER)('the X25519 key %s', (text) => {
  const key = fromHex(text)

  it.each([
    ['clear', key],
    ['set', withTopBit(key)],
  ])('has low order with its top bit %s, as a key agreement on both engines shows', (_, publicKey) => {
    expect(isLowOrder(publicKey)).toBe(true)
    for (const engine of engines)
      expect(engine.x25519(engine.x25519KeyPair().secretKey, publicKey)).toBe(undefined)
  })

  it('has another order when any other bit is flipped', () => {
    const others: Uint8Array[] = []
    for (let bit = 0; bit < 255; bit++) {
      const other = key.with(bit >> 3, (key[bit >> 3] ?? 0) ^ (1 << (bit & 7)))
      // 0 and 1 are one bit apart, and so are p and p - 1: see the list.
      if (!LOW_ORDER.some((known) => fromHex(known).every((byte, i) => byte === other[i]))) others.push(other)
    }
    expect(others.length).toBeGreaterThan(252)
    expect(others.filter(isLowOrder)).toEqual([])
  })
})

describe.each(engines)('the comparison with keys of low order, beside key agreements on $name', (engine) => {
  it('finds exactly the 31 of 518 Wycheproof cases whose result is all zero', () => {
    const cases = wycheproof.testGroups.flatMap(({ tests }) => tests)
    const wrong = cases.filter(({ public: publicKey, private: secretKey }) => {
      const isZero = engine.x25519(fromHex(secretKey), fromHex(publicKey)) === undefined
      return isLowOrder(fromHex(publicKey)) !== isZero
    })
    expect(wrong.map(({ tcId }) => tcId)).toEqual([])
    const found = cases.filter((test) => isLowOrder(fromHex(test.public)))
    expect({ cases: cases.length, found: found.length }).toEqual({ cases: 518, found: 31 })
    expect(found.every(({ shared }) => /^0+$/.test(shared))).toBe(true)
  })
})
