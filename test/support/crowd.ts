import { MAX_HANDSHAKE_INBOXES } from '../../src/base/limits.ts'
import type { Permissions } from '../../src/identity/permissions.ts'
import type { AcceptedEpoch } from '../../src/keys/epochs.ts'
import { decodePage, encodeQuery, QueryKind } from '../../src/wire/statements.ts'
import { EVERYTHING, engine } from './identities.ts'
import type { TestRealm } from './realm.ts'
import { World } from './statements.ts'

/** With so many more in the audience a handshake goes on the subject, and not into inboxes. */
export const CROWD = MAX_HANDSHAKE_INBOXES + 1

/**
 * Announces many instances in the epoch that the realm's rotation service names: they can be sealed to, and nobody is
 * behind them. Agents that join later are told of them too.
 */
export async function announceCrowd(
  realm: TestRealm,
  count = CROWD,
  permissions: Permissions = EVERYTHING,
): Promise<void> {
  const nc = await realm.connection()
  const { world, epoch } = await servedEpoch(realm)
  for (let i = 0; i < count; i++) {
    const name = `crowd${i}`
    const instance = engine.randomBytes(8)
    const { bytes } = world.announcement(realm.identity(name, { permissions }), epoch, { instance })
    nc.publish(`${realm.root}.announce.${name}.${Buffer.from(instance).toString('hex')}`, bytes)
  }
  await nc.flush()
}

/** The newest epoch of the realm's rotation service, and a world in which announcements for it are made by hand. */
export async function servedEpoch(
  realm: TestRealm,
): Promise<{ readonly world: World; readonly epoch: AcceptedEpoch }> {
  const world = new World({ like: realm })
  let epoch: AcceptedEpoch | undefined
  for (const bytes of await servedEpochs(realm))
    epoch = world.chain.accept([bytes], world.chain.peek(bytes), realm.clock.now())
  if (epoch === undefined) throw new Error('no epoch is served')
  return { world, epoch }
}

/** Asks as an instance does that joins. */
async function servedEpochs(realm: TestRealm): Promise<readonly Uint8Array[]> {
  const nc = await realm.connection()
  const inbox = `${realm.root}.inbox.${'0'.repeat(16)}`
  const page = new Promise<Uint8Array>((resolve) => {
    nc.subscribe(inbox, { max: 1, callback: (_error, { data }) => resolve(new Uint8Array(data)) })
  })
  const query = { kind: QueryKind.epochs, nonce: new Uint8Array(16), cursor: undefined }
  nc.publish(`${realm.root}.query`, encodeQuery(query), { reply: inbox })
  return decodePage(await page).statements
}
