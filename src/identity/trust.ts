import { hex, utf8 } from '../bytes.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { SubrosaError } from '../errors.ts'
import { CLOCK_WINDOW_MS } from '../limits.ts'
import { decodeNkey } from './nkey.ts'
import { type IdentityClaims, verifyToken } from './token.ts'

/** Whom an agent trusts to say who is who. */
export interface TrustOptions {
  /**
   * The public keys of the authorities, `A…`. The first one names the realm. Get them by a channel that the broker
   * cannot change.
   */
  readonly authority: readonly string[]
}

declare const verified: unique symbol

/** Claims whose signature was verified against the trust anchors. Only {@link Trust} makes them. */
export type VerifiedClaims = IdentityClaims & { readonly [verified]: true }

const MAX_CACHED_TOKENS = 16_384

/** The trust anchors of one realm. Verified tokens are remembered by their hash. */
export class Trust {
  readonly realm: string
  readonly authorities: readonly string[]
  readonly #engine: CryptoEngine
  readonly #verified = new Map<string, VerifiedClaims>()

  /** @throws TypeError without an authority, SubrosaError ERR_KEY_INVALID when one is no `A…` nkey. */
  constructor(engine: CryptoEngine, options: TrustOptions) {
    const [realm] = options.authority
    if (realm === undefined) throw new TypeError('trust.authority must name at least one authority key')
    for (const key of options.authority) decodeNkey('A', key)
    this.realm = realm
    this.authorities = [...options.authority]
    this.#engine = engine
  }

  /**
   * The claims of a token that one of the authorities signed for this realm.
   *
   * @throws SubrosaError ERR_TOKEN_INVALID, ERR_UNKNOWN_AUTHORITY, ERR_TOKEN_EXPIRED
   */
  verify(token: string, nowMs: number): VerifiedClaims {
    const claims = this.#verifySignature(token)
    if (nowMs >= claims.expiresAt * 1000) throw expired(claims)
    // A token from the future would outlive every revocation.
    if (claims.issuedAt * 1000 > nowMs + CLOCK_WINDOW_MS) {
      throw new SubrosaError(
        'ERR_TOKEN_INVALID',
        `the identity token of ${claims.name} was issued in the future`,
        {
          hint: 'synchronise the clocks of this machine and of the authority',
        },
      )
    }
    return claims
  }

  /** Whether verifying this token costs no signature check. */
  knows(token: string): boolean {
    return this.#verified.has(this.#cacheKey(token))
  }

  /** The public keys of the authorities in bytes. */
  authorityKeys(): readonly Uint8Array[] {
    return this.authorities.map((key) => decodeNkey('A', key))
  }

  #cacheKey(token: string): string {
    return hex(this.#engine.sha256(utf8(token)))
  }

  #verifySignature(token: string): VerifiedClaims {
    const cacheKey = this.#cacheKey(token)
    const known = this.#verified.get(cacheKey)
    if (known !== undefined) return known
    const claims = verifyToken(this.#engine, token, this.authorities)
    if (claims.realm !== this.realm) {
      throw new SubrosaError('ERR_TOKEN_INVALID', 'the identity token is for another realm')
    }
    const proven = claims as VerifiedClaims
    if (this.#verified.size >= MAX_CACHED_TOKENS) this.#verified.clear()
    this.#verified.set(cacheKey, proven)
    return proven
  }
}

function expired(claims: IdentityClaims): SubrosaError {
  const when = new Date(claims.expiresAt * 1000).toISOString()
  return new SubrosaError('ERR_TOKEN_EXPIRED', `the identity token of ${claims.name} expired at ${when}`, {
    hint: 'ask the authority for a new one: subrosa agent add --renew',
  })
}
