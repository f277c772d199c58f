import { beforeEach, describe, expect, it } from 'vitest'
import { fromHex } from '../../src/base/bytes.ts'
import type { Identity } from '../../src/identity/identity.ts'
import {
  judgeAnnouncement,
  type ParsedAnnouncement,
  signRetirement,
  type VerifiedAnnouncement,
} from '../../src/keys/announcements.ts'
import type { Epoch } from '../../src/keys/epochs.ts'
import type { Announcement } from '../../src/wire/statements.ts'
import { encodeSignedAnnouncement } from '../../src/wire/statements.ts'
import { engines } from '../crypto/vectors.ts'
import { engine, newAuthority, newIdentity } from '../support/identities.ts'
import { LOW_ORDER } from '../support/low-order.ts'
import { reparse, T0, verifyAnnouncement, World } from '../support/statements.ts'

let world: World
let epoch: Epoch
let alice: Identity

beforeEach(() => {
  world = new World()
  epoch = world.epoch(1)
  alice = world.identity('alice')
})

function verify(parsed: ParsedAnnouncement, nowMs = T0): VerifiedAnnouncement | undefined {
  const { trust, revocations } = world
  return verifyAnnouncement({ engine, trust, revocations }, parsed, { epoch, nowMs })
}

function announced(changes: Partial<Announcement> = {}, identity = alice): ParsedAnnouncement {
  return world.announcement(identity, epoch, changes)
}

describe('an announcement', () => {
  it('is proved by token, identity and message key, and says what to seal to', () => {
    const parsed = announced()
    const verified = verify(reparse(parsed.bytes))
    expect(verified?.claims.name).toBe('alice')
    expect(verified?.hash).toEqual(parsed.hash)
    expect(verified?.recipient?.publicKey).toEqual(parsed.announcement.keys[0]?.publicKey)
    expect(verified?.recipient?.kid).toHaveLength(16)
  })

  it('is refused with any bit of it flipped', () => {
    const { bytes } = announced()
    let parsedOnes = 0
    for (let i = 0; i < bytes.length; i++) {
      const altered = new Uint8Array(bytes)
      altered[i] = (altered[i] ?? 0) ^ (1 << (i % 8))
      let parsed: ParsedAnnouncement
      try {
        parsed = reparse(altered)
      } catch (error) {
        expect(error).toMatchObject({ code: 'ERR_MALFORMED' })
        continue
      }
      parsedOnes++
      expect(verify(parsed)).toBeUndefined()
    }
    expect(parsedOnes).toBeGreaterThan(300)
  })

  it('is refused when another identity signs it', () => {
    const mallory = world.identity('mallory')
    expect(verify(world.announcement(alice, epoch, {}, { signer: mallory }))).toBeUndefined()
    const claimed = world.announcement(mallory, epoch, { agent: 'alice', identity: alice.publicKey })
    expect(verify(claimed)).toBeUndefined()
  })

  it('is refused with a name or an identity that is not the one of the token', () => {
    expect(verify(announced({ agent: 'bob' }))).toBeUndefined()
    expect(verify(announced({ identity: world.identity('alice').publicKey }))).toBeUndefined()
  })

  it('is refused with a token of another authority, of another realm, expired, or of a revoked identity', () => {
    const options = { issuedAtMs: T0 - 1000, realm: world.realm }
    expect(verify(announced({}, newIdentity(newAuthority(), 'alice', options).identity))).toBeUndefined()
    expect(
      verify(announced({}, world.identity('alice', { realm: newAuthority().publicKey }))),
    ).toBeUndefined()
    expect(verify(announced(), alice.claims.expiresAt * 1000)).toBeUndefined()
    const parsed = announced()
    expect(verify(parsed)).toBeDefined()
    world.revocations.add(world.revocation(alice), T0)
    expect(verify(parsed)).toBeUndefined()
  })

  it('is refused for another realm, number or time than its epoch has', () => {
    const { notBefore, notAfter } = epoch
    const wrong: Partial<Announcement>[] = [
      { realm: newAuthority().publicKey },
      { epoch: epoch.number + 1 },
      { notBefore: notBefore - 1 },
      { notAfter: notAfter + 1 },
      { notBefore: notAfter, notAfter },
      { notBefore: notBefore + 10, notAfter: notBefore + 9 },
    ]
    for (const changes of wrong) expect(verify(announced(changes))).toBeUndefined()
  })

  it('is refused without a proof of possession of the message key, or with that of another', () => {
    const other = engine.ed25519KeyPair()
    expect(verify(world.announcement(alice, epoch, {}, { messageKey: other.secretKey }))).toBeUndefined()
    const { signed } = announced()
    expect(
      verify(reparse(encodeSignedAnnouncement({ ...signed, proof: new Uint8Array(64) }))),
    ).toBeUndefined()
    expect(verify(reparse(encodeSignedAnnouncement({ ...signed, proof: undefined })))).toBeUndefined()
  })

  it('cannot claim the message key of somebody else: its proof fits one announcement', () => {
    const hers = announced()
    const mallory = world.identity('mallory')
    const { messageKey } = hers.announcement
    const stolen = world.announcement(mallory, epoch, { messageKey })
    expect(verify(stolen)).toBeUndefined()
    const withHerProof = { ...stolen.signed, proof: hers.signed.proof }
    expect(verify(reparse(encodeSignedAnnouncement(withHerProof)))).toBeUndefined()
  })

  it('that claims the key of somebody else has another key id: nothing sealed to it opens at the owner', () => {
    const hers = announced()
    const mallory = world.identity('mallory')
    const copied = verify(world.announcement(mallory, epoch, { keys: hers.announcement.keys }))
    const kid = verify(hers)?.recipient?.kid
    expect(copied?.recipient?.publicKey).toEqual(hers.announcement.keys[0]?.publicKey)
    expect(copied?.recipient?.kid).not.toEqual(kid)
    expect(copied?.recipient?.context.sealed).not.toEqual(verify(hers)?.recipient?.context.sealed)
  })

  it('is refused with keys of a suite that the epoch does not allow, two live ones, or one of the wrong size', () => {
    const live = () => ({ suite: 1, use: 0, publicKey: engine.x25519KeyPair().publicKey })
    const wrong = [
      [{ suite: 2, use: 0, publicKey: new Uint8Array(1216) }],
      [live(), { suite: 2, use: 0, publicKey: new Uint8Array(1216) }],
      [live(), live()],
      [{ ...live(), publicKey: new Uint8Array(31) }],
      [{ ...live(), use: 1 }],
    ]
    for (const keys of wrong) expect(verify(announced({ keys }))).toBeUndefined()
    expect(verify(announced({ keys: [live(), { ...live(), use: 1 }] }))?.recipient).toBeDefined()
  })
})

