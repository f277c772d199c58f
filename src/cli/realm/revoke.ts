import { SubrosaError } from '../../base/errors.ts'
import { issueBrokerUser } from '../../setup/broker-users.ts'
import { realmLayout } from '../../setup/layout.ts'
import type { Realm } from '../../setup/realm.ts'
import type { RevocationRecord } from '../../setup/revocation-records.ts'
import { type RevokeRequest, revokeAgent } from '../../setup/revocations.ts'
import { connectBroker } from './dial.ts'
import { publishRevocation } from './publish-revocation.ts'

const LOGIN_LIFETIME_MS = 10 * 60_000

/**
 * Signs the revocation of an agent's identity, records it in the realm's folder, publishes it, and waits until the
 * rotation service holds it.
 *
 * @param server the broker. Default: that of the realm
 * @throws SubrosaError as {@link revokeAgent}; ERR_CONNECTION, ERR_NO_ROTATION_SERVICE and what else stands between here
 *   and the service: the record is there then, and the message says so
 */
export async function revokeAndPublish(
  realm: Realm,
  request: RevokeRequest,
  server = realm.server,
): Promise<RevocationRecord> {
  const record = await revokeAgent(realm, request)
  await publish(realm, record, server)
  return record
}

async function publish(realm: Realm, record: RevocationRecord, server: string): Promise<void> {
  try {
    const nc = await connectBroker({
      server,
      // For this one time: nothing that may do everything is left lying about.
      creds: await issueBrokerUser(realm, 'subrosa-agent-revoke', { expiresInMs: LOGIN_LIFETIME_MS }),
      caPath: realmLayout(realm.dir).caCertificate,
      name: 'subrosa agent revoke',
    })
    try {
      await publishRevocation(nc, { trust: { authority: realm.authority }, statement: record.statement })
    } finally {
      await nc.close()
    }
  } catch (error) {
    throw unpublished(error, realm, record)
  }
}

function unpublished(error: unknown, realm: Realm, { name, path }: RevocationRecord): SubrosaError {
  const { code, message, hint } =
    error instanceof SubrosaError
      ? error
      : new SubrosaError('ERR_CONNECTION', 'the connection failed', { cause: error })
  const standing =
    code === 'ERR_NO_ROTATION_SERVICE'
      ? `is recorded in ${path} and was published, but is not confirmed`
      : `is recorded in ${path} and not published`
  const retry = `agents go on trusting ${name} until this succeeds: subrosa agent revoke ${name} --realm ${realm.dir}`
  return new SubrosaError(code, `the revocation of ${name} ${standing}: ${message}`, {
    hint: hint === undefined ? retry : `${hint}\n${retry}`,
    cause: error,
  })
}
