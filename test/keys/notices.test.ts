import { describe, expect, it } from 'vitest'
import { concat } from '../../src/base/bytes.ts'
import { labels } from '../../src/crypto/labels.ts'
import { generateSigningKey } from '../../src/identity/signing-key.ts'
import { deriveEpoch } from '../../src/keys/epochs.ts'
import { readNotice, signNotice, verifyNotice } from '../../src/keys/notices.ts'
import { signTick } from '../../src/keys/ticks.ts'
import { encodeEpoch, encodeNotice } from '../../src/wire/plans.ts'
import { WireType } from '../../src/wire/preamble.ts'
import { encodeStatement } from '../../src/wire/statements.ts'
import { engines } from '../crypto/vectors.ts'
import { engine, newAuthority } from '../support/identities.ts'
import { codeOf } from '../support/statements.ts'
import { plan as samplePlan, tick } from '../wire/samples.ts'

const rotator = generateSigningKey(engine, 'U').key
const other = generateSigningKey(engine, 'U').key
const plan = samplePlan({ realm: newAuthority().publicKey, rotators: [rotator.publicKey] })
const epoch = deriveEpoch(engine, plan, 3)

describe('a notice', () => {
  it.each(engines)('says which epoch begins, under which plan, and is signed, on $name', (by) => {
    const parsed = readNotice(by, signNotice(rotator, epoch, 7))
    const { hash, ...terms } = epoch
    expect(parsed.terms).toEqual(terms)
    expect(parsed.epochHash).toEqual(hash)
    expect(parsed.notice).toEqual({
      epoch: encodeEpoch(terms),
      planVersion: 7,
      rotator: rotator.publicKey,
    })
    expect(verifyNotice({ engine: by, plan }, parsed)).toBe(true)
  })

  it('of an epoch that nobody derives is read all the same: it is what agents report', () => {
    const wrong = { ...epoch, notAfter: epoch.notAfter + 1 }
    const parsed = readNotice(engine, signNotice(rotator, wrong, 1))
    expect(parsed.epochHash).not.toEqual(epoch.hash)
    expect(verifyNotice({ engine, plan }, parsed)).toBe(true)
  })

  it.each<[string, () => Uint8Array]>([
    ['by one that the plan does not name', () => signNotice(other, epoch, 1)],
    ['by another one than it says', () => forged(other, labels.notice)],
    ['under another label', () => forged(rotator, labels.tick)],
    ['of another realm', () => signNotice(rotator, { ...epoch, realm: newAuthority().publicKey }, 1)],
  ])('is not verified %s', (_, wire) => {
    expect(verifyNotice({ engine, plan }, readNotice(engine, wire()))).toBe(false)
  })

  const forged = (by: typeof rotator, label: Uint8Array): Uint8Array => {
    const structure = encodeNotice({
      epoch: encodeEpoch(epoch),
      planVersion: 1,
      rotator: rotator.publicKey,
    })
    const signature = by.sign(concat(label, structure))
    return encodeStatement(WireType.notice, { structure, signature, token: undefined })
  }

  it('is malformed with anything else in it than an epoch', () => {
    const { structure, signature } = signTick(rotator, tick())
    const wire = encodeStatement(WireType.notice, { structure, signature, token: undefined })
    expect(codeOf(() => readNotice(engine, wire))).toBe('ERR_MALFORMED')
    const inside = encodeNotice({ epoch: new Uint8Array(3), planVersion: 1, rotator: rotator.publicKey })
    const empty = encodeStatement(WireType.notice, { structure: inside, signature, token: undefined })
    expect(codeOf(() => readNotice(engine, empty))).toBe('ERR_MALFORMED')
  })
})
