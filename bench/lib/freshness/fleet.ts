import { silentLog } from '../../../dist/base/logger.js'
import { type RotationService, startRotationService } from '../../../dist/rotation/service.js'
import { memoryRotationStore } from '../../../dist/rotation/store.js'
import type { MemoryLine } from '../memory-line.ts'
import type { VirtualClock } from '../virtual-clock.ts'
import type { Realm } from './realm.ts'

const STARTING_MS = 10_000

/** All rotation services of a realm, as they are started everywhere. */
export interface Fleet {
  /** Signatures that all of them have made so far. */
  readonly signatures: number
  /** When enough of them held a revocation of this identity, by the clock's `now`; `undefined` where they do not. */
  confirmedAt(identity: string): number | undefined
  close(): Promise<void>
}

/** What a fleet works with. */
interface Surroundings {
  readonly line: MemoryLine
  readonly clock: VirtualClock
  /** Takes what goes wrong: in a realm without faults nothing may. */
  readonly onFault: (fault: unknown) => void
}

/** Starts the rotation services of a realm, each on a connection of its own, and lets time pass until all count. */
export async function startFleet(realm: Realm, { line, clock, onFault }: Surroundings): Promise<Fleet> {
  const { trust, plan, rotators, threshold } = realm
  const heldAt = new Map<string, readonly number[]>()
  let signatures = 0
  const starting = rotators.map((identity) => {
    const sign = identity.sign.bind(identity)
    identity.sign = (message) => {
      signatures++
      return sign(message)
    }
    return startRotationService(line.connect('services'), {
      identity,
      trust: { authority: [trust.realm] },
      plan,
      clock,
      store: memoryRotationStore(),
      log: silentLog,
      onEvent: (event) => {
        if (event.type === 'error') onFault(event.error)
        if (event.type === 'rejected' || event.type === 'peerDiffers') onFault(event)
        if (event.type !== 'revoked') return
        heldAt.set(event.identity, [...(heldAt.get(event.identity) ?? []), clock.now()])
      },
    })
  })
  await clock.run(STARTING_MS)
  const services: readonly RotationService[] = await Promise.all(starting)
  if (services.some(({ standing }) => standing !== 1)) throw new Error('a rotation service does not count')
  return {
    get signatures() {
      return signatures
    },
    confirmedAt: (identity) => heldAt.get(identity)?.[threshold - 1],
    async close() {
      await Promise.all(services.map((service) => service.close()))
    },
  }
}
