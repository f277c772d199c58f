import { inspect } from 'node:util'
import { beforeEach, describe, expect, it } from 'vitest'
import { hex } from '../../src/base/bytes.ts'
import type { CryptoEngine } from '../../src/crypto/engine.ts'
import { unseal } from '../../src/envelope/open.ts'
import { type Sealed, seal } from '../../src/envelope/seal.ts'
import type { Identity } from '../../src/identity/identity.ts'
import type { Epoch } from '../../src/keys/epochs.ts'
import { Keyring, type MakingTime } from '../../src/keys/keyring.ts'
import { makeContent } from '../envelope/forge.ts'
import { engine } from '../support/identities.ts'
import { codeOf, MINUTE, T0, verifyAnnouncement, World } from '../support/statements.ts'

let world: World
let alice: Identity
let epochs: Epoch[]

beforeEach(() => {
  world = new World()
  alice = world.identity('alice')
  epochs = [1, 2, 3, 4].map((number) => world.epoch(number))
})

function at(index: number): Epoch {
  const epoch = epochs[index]
  if (epoch === undefined) throw new Error('no such epoch')
  return epoch
}

function newKeyring(withEngine: CryptoEngine = engine): Keyring {
  return new Keyring(withEngine, alice, engine.randomBytes(8))
}

/** Keys made at this time, when nothing has passed yet. */
function madeAt(notBeforeMs: number): MakingTime {
  return { notBeforeMs, lateMs: 0 }
}

/** This is the latest time, and nothing is known to have passed. */
function latest(latestMs: number): { readonly latestMs: number; readonly lateMs: number } {
  return { latestMs, lateMs: 0 }
}

/** A message that somebody seals to what a keyring announces for an epoch. */
function sealedTo(keyring: Keyring, epoch: Epoch): Sealed {
  const { trust, revocations } = world
  const parsed = keyring.announce(epoch, madeAt(epoch.notBefore))
  const around = { engine, trust, revocations }
  const recipient = verifyAnnouncement(around, parsed, { epoch, nowMs: epoch.notBefore })?.recipient
  if (recipient === undefined) throw new Error('no recipient')
  const content = makeContent({ sender: engine.randomBytes(32), subject: 'x', payload: new Uint8Array(1) })
  return seal(engine, content, {
    type: 0,
    epoch: epoch.number,
    recipients: [recipient],
    messageKey: engine.ed25519KeyPair().secretKey,
    sentAtMs: epoch.notBefore,
    padding: 'padme',
  })
}

describe('the keys of an instance', () => {
  it('are fresh for each epoch, and announced once', () => {
    const keyring = newKeyring()
    const first = keyring.announce(at(0), madeAt(T0))
    const second = keyring.announce(at(1), madeAt(T0))
    expect(keyring.announce(at(0), madeAt(T0))).toBe(first)
    expect(first.announcement.messageKey).not.toEqual(second.announcement.messageKey)
    expect(first.announcement.keys[0]?.publicKey).not.toEqual(second.announcement.keys[0]?.publicKey)
    expect(keyring.announcements()).toEqual([first, second])
  })

  it('are other ones in each instance of an agent', () => {
    const [one, two] = [newKeyring(), newKeyring()].map((keyring) => keyring.announce(at(0), madeAt(T0)))
    expect(one?.announcement.messageKey).not.toEqual(two?.announcement.messageKey)
    expect(one?.announcement.keys[0]?.publicKey).not.toEqual(two?.announcement.keys[0]?.publicKey)
    expect(one?.announcement.identity).toBe(two?.announcement.identity)
  })

  it('are announced for the span of the epoch that is left, whenever it is announced', () => {
    const { notBefore, notAfter } = at(1)
    for (const nowMs of [notBefore - MINUTE, notBefore, notBefore + MINUTE, notAfter + MINUTE]) {
      const { announcement } = newKeyring().announce(at(1), madeAt(nowMs))
      expect(announcement.notBefore).toBeGreaterThanOrEqual(notBefore)
      expect(announcement.notBefore).toBeLessThan(announcement.notAfter)
      expect(announcement.notAfter).toBe(notAfter)
    }
  })

  it('are not made for an epoch that allows only suites that this version does not have', () => {
    const epoch = new World({ plan: { schedule: { suites: [2] } } }).epoch(1)
    const keyring = newKeyring()
    expect(codeOf(() => keyring.announce(epoch, madeAt(T0)))).toBe('ERR_SUITE')
    expect(keyring.has(epoch.hash)).toBe(false)
    expect(keyring.sending(epoch.hash)).toBeUndefined()
  })

  it('count what is sealed in each epoch, from 1', () => {
    const keyring = newKeyring()
    keyring.announce(at(0), madeAt(T0))
    keyring.announce(at(1), madeAt(T0))
    const seq = (index: number): number | undefined => keyring.sending(at(index).hash)?.seq
    expect([seq(0), seq(0), seq(1), seq(0), seq(2)]).toEqual([1, 2, 1, 3, undefined])
  })
})

