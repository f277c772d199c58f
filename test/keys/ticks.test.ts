import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { concat } from '../../src/base/bytes.ts'
import { labels } from '../../src/crypto/labels.ts'
import { merklePathLength, merkleTree } from '../../src/crypto/merkle.ts'
import { generateSigningKey, type Signer } from '../../src/identity/signing-key.ts'
import {
  clockSkew,
  nonceLeaf,
  type ParsedTick,
  provesNonce,
  readTick,
  signTick,
  verifyTick,
} from '../../src/keys/ticks.ts'
import { encodeSignedTick, encodeTick, type SignedTick, type Tick } from '../../src/wire/ticks.ts'
import { engines } from '../crypto/vectors.ts'
import { engine, newAuthority } from '../support/identities.ts'
import { codeOf, T0 } from '../support/statements.ts'
import { tick as sampleTick } from '../wire/samples.ts'

const realm = newAuthority().publicKey
const rotator = generateSigningKey(engine, 'U').key
const other = generateSigningKey(engine, 'U').key
const plan = { realm, rotators: [rotator.publicKey] }

function tick(changes: Partial<Tick> = {}): Tick {
  return sampleTick({ realm, rotator: rotator.publicKey, now: T0, ...changes })
}

function signed(changes: Partial<Tick> = {}, by: Signer = rotator): ParsedTick {
  const place = { nonce: undefined, index: undefined, path: undefined }
  return readTick(engine, encodeSignedTick({ ...signTick(by, tick(changes)), ...place }))
}

/** A tick that answers these nonces, as each asker gets it. */
function answers(nonces: readonly Uint8Array[]): readonly ParsedTick[] {
  const tree = merkleTree(
    engine,
    nonces.map((nonce) => nonceLeaf(engine, nonce)),
  )
  const statement = signTick(rotator, tick({ leaves: nonces.length, nonceRoot: tree.root }))
  return nonces.map((nonce, index) => {
    const path = new Uint8Array(32 * merklePathLength(nonces.length, index))
    tree.writePath(index, path, 0)
    return readTick(engine, encodeSignedTick({ ...statement, nonce, index, path }))
  })
}

const random = (count: number): readonly Uint8Array[] =>
  Array.from({ length: count }, () => engine.randomBytes(16))

describe('a tick', () => {
  it.each(engines)('is signed by a rotation service of the plan, on $name', (by) => {
    const parsed = signed()
    expect(parsed.tick).toEqual(tick())
    expect(parsed.hash).toEqual(engine.sha256(encodeTick(tick())))
    expect(verifyTick({ engine: by, plan }, parsed)).toBe(true)
  })

  it.each<[string, () => Pick<ParsedTick, 'tick' | 'signed'>]>([
    ['by one that the plan does not name', () => signed({ rotator: other.publicKey }, other)],
    ['by another one than it says', () => signed({}, other)],
    ['of another realm', () => signed({ realm: newAuthority().publicKey })],
    ['under another label', () => relabelled()],
    ['with fields that were not signed', () => ({ ...signed(), signed: signed({ now: T0 + 1 }).signed })],
  ])('is not verified %s', (_, parsed) => {
    const { tick: of, signed: by } = parsed()
    const structure = encodeTick(of)
    expect(verifyTick({ engine, plan }, { tick: of, signed: { ...by, structure } })).toBe(false)
  })

  const relabelled = (): ParsedTick => {
    const structure = encodeTick(tick())
    const signature = rotator.sign(concat(labels.notice, structure))
    const place = { nonce: undefined, index: undefined, path: undefined }
    return readTick(engine, encodeSignedTick({ structure, signature, ...place }))
  }

  it('covers every field', () => {
    const { signed: by } = signed()
    const changes: readonly Partial<Tick>[] = [
      { planVersion: 4 },
      { standing: 0 },
      { process: new Uint8Array(8) },
      { now: T0 + 1 },
      { revocationsHash: new Uint8Array(32) },
      { directoryRoot: new Uint8Array(32) },
      { storageRoot: new Uint8Array(32).fill(1) },
      { leaves: 4 },
      { nonceRoot: new Uint8Array(32) },
    ]
    for (const change of changes) {
      const structure = encodeTick(tick(change))
      const parsed = readTick(engine, encodeSignedTick({ ...by, structure }))
      expect(verifyTick({ engine, plan }, parsed)).toBe(false)
    }
  })

  it('is malformed with anything else', () => {
    expect(codeOf(() => readTick(engine, new Uint8Array(9)))).toBe('ERR_MALFORMED')
  })

  it('says by how much clocks are apart', () => {
    const error = clockSkew(tick(), T0 + 121_000)
    expect(error.code).toBe('ERR_CLOCK_SKEW')
    expect(error.message).toContain('121 s apart')
  })
})