describe.each(engines)('on $name, an announcement', (on) => {
  const at = () => ({ epoch, nowMs: T0 })
  const around = () => ({ engine: on, trust: world.trust, revocations: world.revocations })

  it.each(LOW_ORDER)(
    'is refused with the X25519 key %s, which has low order, and with its top bit set',
    (text) => {
      const key = fromHex(text)
      for (const publicKey of [key, key.with(31, (key[31] ?? 0) | 0x80)]) {
        const parsed = announced({ keys: [{ suite: 1, use: 0, publicKey }] })
        expect(verifyAnnouncement(around(), parsed, at())).toBeUndefined()
        expect(judgeAnnouncement(around(), parsed, at())).toBe('unusable key')
      }
    },
  )

  it('says of a key of low order only what its identity has signed', () => {
    const keys = [{ suite: 1, use: 0, publicKey: new Uint8Array(32) }]
    const forged = world.announcement(alice, epoch, { keys }, { signer: world.identity('mallory') })
    expect(judgeAnnouncement(around(), forged, at())).toBe('unproved')
  })

  it('of a retirement has no key that could have low order', () => {
    const { notBefore, notAfter } = epoch
    const retirement = { instance: engine.randomBytes(8), seq: T0, notBefore, notAfter }
    const judged = judgeAnnouncement(around(), reparse(signRetirement(alice, epoch, retirement)), at())
    expect(judged).toMatchObject({ recipient: undefined, announcement: { seq: T0 } })
  })
})

describe('a retirement', () => {
  const retired = (signer: Identity, instance: Uint8Array, seq = 2): ParsedAnnouncement => {
    const { notBefore, notAfter } = epoch
    return reparse(signRetirement(signer, epoch, { instance, seq, notBefore, notAfter }))
  }

  it('needs the signature of the identity alone, and announces no key', () => {
    const verified = verify(retired(alice, engine.randomBytes(8)))
    expect(verified).toBeDefined()
    expect(verified?.recipient).toBeUndefined()
  })

  it('is refused when another identity signs it', () => {
    const { structure } = retired(alice, engine.randomBytes(8)).signed
    const { signature } = retired(world.identity('mallory'), engine.randomBytes(8)).signed
    const forged = encodeSignedAnnouncement({ structure, signature, proof: undefined })
    expect(verify(reparse(forged))).toBeUndefined()
  })
})
