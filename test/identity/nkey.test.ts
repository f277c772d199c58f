import { createAccount, createOperator, createUser, fromPublic, fromSeed } from '@nats-io/nkeys'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { hex, utf8 } from '../../src/base/bytes.ts'
import { chooseEngine } from '../../src/crypto/engine.ts'
import { decodeNkey, decodeSeed, encodeNkey, encodeSeed, type NkeyKind } from '../../src/identity/nkey.ts'
import { signingKeyFromSeed } from '../../src/identity/signing-key.ts'
import { engines, readVectors } from '../crypto/vectors.ts'

const engine = chooseEngine('libsodium')
const kinds = [
  { kind: 'O' as const, create: createOperator },
  { kind: 'A' as const, create: createAccount },
  { kind: 'U' as const, create: createUser },
]
const invalid = expect.objectContaining({ code: 'ERR_KEY_INVALID' })

describe.each(kinds)('an nkey of kind $kind', ({ kind, create }) => {
  it('is what the package of NATS makes of the same seed', () => {
    for (let i = 0; i < 20; i++) {
      const theirs = create()
      const seedText = new TextDecoder().decode(theirs.getSeed())
      const seed = decodeSeed(kind, seedText)
      const { publicKey } = engine.ed25519KeyPair(seed)
      expect(encodeSeed(kind, seed)).toBe(seedText)
      expect(encodeNkey(kind, publicKey)).toBe(theirs.getPublicKey())
      expect(decodeNkey(kind, theirs.getPublicKey())).toEqual(publicKey)
    }
  })

  it('is read by the package of NATS', () => {
    for (let i = 0; i < 20; i++) {
      const seed = engine.randomBytes(32)
      const { publicKey } = engine.ed25519KeyPair(seed)
      expect(fromSeed(utf8(encodeSeed(kind, seed))).getPublicKey()).toBe(encodeNkey(kind, publicKey))
    }
  })

  it.each(engines)('signs what the package of NATS verifies, and the other way round, on $name', (each) => {
    const theirs = create()
    const message = utf8('message')
    const ours = signingKeyFromSeed(each, kind, new TextDecoder().decode(theirs.getSeed()))
    expect(fromPublic(ours.publicKey).verify(message, ours.sign(message))).toBe(true)
    const publicKey = decodeNkey(kind, theirs.getPublicKey())
    expect(each.verify(publicKey, message, new Uint8Array(theirs.sign(message)))).toBe(true)
  })

  it('is never read as one of another kind', () => {
    const seed = engine.randomBytes(32)
    const { publicKey } = engine.ed25519KeyPair(seed)
    for (const other of ['O', 'A', 'U'] as const) {
      if (other === kind) continue
      expect(() => decodeNkey(other, encodeNkey(kind, publicKey))).toThrow(invalid)
      expect(() => decodeSeed(other, encodeSeed(kind, seed))).toThrow(invalid)
    }
  })

  it('is refused with any one character changed, left out or added', () => {
    const text = encodeNkey(kind, new Uint8Array(32).fill(7))
    for (let i = 0; i < text.length; i++) {
      const other = text[i] === 'B' ? 'C' : 'B'
      expect(() => decodeNkey(kind, `${text.slice(0, i)}${other}${text.slice(i + 1)}`)).toThrow(invalid)
      expect(() => decodeNkey(kind, text.slice(0, i) + text.slice(i + 1))).toThrow(invalid)
      expect(() => decodeNkey(kind, `${text.slice(0, i)}B${text.slice(i)}`)).toThrow(invalid)
    }
  })

  it('has a seed that is refused with any one character changed', () => {
    const text = encodeSeed(kind, new Uint8Array(32).fill(7))
    for (let i = 0; i < text.length; i++) {
      const other = text[i] === 'B' ? 'C' : 'B'
      expect(() => decodeSeed(kind, `${text.slice(0, i)}${other}${text.slice(i + 1)}`)).toThrow(invalid)
    }
  })
})

describe('reading an nkey', () => {
  const good = encodeNkey('U', new Uint8Array(32).fill(7))

  it.each([
    ['nothing', ''],
    ['lower case', good.toLowerCase()],
    ['padding', `${good}====`],
    ['white space', ` ${good}`],
    ['a line break', `${good}\n`],
    ['letters outside the alphabet', good.replace(/.$/, '1')],
    ['a seed for a public key', encodeSeed('U', new Uint8Array(32))],
    ['two keys', good + good],
  ])('refuses %s', (_, text) => {
    expect(() => decodeNkey('U', text)).toThrow(invalid)
  })

  it('has one text for a seed: the spare bits at its end are zero', () => {
    const text = encodeSeed('U', new Uint8Array(32).fill(7))
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'
    const last = alphabet.indexOf(text.slice(-1))
    expect(last & 3).toBe(0)
    for (const spare of [1, 2, 3]) {
      expect(() => decodeSeed('U', text.slice(0, -1) + alphabet[last | spare])).toThrow(invalid)
    }
  })

  it('refuses a public key for a seed', () => {
    expect(() => decodeSeed('U', good)).toThrow(invalid)
  })

  it('refuses the curve keys of NATS', () => {
    const { xkeys } = readVectors<{ readonly xkeys: readonly Readonly<Record<string, string>>[] }>(
      'nats/nats-keys-vectors.json',
    )
    const seeds = xkeys.flatMap((key) =>
      [key['seed'], key['sender_seed'], key['recipient_seed']].flatMap((s) => s ?? []),
    )
    expect(seeds).toHaveLength(3)
    for (const kind of ['O', 'A', 'U'] satisfies NkeyKind[]) {
      for (const seed of seeds) expect(() => decodeSeed(kind, seed)).toThrow(invalid)
      expect(() => decodeNkey(kind, xkeys[0]?.['public'] ?? '')).toThrow(invalid)
    }
  })

  it('quotes neither seed nor key in its errors', () => {
    const text = encodeSeed('U', new Uint8Array(32).fill(7))
    for (const read of [
      () => decodeSeed('A', text),
      () => decodeNkey('A', text),
      () => decodeSeed('U', `${text}A`),
    ]) {
      try {
        read()
        expect.unreachable()
      } catch (error) {
        expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain(text.slice(2, 20))
      }
    }
  })
})

describe('the bytes of a seed on the way from and to text', () => {
  const seed = engine.randomBytes(32)
  const text = encodeSeed('U', seed)
  afterEach(() => vi.restoreAllMocks())

  /** How often bytes were wiped in which the seed stood. */
  function wiped(task: () => void): number {
    let count = 0
    const { fill } = Uint8Array.prototype
    vi.spyOn(Object.getPrototypeOf(Uint8Array.prototype), 'fill').mockImplementation(function (
      this: Uint8Array,
      ...args: unknown[]
    ) {
      if (hex(this).includes(hex(seed)) && args[0] === 0 && args.length === 1) count++
      return fill.apply(this, args as [number])
    })
    task()
    vi.restoreAllMocks()
    return count
  }

  it('are wiped when the seed has been read, also where it is of another kind', () => {
    expect(wiped(() => expect(decodeSeed('U', text)).toEqual(seed))).toBe(1)
    expect(wiped(() => expect(() => decodeSeed('A', text)).toThrow(invalid))).toBe(1)
  })

  it('are wiped when the text has been made, and the seed is not', () => {
    const before = hex(seed)
    // With the prefix, and with the checksum too.
    expect(wiped(() => expect(encodeSeed('U', seed)).toBe(text))).toBe(2)
    expect(hex(seed)).toBe(before)
  })
})
