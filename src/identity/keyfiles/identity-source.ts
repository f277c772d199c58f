import type { Clock } from '../../base/clock.ts'
import type { AskPassphrase } from './passphrase.ts'

/** A private key and the token that an authority issued for it. */
export interface KeyAndToken {
  /**
   * `file:PATH` or `env:NAME` of a private Ed25519 key: PKCS#8 PEM or OpenSSH, plain or encrypted, or an nkey seed
   * `SU…`. It must be a key of its own, with which nobody logs in to a broker.
   */
  readonly key: string
  /** `file:PATH` or `env:NAME` of the identity token, or its text. */
  readonly token: string
}

/** A private key for trust by pins: its token is signed with the key itself, each time that it is loaded. */
export interface KeyAndName {
  /** As in {@link KeyAndToken}. */
  readonly key: string
  /** By which the others have pinned the key: 1 to 64 letters, digits, `_` or `-`. */
  readonly name: string
  /** The public key of the rotation service, `U…`. */
  readonly realm: string
  /** How long the token lasts, in milliseconds. Default 90 days. */
  readonly expiresInMs?: number
}

/**
 * Where an identity comes from: `file:PATH` or `env:NAME` of an identity file, or a key of one's own. What stands in
 * an environment variable may have its line ends written as `\n`, or be the base64 of the whole.
 */
export type IdentitySource = string | KeyAndToken | KeyAndName

/** Options of {@link loadIdentity}. */
export interface LoadIdentityOptions {
  /**
   * The passphrase of an encrypted key: `file:PATH`, `env:NAME`, or a function that is called when the key turns out
   * to be encrypted.
   */
  readonly passphrase?: string | AskPassphrase
  /** Where time comes from, for tests. Default the machine's. */
  readonly clock?: Clock
}
