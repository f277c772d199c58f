import { describe, expect, it } from 'vitest'
import { fingerprint } from '../../src/identity/fingerprint.ts'
import { signJwt } from '../../src/identity/jwt.ts'
import type { Pins } from '../../src/identity/pins.ts'
import { generateSigningKey } from '../../src/identity/signing-key.ts'
import {
  issueSelfSignedToken,
  issueToken,
  readClaims,
  verifySelfSignedToken,
  verifyToken,
} from '../../src/identity/token.ts'
import { ownTrust, Trust } from '../../src/identity/trust.ts'
import { EVERYTHING, engine, newAuthority } from '../support/identities.ts'
import { selfSigned } from '../support/pinned.ts'

const NOW = 1_800_000_000_000
const rotator = selfSigned('rotator', { issuedAtMs: NOW - 60_000 })
const realm = rotator.publicKey
const alice = selfSigned('alice', { realm, issuedAtMs: NOW - 60_000 })
const bob = selfSigned('bob', { realm, issuedAtMs: NOW - 60_000 })

function trustOf(pins: ConstructorParameters<typeof Pins>[0]['pins']): Trust {
  return new Trust(engine, { realm, pins })
}

describe('a self-signed token', () => {
  it('is verified by its own identity and by nobody else', () => {
    expect(verifySelfSignedToken(engine, alice.token).name).toBe('alice')
    const [head, body] = alice.token.split('.')
    const forged = `${head}.${body}.${bob.token.split('.')[2]}`
    expect(() => verifySelfSignedToken(engine, forged)).toThrow(/signature/)
  })

  it('is nothing to those who trust an authority', () => {
    const authority = newAuthority()
    for (const trusted of [[authority.publicKey], [alice.publicKey]]) {
      expect(() => verifyToken(engine, alice.token, trusted)).toThrow()
    }
  })

  it('is not what an authority signs, nor one key for another', () => {
    const { key: authority } = generateSigningKey(engine, 'A')
    const { key: other } = generateSigningKey(engine, 'U')
    const request = {
      realm: authority.publicKey,
      name: 'alice',
      identity: alice.publicKey,
      permissions: EVERYTHING,
      expiresAtMs: NOW + 1000,
    }
    const issued = issueToken(engine, request, { signer: authority, issuedAtMs: NOW })
    expect(() => verifySelfSignedToken(engine, issued)).toThrow(/not signed by its own identity/)
    const foreign = issueToken(engine, { ...request, realm }, { signer: other, issuedAtMs: NOW })
    expect(() => verifySelfSignedToken(engine, foreign)).toThrow()
  })

  it('cannot name an authority as its realm', () => {
    const { key } = generateSigningKey(engine, 'U')
    const { publicKey: authority } = newAuthority()
    const request = { realm: authority, name: 'alice', expiresAtMs: NOW + 1000, issuedAtMs: NOW }
    expect(() => issueSelfSignedToken(engine, request, key)).toThrow(
      expect.objectContaining({ code: 'ERR_KEY_INVALID' }),
    )
    const claims = readClaims(alice.token)
    const forged = signJwt(
      engine,
      {
        sub: key.publicKey,
        name: 'alice',
        exp: claims.expiresAt,
        nats: { type: 'generic', version: 2, subrosa: { v: 1, realm: authority, name: 'alice' } },
      },
      { signer: key, issuedAtMs: NOW },
    )
    expect(() => readClaims(forged)).toThrow(expect.objectContaining({ code: 'ERR_TOKEN_INVALID' }))
  })
})

