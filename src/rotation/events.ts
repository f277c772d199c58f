import type { PeerDifference } from './peers.ts'

/**
 * What a rotation service reports.
 *
 * @example
 * ```ts
 * const onEvent = (event: RotationEvent) => {
 *   if (event.type === 'standing' && event.standing === 0) console.warn('counts for nobody')
 * }
 * ```
 */
export type RotationEvent =
  /** From now on it counts (1), or hands over what it holds and counts for nobody (0): also said at the start. */
  | { readonly type: 'standing'; readonly standing: 0 | 1; readonly planVersion: number }
  /** A newer plan was taken up. `until` is when it ends, in ms since 1970. */
  | { readonly type: 'plan'; readonly version: number; readonly until: number }
  /** The plan ends within 30 days: said once a day. */
  | { readonly type: 'planEnding'; readonly version: number; readonly until: number }
  | { readonly type: 'epoch'; readonly number: number; readonly notAfter: number }
  | { readonly type: 'announced'; readonly name: string; readonly instance: string; readonly epoch: number }
  | { readonly type: 'retired'; readonly name: string; readonly instance: string }
  | { readonly type: 'revoked'; readonly identity: string; readonly reason: string }
  /** Somebody who may has ordered fresh keys. Agents follow it by themselves. */
  | { readonly type: 'ordered'; readonly epoch: number }
  /** Another rotation service (its public key) has named another directory for minutes, or goes by an older plan. At most one a minute. */
  | { readonly type: 'peerDiffers'; readonly rotator: string; readonly what: PeerDifference }
  /**
   * The broker handed a message of this subject to a subscription that does not cover it, or its headers are longer than
   * any of the protocol. At most one a second.
   */
  | { readonly type: 'rejected'; readonly reason: 'misrouted' | 'headers'; readonly subject: string }
  | { readonly type: 'error'; readonly error: unknown }
