import { describe, expect, it } from 'vitest'
import { encodeIdentityFile, generateIdentityKey, parseIdentityFile } from '../../src/identity/identity.ts'
import type { Signer } from '../../src/identity/signing-key.ts'
import { issueToken } from '../../src/identity/token.ts'
import { Trust } from '../../src/identity/trust.ts'
import { EVERYTHING, engine, newAuthority, newIdentity } from '../support/identities.ts'
import { TestRealm } from '../support/realm.ts'
import { failure } from '../support/until.ts'

describe('a rotation service that wants to mint an identity', () => {
  const now = Date.now()

  function mint(realm: string, signer: Signer) {
    const { seed, publicKey } = generateIdentityKey(engine)
    const token = issueToken(
      engine,
      { realm, name: 'minted', identity: publicKey, permissions: EVERYTHING, expiresAtMs: now + 3_600_000 },
      { signer, issuedAtMs: now - 1000 },
    )
    return { token, seed }
  }

  it('is not believed: only an authority signs tokens, whatever the token says of its issuer', () => {
    const authority = newAuthority()
    const trust = new Trust(engine, { authority: [authority.publicKey] })
    const rotator = newIdentity(authority, 'rotator', { issuedAtMs: now - 1000, roles: ['rotator'] }).identity
    const honest = mint(authority.publicKey, authority).token
    expect(trust.verify(honest, now).name).toBe('minted')
    const inItsOwnName = () => trust.verify(mint(authority.publicKey, rotator).token, now)
    expect(inItsOwnName).toThrow(/no nkey of the right kind/)
    const pretender = { publicKey: authority.publicKey, sign: (bytes: Uint8Array) => rotator.sign(bytes) }
    const inTheAuthoritysName = () => trust.verify(mint(authority.publicKey, pretender).token, now)
    expect(inTheAuthoritysName).toThrow(/signature .* does not fit/)
  })

  it('gets nobody in: an agent with a minted token cannot join, and nobody seals to it', async () => {
    const realm = await TestRealm.start()
    const alice = await realm.agent('alice')
    const pretender = {
      publicKey: realm.authority.publicKey,
      sign: (bytes: Uint8Array) => realm.rotator.sign(bytes),
    }
    const { token, seed } = mint(realm.authority.publicKey, pretender)
    const minted = parseIdentityFile(engine, encodeIdentityFile(token, seed))
    expect((await failure(() => realm.agent(minted))).code).toBe('ERR_TOKEN_INVALID')
    expect(alice.audience('orders.new').map(({ name }) => name)).toEqual(['alice'])
    await realm.stop()
  })
})
