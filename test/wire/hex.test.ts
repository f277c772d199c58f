import { expect, it } from 'vitest'
import { fromHex, hex } from '../../src/base/bytes.ts'
import { engine } from '../support/identities.ts'

it('hexadecimal is what others write, of any length', () => {
  for (const length of [0, 1, 8, 32, 1023, 1024, 1025, 2048, 300_000]) {
    const bytes = engine.randomBytes(length)
    expect(hex(bytes)).toBe(Buffer.from(bytes).toString('hex'))
    expect(fromHex(hex(bytes))).toEqual(bytes)
  }
})