describe('destroying keys', () => {
  it('happens when the grace of their epoch is over, and not before', () => {
    const keyring = newKeyring()
    const message = sealedTo(keyring, at(0))
    keyring.announce(at(1), madeAt(T0))
    const end = at(0).notAfter + at(0).graceMs
    expect(keyring.destroyEnded(latest(end - 1))).toEqual([])
    expect(unseal(engine, message.bytes, keyring).outcome).toBe('opened')
    expect(keyring.destroyEnded(latest(end))).toEqual([1])
    expect(keyring.destroyEnded(latest(end))).toEqual([])
    expect(unseal(engine, message.bytes, keyring).outcome).toBe('not addressed')
    expect(keyring.has(at(0).hash)).toBe(false)
    expect(keyring.has(at(1).hash)).toBe(true)
  })

  it('happens when so much can have passed since they were made, whatever the wall clock says', () => {
    const keyring = newKeyring()
    const { notBefore, notAfter, graceMs } = at(0)
    keyring.announce(at(0), { notBeforeMs: notBefore + MINUTE, lateMs: 5000 })
    const endsAtLateMs = 5000 + notAfter + graceMs - notBefore - MINUTE
    expect(keyring.endsAtLateMs).toBe(endsAtLateMs)
    expect(keyring.destroyEnded({ latestMs: 0, lateMs: endsAtLateMs - 1 })).toEqual([])
    expect(keyring.destroyEnded({ latestMs: 0, lateMs: endsAtLateMs })).toEqual([1])
    expect(keyring.endsAtLateMs).toBeUndefined()
  })

  it('leaves zeros where the secrets were', () => {
    const made: Uint8Array[] = []
    const spying: CryptoEngine = {
      ...engine,
      ed25519KeyPair: (seed) => spied(engine.ed25519KeyPair(seed)),
      x25519KeyPair: (seed) => spied(engine.x25519KeyPair(seed)),
    }
    const spied = <Keys extends { secretKey: Uint8Array }>(keys: Keys): Keys => {
      made.push(keys.secretKey)
      return keys
    }
    const keyring = newKeyring(spying)
    const kid = kidOf(keyring, at(0))
    expect(made).toHaveLength(2)
    expect(made.every((secret) => secret.some((byte) => byte !== 0))).toBe(true)
    expect(keyring.ownKeys().map((key) => hex(key.kid))).toEqual([hex(kid)])
    keyring.destroyEnded(latest(at(0).notAfter + at(0).graceMs))
    expect(keyring.ownKeys()).toEqual([])
    expect(keyring.sending(at(0).hash)).toBeUndefined()
    expect(made.every((secret) => secret.every((byte) => byte === 0))).toBe(true)
  })

  it('of everything leaves nothing that opens', () => {
    const keyring = newKeyring()
    const messages = [0, 1].map((index) => sealedTo(keyring, at(index)))
    keyring.destroyAll()
    for (const { bytes } of messages) expect(unseal(engine, bytes, keyring).outcome).toBe('not addressed')
    expect(keyring.announcements()).toEqual([])
  })

  it('keeps a thief of the live keys of epoch n from opening anything of n − 2', () => {
    const keyring = newKeyring()
    const messages = [0, 1, 2].map((index) => sealedTo(keyring, at(index)))
    keyring.destroyEnded(latest(at(2).notBefore + MINUTE))
    // The thief holds everything that the keyring still has.
    const outcomes = messages.map(({ bytes }) => unseal(engine, bytes, keyring).outcome)
    expect(outcomes).toEqual(['not addressed', 'opened', 'opened'])
    keyring.destroyEnded(latest(at(1).notAfter + at(1).graceMs))
    const later = messages.map(({ bytes }) => unseal(engine, bytes, keyring).outcome)
    expect(later).toEqual(['not addressed', 'not addressed', 'opened'])
  })

  function kidOf(keyring: Keyring, epoch: Epoch): Uint8Array {
    const { trust, revocations } = world
    const parsed = keyring.announce(epoch, madeAt(epoch.notBefore))
    const around = { engine, trust, revocations }
    return (
      verifyAnnouncement(around, parsed, { epoch, nowMs: epoch.notBefore })?.recipient?.kid ??
      new Uint8Array(0)
    )
  }
})

