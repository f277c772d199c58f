import { type Clock, systemClock } from '../../base/clock.ts'
import { HouseClock } from '../../base/house-clock.ts'
import type { NatsLike } from '../../bus/nats-like.ts'
import { engineFor } from '../../crypto/engine.ts'
import { Trust } from '../../identity/trust.ts'
import { type ProtocolSubjects, protocolSubjects } from '../../keys/subjects.ts'
import { issueBrokerUser } from '../../setup/broker-users.ts'
import { realmLayout } from '../../setup/layout.ts'
import type { Realm } from '../../setup/realm.ts'
import { recordedRevocations } from '../../setup/revocation-records.ts'
import { connectBroker } from './dial.ts'
import { type Services, ServiceVisit } from './service-visit.ts'

const LOGIN_LIFETIME_MS = 10 * 60_000

/** How whoever runs a realm asks its rotation services. */
export interface OperatorOptions {
  /** The services that are asked are those of these plans. */
  readonly plans: readonly Services[]
  /** Where the broker is. Default: that of the realm. */
  readonly server?: string | undefined
  /** What the broker calls the connection, such as `subrosa plan renew`. */
  readonly purpose: string
  /** Milliseconds for the whole visit. */
  readonly timeoutMs: number
  /** A service that is not heard, besides those that are revoked. */
  readonly stolen?: string | undefined
  readonly clock?: Clock
}

/** A visit to the rotation services, and what is asked with. */
export interface Operator {
  readonly nc: NatsLike
  readonly visit: ServiceVisit
  readonly subjects: ProtocolSubjects
  readonly clock: Clock
}

/**
 * Connects with a login that may do everything at the broker, asks the rotation services, and leaves.
 *
 * @throws SubrosaError ERR_CONNECTION, ERR_SETUP, ERR_KEY_FILE, ERR_KEY_FILE_PERMISSIONS, and what the task throws
 */
export async function asOperator<T>(
  realm: Realm,
  options: OperatorOptions,
  task: (operator: Operator) => Promise<T>,
): Promise<T> {
  const { plans, server = realm.server, purpose, timeoutMs, stolen, clock = systemClock } = options
  const revocations = await recordedRevocations(realm, clock.now())
  const nc = await connectBroker({
    server,
    // For this one time: nothing that may do everything is left lying about.
    creds: await issueBrokerUser(realm, purpose.replaceAll(' ', '-'), { expiresInMs: LOGIN_LIFETIME_MS }),
    caPath: realmLayout(realm.dir).caCertificate,
    name: purpose,
  })
  try {
    const engine = engineFor()
    const subjects = protocolSubjects(engine, realm.key)
    const visit = await ServiceVisit.open(nc, {
      engine,
      trust: new Trust(engine, { authority: realm.authority }),
      subjects,
      clock: new HouseClock(clock, () => {}),
      plans,
      isRevoked: (rotator) => rotator === stolen || revocations.revokedByAuthority(rotator),
      timeoutMs,
    })
    try {
      return await task({ nc, visit, subjects, clock })
    } finally {
      visit.close()
    }
  } finally {
    await nc.close()
  }
}
