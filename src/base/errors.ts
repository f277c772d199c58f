/**
 * Every code that a {@link SubrosaError} can carry. The set is closed: switch on it.
 */
export type SubrosaErrorCode =
  | 'ERR_MALFORMED'
  | 'ERR_OPEN_FAILED'
  | 'ERR_TOKEN_INVALID'
  | 'ERR_TOKEN_EXPIRED'
  | 'ERR_UNKNOWN_AUTHORITY'
  | 'ERR_NOT_PINNED'
  | 'ERR_PIN_MISMATCH'
  | 'ERR_KEY_INVALID'
  | 'ERR_KEY_FILE'
  | 'ERR_KEY_FILE_PERMISSIONS'
  | 'ERR_KEY_PASSPHRASE'
  | 'ERR_ENGINE'
  | 'ERR_SUITE'
  | 'ERR_PLAN_INVALID'
  | 'ERR_PLAN_EXPIRED'
  | 'ERR_PLAN_CONFLICT'
  | 'ERR_ROLLBACK'
  | 'ERR_CLOCK_SKEW'
  | 'ERR_NO_ROTATION_SERVICE'
  | 'ERR_STALE'
  | 'ERR_REVOKED'
  | 'ERR_EMPTY_AUDIENCE'
  | 'ERR_RECIPIENT_NOT_ALLOWED'
  | 'ERR_PUBLISH_DENIED'
  | 'ERR_SUBSCRIBE_DENIED'
  | 'ERR_MESSAGE_TOO_LARGE'
  | 'ERR_HEADER'
  | 'ERR_TIMEOUT'
  | 'ERR_NO_RESPONDERS'
  | 'ERR_UNADDRESSED'
  | 'ERR_CLOSED'
  | 'ERR_MCP_REFUSED'
  | 'ERR_MCP_ENDED'
  | 'ERR_STATE'
  | 'ERR_CONNECTION'
  | 'ERR_SETUP'

/** What a {@link SubrosaError} may carry besides its code and message. */
export interface SubrosaErrorOptions {
  /** What to do about it, in one sentence. */
  readonly hint?: string
  /** The error underneath. Never set by codecs and ciphers, whose errors may quote data. */
  readonly cause?: unknown
}

/**
 * The one error class of this package. `code` says which failure it is, `hint` what to do about it.
 * Messages hold no secrets and no payload bytes.
 *
 * Bad arguments are `TypeError` or `RangeError` instead, and name the argument.
 *
 * @example
 * ```ts
 * try { bus.publish('orders.new', bytes) } catch (err) {
 *   if (err instanceof SubrosaError && err.code === 'ERR_EMPTY_AUDIENCE') console.error(err.hint)
 * }
 * ```
 */
export class SubrosaError extends Error {
  readonly code: SubrosaErrorCode
  readonly hint: string | undefined

  /** @internal Made by this package. */
  constructor(code: SubrosaErrorCode, message: string, options: SubrosaErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'SubrosaError'
    this.code = code
    this.hint = options.hint
  }
}
