import { hex, utf8 } from '../base/bytes.ts'
import { SubrosaError } from '../base/errors.ts'
import { CLOCK_WINDOW_MS } from '../base/limits.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { decodeNkey } from './nkey.ts'
import type { Permissions } from './permissions.ts'
import { Pins, type PinTrust } from './pins.ts'
import type { Signer } from './signing-key.ts'
import { type IdentityClaims, readClaims, verifySelfSignedToken, verifyToken } from './token.ts'

/** Trust in authorities, which say who is who and who may do what. */
export interface AuthorityTrust {
  /**
   * The public keys of the authorities, `A…`. The first one names the realm. Get them by a channel that the broker
   * cannot change.
   */
  readonly authority: readonly string[]
}

/** Whom an agent trusts to say who is who: authorities, or the keys that it has pinned. */
export type TrustOptions = AuthorityTrust | PinTrust

declare const verified: unique symbol

/** Claims whose signature was verified against the trust anchors. Only {@link Trust} makes them. */
export type VerifiedClaims = IdentityClaims & { readonly [verified]: true }

const MAX_CACHED_TOKENS = 16_384
const MAX_SHARED_PERMISSIONS = 256

/** The trust anchors of one realm. Verified tokens are remembered by their hash. */
export class Trust {
  readonly realm: string
  /** The public keys of the authorities. Under pins there is none. */
  readonly authorities: readonly string[]
  readonly #engine: CryptoEngine
  readonly #pins: Pins | undefined
  readonly #verified = new Map<string, VerifiedClaims>()
  /** By what they say. */
  readonly #permissions = new Map<string, Permissions>()

  /**
   * @throws TypeError without an authority and without pins, or with both; SubrosaError ERR_KEY_INVALID when a key is
   *   no nkey of its kind, ERR_TOKEN_INVALID for rules of a pin that are none
   */
  constructor(engine: CryptoEngine, options: TrustOptions) {
    this.#engine = engine
    if (isPinTrust(options)) {
      this.realm = options.realm
      this.authorities = []
      this.#pins = new Pins(options)
      return
    }
    const [realm] = Array.isArray(options.authority) ? options.authority : []
    if (realm === undefined)
      throw new TypeError(
        'trust.authority must name at least one authority key, or trust.pins the keys of agents',
      )
    for (const key of options.authority) decodeNkey('A', key)
    this.realm = realm
    this.authorities = [...options.authority]
    this.#pins = undefined
  }

  /** Whether trust is by pins: tokens are self-signed, and every publish names its recipients. */
  get isByPins(): boolean {
    return this.#pins !== undefined
  }

  /** Why nothing can be sealed to this name, as far as the pins know. */
  pinAbsence(name: string): string | undefined {
    return this.#pins?.absence(name)
  }

  /**
   * The claims of a token that one of the authorities signed for this realm; under pins, of a self-signed one whose
   * key is pinned, with the permissions and roles that the pins give.
   *
   * @param nowMs the wall clock: by it a token comes from the future
   * @param notBeforeMs the time that it is at least: by it a token has expired. Default: the wall clock
   * @throws SubrosaError ERR_TOKEN_INVALID, ERR_UNKNOWN_AUTHORITY, ERR_TOKEN_EXPIRED, ERR_NOT_PINNED, ERR_PIN_MISMATCH
   */
  verify(token: string, nowMs: number, notBeforeMs = nowMs): VerifiedClaims {
    const claims = this.#verifySignature(token)
    if (notBeforeMs >= claims.expiresAt * 1000) throw this.#expired(claims)
    // A token from the future would outlive every revocation.
    if (claims.issuedAt * 1000 > nowMs + CLOCK_WINDOW_MS) {
      throw new SubrosaError(
        'ERR_TOKEN_INVALID',
        `the identity token of ${claims.name} was issued in the future`,
        {
          hint: 'synchronise the clocks of this machine and of the one that signed it',
        },
      )
    }
    return claims
  }

  /**
   * Whether the token names somebody who is trusted as its signer, so that its signature is worth a check: an authority, or a
   * key under a pinned name.
   *
   * @throws SubrosaError ERR_TOKEN_INVALID when it is malformed
   */
  claimsTrust(token: string): boolean {
    const claims = readClaims(token)
    return this.#pins === undefined ? this.authorities.includes(claims.issuer) : this.#pins.mayMatter(claims)
  }

  /** Whether verifying this token costs no signature check. */
  knows(token: string): boolean {
    return this.#verified.has(this.#cacheKey(token))
  }

  /** The public keys of the authorities in bytes. */
  authorityKeys(): readonly Uint8Array[] {
    return this.authorities.map((key) => decodeNkey('A', key))
  }

  /** The public keys in bytes of those whose signature makes a plan: the authorities, under pins the realm itself. */
  planKeys(): readonly Uint8Array[] {
    return this.isByPins ? [decodeNkey('U', this.realm)] : this.authorityKeys()
  }

  #cacheKey(token: string): string {
    return hex(this.#engine.sha256(utf8(token)))
  }

  #verifySignature(token: string): VerifiedClaims {
    const cacheKey = this.#cacheKey(token)
    const known = this.#verified.get(cacheKey)
    if (known !== undefined) return known
    const claims = this.#verifyIssuer(token)
    if (claims.realm !== this.realm) {
      throw new SubrosaError('ERR_TOKEN_INVALID', 'the identity token is for another realm')
    }
    const proven = { ...claims, permissions: this.#shared(claims.permissions) } as VerifiedClaims
    if (this.#verified.size >= MAX_CACHED_TOKENS) this.#verified.clear()
    this.#verified.set(cacheKey, proven)
    return proven
  }

  /** Many agents may do the same, and thousands of them are held at once: they share what says so. */
  #shared(permissions: Permissions): Permissions {
    const key = JSON.stringify(permissions)
    const known = this.#permissions.get(key)
    if (known !== undefined) return known
    if (this.#permissions.size >= MAX_SHARED_PERMISSIONS) this.#permissions.clear()
    this.#permissions.set(key, permissions)
    return permissions
  }

  #verifyIssuer(token: string): IdentityClaims {
    if (this.#pins === undefined) return verifyToken(this.#engine, token, this.authorities)
    return this.#pins.grant(verifySelfSignedToken(this.#engine, token))
  }

  #expired({ name, expiresAt }: IdentityClaims): SubrosaError {
    const when = new Date(expiresAt * 1000).toISOString()
    return new SubrosaError('ERR_TOKEN_EXPIRED', `the identity token of ${name} expired at ${when}`, {
      hint: this.isByPins
        ? 'sign a new one: subrosa identity new NAME --renew'
        : 'ask the authority for a new one: subrosa agent add --renew',
    })
  }
}

/**
 * The trust of an agent for its own connection: under pins its own key is among them.
 *
 * @throws SubrosaError ERR_PIN_MISMATCH when the pins name another key for it
 */
export function ownTrust(options: TrustOptions, own: Signer & { readonly name: string }): TrustOptions {
  return isPinTrust(options) ? Pins.withOwn(options, own) : options
}

function isPinTrust(options: TrustOptions): options is PinTrust {
  if (typeof options !== 'object' || options === null)
    throw new TypeError('trust must be { authority } or { realm, pins }')
  const { authority, pins }: Partial<AuthorityTrust & PinTrust> = options
  if (pins === undefined) return false
  if (authority !== undefined) throw new TypeError('trust is by an authority or by pins, not by both')
  return true
}