describe('the proof that a tick was made after a nonce', () => {
  it.each(engines)('holds for each of any number, and for no other, on $name', (by) => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 70 }), (count) => {
        const nonces = random(count)
        for (const [i, answer] of answers(nonces).entries()) {
          const own = nonces[i] ?? new Uint8Array(16)
          expect(provesNonce(by, answer, own)).toBe(true)
          expect(provesNonce(by, answer, engine.randomBytes(16))).toBe(false)
          const next = nonces[i + 1]
          if (next !== undefined) expect(provesNonce(by, answer, next)).toBe(false)
        }
      }),
      { numRuns: 30 },
    )
  })

  it('holds among 4,096, by a path of twelve hashes', () => {
    const nonces = random(4096)
    const all = answers(nonces)
    for (const index of [0, 1, 2047, 4095]) {
      const answer = all[index]
      expect(answer?.signed.path).toHaveLength(384)
      expect(answer && provesNonce(engine, answer, nonces[index] ?? new Uint8Array(16))).toBe(true)
    }
  })

  it('is none in a broadcast', () => {
    const [nonce = new Uint8Array(16)] = random(1)
    expect(provesNonce(engine, signed({ leaves: 0 }), nonce)).toBe(false)
    const parsed = signed({ leaves: 1, nonceRoot: nonceLeaf(engine, nonce) })
    expect(provesNonce(engine, { ...parsed, signed: { ...parsed.signed, nonce } }, nonce)).toBe(false)
  })

  it('does not hold with another place, or a path that is changed, shorter or longer', () => {
    const nonces = random(5)
    const [first] = answers(nonces)
    const [nonce] = nonces
    if (first === undefined || nonce === undefined) throw new Error('nothing was answered')
    const { path = new Uint8Array(0) } = first.signed
    const changed = path.slice()
    changed[40] = (changed[40] ?? 0) ^ 1
    const others: readonly Partial<SignedTick>[] = [
      { index: 1 },
      { index: 4 },
      { index: 5 },
      { path: changed },
      { path: path.subarray(32) },
      { path: concat(path, new Uint8Array(32)) },
      { path: path.subarray(1) },
      { path: new Uint8Array(0) },
    ]
    for (const other_ of others)
      expect(provesNonce(engine, { ...first, signed: { ...first.signed, ...other_ } }, nonce)).toBe(false)
  })

  it('does not hold for another nonce than the one that is echoed, and the echo alone proves nothing', () => {
    const nonces = random(5)
    const [first] = answers(nonces)
    const [nonce, second] = nonces
    if (first === undefined || nonce === undefined || second === undefined) throw new Error('no answer')
    const echoing = (echoed: Uint8Array | undefined): Pick<ParsedTick, 'tick' | 'signed'> => ({
      ...first,
      signed: { ...first.signed, nonce: echoed },
    })
    expect(provesNonce(engine, echoing(nonce), nonce)).toBe(true)
    expect([second, undefined].map((echoed) => provesNonce(engine, echoing(echoed), nonce))).toEqual([
      false,
      false,
    ])
    expect(provesNonce(engine, echoing(second), second)).toBe(false)
  })

  it('does not take an inner node for a nonce', () => {
    const nonces = random(2)
    const [left, right] = nonces.map((nonce) => nonceLeaf(engine, nonce))
    if (left === undefined || right === undefined) throw new Error('there are no leaves')
    const root = engine.sha256(Uint8Array.of(1), left, right)
    const parsed = signed({ leaves: 1, nonceRoot: root })
    const nonce = concat(left, right)
    const alone = { ...parsed, signed: { ...parsed.signed, nonce, index: 0, path: new Uint8Array(0) } }
    expect(provesNonce(engine, alone, nonce)).toBe(false)
  })
})
