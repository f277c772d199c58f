import { describe, expect, it } from 'vitest'
import { decodeNkey } from '../../src/identity/nkey.ts'
import { generateSigningKey } from '../../src/identity/signing-key.ts'
import { Trust } from '../../src/identity/trust.ts'
import {
  agent,
  authority,
  EXPIRES_AT_MS,
  engine,
  forgeToken,
  goodClaims,
  ISSUED_AT_MS,
  issue,
} from './tokens.ts'

const other = generateSigningKey(engine, 'A').key
const trust = new Trust(engine, { authority: [authority.publicKey] })
const code = (expected: string) => expect.objectContaining({ name: 'SubrosaError', code: expected })

describe('trust', () => {
  it('names the realm by the first authority', () => {
    const both = new Trust(engine, { authority: [authority.publicKey, other.publicKey] })
    expect(both.realm).toBe(authority.publicKey)
    expect(both.authorityKeys()).toEqual([
      decodeNkey('A', authority.publicKey),
      decodeNkey('A', other.publicKey),
    ])
  })

  it('has plans signed by any of the authorities, under pins by the key of the realm', () => {
    const both = new Trust(engine, { authority: [authority.publicKey, other.publicKey] })
    expect(both.planKeys()).toEqual(both.authorityKeys())
    const pins = new Trust(engine, { realm: agent.publicKey, pins: {} })
    expect(pins.planKeys()).toEqual([decodeNkey('U', agent.publicKey)])
  })

  it('needs an authority', () => {
    expect(() => new Trust(engine, { authority: [] })).toThrow(TypeError)
  })

  it.each(['', 'A', 'nonsense', agent.publicKey, authority.publicKey.toLowerCase()])(
    'refuses %j for an authority, in the first place and in the second',
    (key) => {
      expect(() => new Trust(engine, { authority: [key] })).toThrow(code('ERR_KEY_INVALID'))
      expect(() => new Trust(engine, { authority: [authority.publicKey, key] })).toThrow(
        code('ERR_KEY_INVALID'),
      )
    },
  )

  it('verifies a token of its realm', () => {
    expect(trust.verify(issue(), ISSUED_AT_MS)).toMatchObject({ name: 'billing', realm: authority.publicKey })
  })

  it('verifies a token that the second authority signed for the realm of the first', () => {
    const both = new Trust(engine, { authority: [authority.publicKey, other.publicKey] })
    expect(both.verify(issue({}, other), ISSUED_AT_MS).issuer).toBe(other.publicKey)
  })

  it('refuses a token for another realm, although its authority is trusted', () => {
    expect(() => trust.verify(issue({ realm: other.publicKey }), ISSUED_AT_MS)).toThrow(
      expect.objectContaining({
        code: 'ERR_TOKEN_INVALID',
        message: expect.stringContaining('another realm'),
      }),
    )
    const both = new Trust(engine, { authority: [authority.publicKey, other.publicKey] })
    expect(() => both.verify(issue({ realm: other.publicKey }), ISSUED_AT_MS)).toThrow(
      code('ERR_TOKEN_INVALID'),
    )
  })

  it('refuses a token of an authority that it does not trust', () => {
    expect(() => trust.verify(issue({}, other), ISSUED_AT_MS)).toThrow(code('ERR_UNKNOWN_AUTHORITY'))
  })

  it('refuses a token from the millisecond of its expiry on, and says when that was and what to do', () => {
    const token = issue()
    expect(trust.verify(token, EXPIRES_AT_MS - 1).name).toBe('billing')
    for (const now of [EXPIRES_AT_MS, EXPIRES_AT_MS + 1, Number.MAX_SAFE_INTEGER]) {
      expect(() => trust.verify(token, now)).toThrow(
        expect.objectContaining({
          code: 'ERR_TOKEN_EXPIRED',
          message: expect.stringContaining(new Date(EXPIRES_AT_MS).toISOString()),
          hint: expect.stringContaining('subrosa agent add'),
        }),
      )
    }
  })

  it('refuses a token that was issued more than 120 s ahead, which would outlive every revocation', () => {
    const token = issue()
    expect(trust.verify(token, ISSUED_AT_MS - 120_000).name).toBe('billing')
    expect(() => trust.verify(token, ISSUED_AT_MS - 120_001)).toThrow(
      expect.objectContaining({
        code: 'ERR_TOKEN_INVALID',
        message: expect.stringContaining('in the future'),
      }),
    )
  })

  it('remembers a token that it verified and still checks its expiry', () => {
    const token = issue()
    const first = trust.verify(token, ISSUED_AT_MS)
    expect(trust.verify(token, ISSUED_AT_MS)).toBe(first)
    expect(() => trust.verify(token, EXPIRES_AT_MS)).toThrow(code('ERR_TOKEN_EXPIRED'))
  })

  it('remembers no token that it refused', () => {
    const token = forgeToken(goodClaims(), { signer: other })
    for (let i = 0; i < 3; i++) {
      expect(() => trust.verify(token, ISSUED_AT_MS)).toThrow(code('ERR_TOKEN_INVALID'))
    }
  })

  it('does not let a token of one realm into another through what it remembers', () => {
    const token = issue()
    trust.verify(token, ISSUED_AT_MS)
    const elsewhere = new Trust(engine, { authority: [other.publicKey] })
    expect(() => elsewhere.verify(token, ISSUED_AT_MS)).toThrow(code('ERR_UNKNOWN_AUTHORITY'))
  })

  it('keeps its list of authorities when the caller changes theirs', () => {
    const list = [authority.publicKey]
    const own = new Trust(engine, { authority: list })
    list.push(other.publicKey)
    expect(() => own.verify(issue({}, other), ISSUED_AT_MS)).toThrow(code('ERR_UNKNOWN_AUTHORITY'))
  })
})
