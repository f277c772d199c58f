import { utf8 } from '../base/bytes.ts'
import { type Clock, systemClock } from '../base/clock.ts'
import { SubrosaError } from '../base/errors.ts'
import { CLOCK_WINDOW_MS } from '../base/limits.ts'
import { signRevocation } from '../keys/revocations.ts'
import { findAgent } from './agent-records.ts'
import { replaceFile } from './files.ts'
import { revocationPath } from './layout.ts'
import type { Realm } from './realm.ts'
import { formatRevocation, type RevocationRecord } from './revocation-records.ts'
import { loadAuthority } from './signers.ts'

const MAX_REASON_BYTES = 256
const SAME_MS = 86_400_000

/** Whom to revoke. */
export interface RevokeRequest {
  readonly name: string
  /** Told to every agent. At most 256 bytes. */
  readonly reason?: string
  /**
   * How long it is in force at least, in milliseconds: for those who are away, and must hear that the name is free. Default:
   * until the last of its tokens has expired.
   */
  readonly lastsMs?: number
  readonly clock?: Clock
}

/**
 * Signs the revocation of an agent's identity and keeps it in the realm's folder. It acts once it is published on the
 * realm's subject `revoke`. An identity that is revoked already, for as long as is asked for, gives the same statement
 * again, unless that was made by a clock that was ahead: no service takes such a one, so another is signed.
 *
 * @throws SubrosaError ERR_SETUP (no such agent, or all its tokens have expired), ERR_KEY_FILE,
 *   ERR_KEY_FILE_PERMISSIONS
 * @throws RangeError when the reason is too long
 *
 * @example
 * ```ts
 * const { statement } = await revokeAgent(realm, { name: 'intern', reason: 'left the company' })
 * nc.publish(`subrosa.v1.${realm.key}.revoke`, statement)
 * ```
 */
export async function revokeAgent(realm: Realm, request: RevokeRequest): Promise<RevocationRecord> {
  const { name, reason = '', lastsMs = 0, clock = systemClock } = request
  if (utf8(reason).length > MAX_REASON_BYTES)
    throw new RangeError(`reason must be at most ${MAX_REASON_BYTES} bytes`)
  const agent = await findAgent(realm, name)
  if (agent === undefined) {
    throw new SubrosaError('ERR_SETUP', `there is no agent ${name}`, {
      hint: 'the agents of this realm: subrosa agent list',
    })
  }
  const since = clock.now()
  if (since < agent.claims.issuedAt * 1000)
    throw new SubrosaError(
      'ERR_SETUP',
      `the clock is behind the issue of ${name}'s token: a revocation would not reach it`,
      {
        hint: 'set the clock of this machine right',
      },
    )
  const until = Math.max(agent.lastExpiresAt * 1000, since + lastsMs)
  if (until <= since)
    throw new SubrosaError('ERR_SETUP', `every token of ${name} has expired: there is nothing to revoke`)
  // A second one is signed only where the first does not last: by some minutes more or less nothing changes.
  const isLong = (agent.revocation?.until ?? 0) >= until - SAME_MS
  const isAhead = (agent.revocation?.since ?? 0) > since + CLOCK_WINDOW_MS
  if (agent.revocation !== undefined && !isAhead && (lastsMs === 0 || isLong)) return agent.revocation

  const { identity } = agent.claims
  const revocation = { identity, since, until, reason }
  const record: RevocationRecord = {
    name,
    ...revocation,
    statement: signRevocation(await loadAuthority(realm), { realm: realm.key, ...revocation, past: 0 }),
    path: revocationPath(realm.dir, name, identity),
  }
  await replaceFile(record.path, formatRevocation(record), { secret: false })
  return record
}