describe('keys that cannot be announced', () => {
  it('are wiped at once', () => {
    const made: Uint8Array[] = []
    const keeping: CryptoEngine = {
      ...engine,
      ed25519KeyPair: () => {
        const pair = engine.ed25519KeyPair()
        made.push(pair.secretKey)
        return pair
      },
      x25519KeyPair: () => {
        const pair = engine.x25519KeyPair()
        made.push(pair.secretKey)
        return pair
      },
    }
    const failing: Identity = {
      name: alice.name,
      publicKey: alice.publicKey,
      token: alice.token,
      sign: () => {
        throw new Error('the key is elsewhere')
      },
    } as Partial<Identity> as Identity
    const keyring = new Keyring(keeping, failing, engine.randomBytes(8))
    expect(() => keyring.announce(at(0), madeAt(T0))).toThrow('the key is elsewhere')
    expect(made).toHaveLength(2)
    for (const secret of made) expect(secret.every((byte) => byte === 0)).toBe(true)
  })
})

describe('fresh keys within an epoch', () => {
  const renewedAt = (ms: number, seq = T0 + ms) => ({ at: { notBeforeMs: T0 + ms, lateMs: ms }, seq })

  it('are announced with a higher number, and are those to seal with', () => {
    const keyring = newKeyring()
    const first = keyring.announce(at(0), madeAt(T0))
    expect(keyring.sending(at(0).hash)).toMatchObject({ announcementHash: first.hash, seq: 1 })
    const renewed = keyring.renew(at(0), renewedAt(MINUTE))
    if (renewed === undefined) throw new Error('nothing was renewed')
    expect(renewed.announcement.seq).toBe(T0 + MINUTE)
    expect(renewed.announcement.notBefore).toBe(T0 + MINUTE)
    expect(renewed.announcement.messageKey).not.toEqual(first.announcement.messageKey)
    expect(renewed.announcement.keys[0]?.publicKey).not.toEqual(first.announcement.keys[0]?.publicKey)
    expect(keyring.announce(at(0), madeAt(T0))).toBe(renewed)
    expect(keyring.announcements()).toEqual([renewed])
    expect(keyring.sending(at(0).hash)).toMatchObject({ announcementHash: renewed.hash, seq: 1 })
    expect(keyring.renewals).toBe(1)
  })

  it('are made once for a number, and never for a lower one', () => {
    const keyring = newKeyring()
    keyring.announce(at(0), madeAt(T0))
    const renewed = keyring.renew(at(0), renewedAt(MINUTE))
    expect(keyring.renew(at(0), renewedAt(MINUTE))).toBeUndefined()
    expect(keyring.renew(at(0), renewedAt(2 * MINUTE, T0))).toBeUndefined()
    expect(keyring.announcements()).toEqual([renewed])
    expect(keyring.renewals).toBe(1)
  })

  it('are the first ones in an epoch that has none: an order can come before them', () => {
    const keyring = newKeyring()
    const made = keyring.renew(at(0), renewedAt(MINUTE))
    expect(made?.announcement.seq).toBe(T0 + MINUTE)
    expect(keyring.announce(at(0), madeAt(T0))).toBe(made)
    expect(keyring.renewals).toBe(0)
  })

  it('leave those before them until the grace of the epoch has passed', () => {
    const keyring = newKeyring()
    const { graceMs } = at(0)
    const before = sealedTo(keyring, at(0))
    const ended = keyring.ownKeys()[0]
    keyring.renew(at(0), renewedAt(10 * MINUTE))
    const after = sealedTo(keyring, at(0))
    const end = T0 + 10 * MINUTE + graceMs
    keyring.destroyEnded({ latestMs: end - 1, lateMs: 0 })
    for (const { bytes } of [before, after]) expect(unseal(engine, bytes, keyring).outcome).toBe('opened')
    // The epoch still has keys.
    expect(keyring.destroyEnded({ latestMs: end, lateMs: 0 })).toEqual([])
    expect(unseal(engine, before.bytes, keyring).outcome).toBe('not addressed')
    expect(unseal(engine, after.bytes, keyring).outcome).toBe('opened')
    expect(ended?.secretKey).toEqual(new Uint8Array(32))
    expect(keyring.has(at(0).hash)).toBe(true)
    expect(keyring.destroyEnded(latest(at(0).notAfter + graceMs))).toEqual([1])
  })

  it('leave those before them no longer than so much can have passed, whatever the wall clock says', () => {
    const keyring = newKeyring()
    keyring.announce(at(0), madeAt(T0))
    keyring.renew(at(0), renewedAt(10 * MINUTE))
    const end = 10 * MINUTE + at(0).graceMs
    expect(keyring.endsAtLateMs).toBe(end)
    keyring.destroyEnded({ latestMs: 0, lateMs: end - 1 })
    expect(keyring.ownKeys()).toHaveLength(2)
    keyring.destroyEnded({ latestMs: 0, lateMs: end })
    expect(keyring.ownKeys()).toHaveLength(1)
  })

  it('keep none alive beyond the end of the epoch', () => {
    const keyring = newKeyring()
    keyring.announce(at(0), madeAt(T0))
    const { notAfter, graceMs } = at(0)
    keyring.renew(at(0), { at: { notBeforeMs: notAfter - 1, lateMs: 0 }, seq: notAfter })
    expect(keyring.destroyEnded(latest(notAfter + graceMs))).toEqual([1])
    expect(keyring.ownKeys()).toEqual([])
  })

  it('are known by the key that a message was sealed to', () => {
    const keyring = newKeyring()
    const first = keyring.announce(at(0), madeAt(T0))
    const renewed = keyring.renew(at(0), renewedAt(MINUTE))
    const [before, after] = keyring.ownKeys().map(({ kid }) => kid)
    if (before === undefined || after === undefined) throw new Error('there are no keys')
    expect(keyring.announcementOf(before)).toEqual(first.hash)
    expect(keyring.announcementOf(after)).toEqual(renewed?.hash)
    keyring.destroyEnded({ latestMs: T0 + MINUTE + at(0).graceMs, lateMs: 0 })
    expect(keyring.announcementOf(before)).toBeUndefined()
  })
})

describe('what is shown of a keyring', () => {
  it('holds no secret', () => {
    const secrets: string[] = []
    const keep = <Keys extends { secretKey: Uint8Array }>(keys: Keys): Keys => {
      secrets.push(hex(keys.secretKey))
      return keys
    }
    const keyring = newKeyring({
      ...engine,
      ed25519KeyPair: (seed) => keep(engine.ed25519KeyPair(seed)),
      x25519KeyPair: (seed) => keep(engine.x25519KeyPair(seed)),
    })
    keyring.announce(at(0), madeAt(T0))
    const shown = [
      inspect(keyring, { depth: 10, showHidden: true }),
      JSON.stringify(keyring),
      String(keyring),
    ].join('\n')
    expect(shown).toContain('[secret]')
    expect(shown).toContain(hex(keyring.instance))
    expect(secrets).toHaveLength(2)
    for (const secret of secrets) {
      expect(shown).not.toContain(secret)
      const bytes = Buffer.from(secret, 'hex')
      expect(shown).not.toContain(bytes.toString('base64'))
      expect(shown).not.toContain([...bytes.subarray(0, 6)].join(', '))
    }
  })
})