describe('trust by pins', () => {
  it('gives a plain key every subject, and no role', () => {
    const claims = trustOf({ alice: alice.publicKey }).verify(alice.token, NOW)
    expect(claims.permissions).toEqual(EVERYTHING)
    expect(claims.roles).toEqual([])
  })

  it('gives a key with rules just those, and nothing where a direction is left out', () => {
    const pins = { alice: { key: alice.publicKey, pub: { allow: ['orders.>'], deny: ['orders.x'] } } }
    expect(trustOf(pins).verify(alice.token, NOW).permissions).toEqual({
      pub: { allow: ['orders.>'], deny: ['orders.x'] },
      sub: { allow: [], deny: [] },
    })
  })

  it('takes nothing from the token: neither permissions nor roles nor a number of instances', () => {
    const { key } = generateSigningKey(engine, 'U')
    const request = {
      realm,
      name: 'alice',
      identity: key.publicKey,
      permissions: EVERYTHING,
      roles: ['rotator', 'revoker'] as const,
      maxInstances: 1024,
      expiresAtMs: NOW + 1000,
    }
    const token = issueToken(engine, request, { signer: key, issuedAtMs: NOW })
    const claims = trustOf({ alice: { key: key.publicKey } }).verify(token, NOW)
    expect(claims.roles).toEqual([])
    expect(claims.permissions.pub.allow).toEqual([])
    expect(claims.maxInstances).toBe(16)
  })

  it('lets the key of the realm alone rotate and revoke, and read nothing without a pin', () => {
    const claims = trustOf({}).verify(rotator.token, NOW)
    expect(claims.roles).toEqual(['rotator', 'revoker'])
    expect(claims.permissions.sub.allow).toEqual([])
    expect(trustOf({ alice: alice.publicKey }).verify(alice.token, NOW).roles).toEqual([])
    expect(trustOf({}).authorityKeys()).toEqual([])
  })

  it('refuses a name that is not pinned, and a pinned name with another key', () => {
    expect(() => trustOf({}).verify(alice.token, NOW)).toThrow(
      expect.objectContaining({ code: 'ERR_NOT_PINNED' }),
    )
    const trust = trustOf({ alice: bob.publicKey })
    expect(() => trust.verify(alice.token, NOW)).toThrow(
      expect.objectContaining({ code: 'ERR_PIN_MISMATCH' }),
    )
    expect(trust.pinAbsence('alice')).toContain('another one came')
    expect(trust.pinAbsence('bob')).toContain('subrosa pin bob')
  })

  it('tells of no other key than one that has signed a token for the name', () => {
    const trust = trustOf({ alice: bob.publicKey })
    const [header, claims] = alice.token.split('.')
    const [, , signature] = bob.token.split('.')
    const written = `${header}.${claims}.${signature}`
    expect(trust.claimsTrust(written)).toBe(true)
    expect(() => trust.verify(written, NOW)).toThrow(expect.objectContaining({ code: 'ERR_TOKEN_INVALID' }))
    expect(trust.pinAbsence('alice')).toBeUndefined()
    expect(() => trust.verify(alice.token, NOW)).toThrow(
      expect.objectContaining({ code: 'ERR_PIN_MISMATCH' }),
    )
    expect(trust.pinAbsence('alice')).toContain(fingerprint(alice.publicKey))
    // What is known is not verified again.
    expect(trust.claimsTrust(alice.token)).toBe(false)
  })

  it('refuses the key of the realm under a name that is pinned to another key', () => {
    const posing = selfSigned('alice', { issuedAtMs: NOW - 60_000 })
    const trust = new Trust(engine, { realm: posing.publicKey, pins: { alice: alice.publicKey } })
    expect(() => trust.verify(posing.token, NOW)).toThrow(
      expect.objectContaining({ code: 'ERR_PIN_MISMATCH' }),
    )
  })

  it('refuses a token that has expired, is for another realm, or comes from the future', () => {
    const trust = trustOf({ alice: alice.publicKey })
    expect(() => trust.verify(alice.token, NOW + 31 * 86_400_000)).toThrow(
      expect.objectContaining({ code: 'ERR_TOKEN_EXPIRED', hint: expect.stringContaining('identity new') }),
    )
    const elsewhere = new Trust(engine, { realm: bob.publicKey, pins: { alice: alice.publicKey } })
    expect(() => elsewhere.verify(alice.token, NOW)).toThrow(/another realm/)
    expect(() => trust.verify(alice.token, NOW - 3_600_000)).toThrow(/future/)
  })

  it('knows without a signature check whose token is worth one', () => {
    const trust = trustOf({ alice: alice.publicKey })
    expect(trust.claimsTrust(alice.token)).toBe(true)
    expect(trust.claimsTrust(rotator.token)).toBe(true)
    expect(trust.claimsTrust(bob.token)).toBe(false)
    expect(() => trust.claimsTrust('junk')).toThrow(expect.objectContaining({ code: 'ERR_TOKEN_INVALID' }))
  })

  it.each(['constructor', 'toString', '__proto__'])(
    'includes its own key, also of an agent called %s',
    (name) => {
      const identity = selfSigned(name, { realm, issuedAtMs: NOW - 60_000 })
      const own = () => ownTrust({ realm, pins: { bob: bob.publicKey } }, identity)
      expect(own).not.toThrow()
      const trust = new Trust(engine, own())
      expect(trust.verify(identity.token, NOW).name).toBe(name)
      expect(trust.verify(bob.token, NOW).name).toBe('bob')
    },
  )

  it('includes its own key, unless its pins name another for it', () => {
    const own = { realm, pins: { bob: bob.publicKey } }
    expect(ownTrust(own, alice)).toEqual({ realm, pins: { bob: bob.publicKey, alice: alice.publicKey } })
    const strict = { realm, pins: { alice: { key: alice.publicKey, pub: { allow: ['a'] } } } }
    expect(ownTrust(strict, alice)).toBe(strict)
    expect(() => ownTrust({ realm, pins: { alice: bob.publicKey } }, alice)).toThrow(
      expect.objectContaining({ code: 'ERR_PIN_MISMATCH' }),
    )
  })

  it.each([
    ['a realm that is no key', { realm: 'U', pins: {} }],
    ['a realm that is an authority', { realm: newAuthority().publicKey, pins: {} }],
    ['a key that is none', { realm, pins: { alice: 'alice' } }],
    ['a name that is none', { realm, pins: { 'alice smith': alice.publicKey } }],
    ['rules that are none', { realm, pins: { alice: { key: alice.publicKey, pub: { allow: 'x' } } } }],
    ['both an authority and pins', { authority: [newAuthority().publicKey], realm, pins: {} }],
    ['neither', {}],
    ['nothing at all', undefined],
  ])('refuses %s', (_, options) => {
    expect(() => new Trust(engine, options as never)).toThrow(/trust|nkey|permissions/)
  })
})
