import { SubrosaError } from '../../base/errors.ts'
import type { HeldPlan } from '../../keys/plan.ts'
import { findAgent } from '../../setup/agent-records.ts'
import { newestPlan } from '../../setup/plan-records.ts'
import type { Realm } from '../../setup/realm.ts'
import type { RevocationRecord } from '../../setup/revocation-records.ts'
import { type RevokeRequest, revokeAgent } from '../../setup/revocations.ts'
import { rotatorNames } from '../../setup/rotators.ts'
import { asOperator } from './operator.ts'
import { wordText } from './plan-word.ts'
import { publishRevocation, type RevocationWord } from './publish-revocation.ts'

const DEFAULT_TIMEOUT_MS = 10_000

/** How a revocation is published. */
export interface PublishOptions {
  /** Where the broker is. Default: that of the realm. */
  readonly server?: string | undefined
  /** Milliseconds in which it must be confirmed. Default 10,000. */
  readonly timeoutMs?: number | undefined
  /** Whether a rotation service of the newest plan is revoked too. Default: it is refused. */
  readonly evenRotator?: boolean | undefined
}

/** A revocation that is confirmed. */
export interface ConfirmedRevocation {
  readonly record: RevocationRecord
  /** How many rotation services name it. */
  readonly holders: number
}

/**
 * Signs the revocation of an agent's identity, records it in the realm's folder, publishes it, and waits until it is
 * confirmed.
 *
 * @throws SubrosaError as {@link revokeAgent}; ERR_SETUP for a rotation service of the newest plan; ERR_CONNECTION, ERR_NO_ROTATION_SERVICE and what else stands between here
 *   and the services: the record is there then, and the message says so
 */
export async function revokeAndPublish(
  realm: Realm,
  request: RevokeRequest,
  { server, timeoutMs = DEFAULT_TIMEOUT_MS, evenRotator = false }: PublishOptions = {},
): Promise<ConfirmedRevocation> {
  const { plan } = await newestPlan(realm)
  if (!evenRotator) await refuseRotator(realm, plan, request.name)
  const record = await revokeAgent(realm, request)
  const options = { plans: [plan], server, purpose: 'subrosa agent revoke', timeoutMs }
  const word = await asOperator(realm, options, (operator) =>
    publishRevocation(operator, plan, record.statement),
  ).catch((error: unknown) => {
    throw unpublished(error, realm, record)
  })
  if (!word.isConfirmed) throw await unconfirmed(realm, { record, plan, word })
  return { record, holders: word.holders.length }
}

/** @throws SubrosaError ERR_SETUP that says what the revocation of a rotation service does */
async function refuseRotator(
  realm: Realm,
  { version, rotators, threshold }: HeldPlan,
  name: string,
): Promise<void> {
  const agent = await findAgent(realm, name)
  if (agent === undefined || !rotators.includes(agent.claims.identity)) return
  throw new SubrosaError(
    'ERR_SETUP',
    `${name} is a rotation service of plan ${version}: once it is revoked it counts for no threshold, for ever, and ${rotators.length - 1} are left of which ${threshold} must answer`,
    {
      hint: `where its key was stolen: subrosa plan replace-rotator ${name} --stolen, which revokes it too; where it moves or its record is lost: the same without --stolen; to revoke it all the same: subrosa agent revoke ${name} --yes`,
    },
  )
}

async function unconfirmed(
  realm: Realm,
  found: { readonly record: RevocationRecord; readonly plan: HeldPlan; readonly word: RevocationWord },
): Promise<SubrosaError> {
  const { record, plan, word } = found
  const { name, identity, path } = record
  const { rotators, threshold } = plan
  const held = `${word.holders.length} of the ${threshold} rotation services that must hold it name it`
  const isAmongThem = rotators.includes(identity)
  const left = rotators.length - (isAmongThem ? 1 : 0)
  const hint =
    left < threshold
      ? `without ${name} ${left} are left where ${threshold} must answer, so no agent is fresh: subrosa plan replace-rotator ${name} --stolen`
      : `this is not final: repeat it until it is confirmed, since until then agents from which a broker keeps it may go on trusting ${name}: subrosa agent revoke ${name} --realm ${realm.dir}`
  return new SubrosaError(
    'ERR_NO_ROTATION_SERVICE',
    `the revocation of ${name} is recorded in ${path} and published, and not confirmed yet: ${held}; ${wordText(plan, word.word, await rotatorNames(realm))}`,
    { hint },
  )
}

function unpublished(error: unknown, realm: Realm, { name, path }: RevocationRecord): SubrosaError {
  const { code, message, hint } =
    error instanceof SubrosaError
      ? error
      : new SubrosaError('ERR_CONNECTION', 'the connection failed', { cause: error })
  const retry = `agents go on trusting ${name} until this succeeds: subrosa agent revoke ${name} --realm ${realm.dir}`
  return new SubrosaError(
    code,
    `the revocation of ${name} is recorded in ${path} and not published: ${message}`,
    {
      hint: hint === undefined ? retry : `${hint}\n${retry}`,
      cause: error,
    },
  )
}
