import { MAX_HANDSHAKE_INBOXES } from '../../src/base/limits.ts'
import type { Permissions } from '../../src/identity/permissions.ts'
import { type Epoch, numberAt } from '../../src/keys/epochs.ts'
import { EVERYTHING, engine } from './identities.ts'
import type { TestRealm } from './realm.ts'
import { World } from './statements.ts'

/** With so many more in the audience a handshake goes on the subject, and not into inboxes. */
export const CROWD = MAX_HANDSHAKE_INBOXES + 1

/**
 * Announces many instances in the epoch of now: they can be sealed to, and nobody is behind them. Agents that join later are
 * told of them too.
 */
export async function announceCrowd(
  realm: TestRealm,
  count = CROWD,
  permissions: Permissions = EVERYTHING,
): Promise<void> {
  const nc = await realm.connection()
  const { world, epoch } = epochOf(realm)
  for (let i = 0; i < count; i++) {
    const name = `crowd${i}`
    const instance = engine.randomBytes(8)
    const { bytes } = world.announcement(realm.identity(name, { permissions }), epoch, { instance })
    nc.publish(`${realm.root}.announce.${name}.${Buffer.from(instance).toString('hex')}`, bytes)
  }
  await nc.flush()
}

/** The epoch of now in a realm, and a world in which announcements for it are made by hand. */
export function epochOf(realm: TestRealm): { readonly world: World; readonly epoch: Epoch } {
  const world = new World({ like: realm })
  return { world, epoch: world.epoch(numberAt(world.held, realm.clock.now())) }
}
