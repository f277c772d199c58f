import { hex } from '../../base/bytes.ts'
import { SubrosaError } from '../../base/errors.ts'
import { MAX_JITTER_MS } from '../../base/limits.ts'
import { subscribeSafely } from '../../bus/safely.ts'
import { type CryptoEngine, engineFor } from '../../crypto/engine.ts'
import type { Signer } from '../../identity/signing-key.ts'
import type { Trust } from '../../identity/trust.ts'
import { type ParsedAnnouncement, parseAnnouncement, verifyAnnouncer } from '../../keys/announcements.ts'
import { deriveEpoch, type Epoch, numberAt } from '../../keys/epochs.ts'
import { signOrder } from '../../keys/orders.ts'
import type { HeldPlan } from '../../keys/plan.ts'
import type { RevocationSet } from '../../keys/revocations.ts'
import { clockSkew } from '../../keys/ticks.ts'
import { QueryKind } from '../../wire/queries.ts'
import type { Operator } from './operator.ts'
import { isConfirmed, wordOn } from './publish-plan.ts'

const AGAIN_MS = 3000
const LOOK_MS = 100

/** How long it takes at most until every instance that has heard an order has announced fresh keys, in ms. */
export const FRESH_KEYS_MS = MAX_JITTER_MS + 5000

/** Who orders, and of which realm. */
export interface FreshKeysOptions {
  readonly plan: HeldPlan
  /** An authority, or a rotation service of the plan. */
  readonly signer: Signer
  readonly trust: Trust
  readonly revocations: RevocationSet
}

/** What has come of an order. */
export interface FreshKeys {
  readonly epoch: number
  /** When it was given, in milliseconds since 1970. */
  readonly at: number
  /** Instances with keys for this epoch when it was given. */
  readonly live: number
  /** Those of them that have announced fresh ones. */
  readonly renewed: number
}

/**
 * Orders every instance to make keys anew within the epoch that is current, and resolves when all that were there have, or the
 * time is over. Each proves it by an announcement of its own.
 *
 * @throws SubrosaError ERR_NO_ROTATION_SERVICE when no rotation service says who is there, ERR_CLOCK_SKEW when no
 *   instance would follow an order of this time
 */
export async function orderFreshKeys(operator: Operator, options: FreshKeysOptions): Promise<FreshKeys> {
  const { nc, visit, subjects, clock } = operator
  const { plan, signer } = options
  const engine = engineFor()
  const epoch = deriveEpoch(engine, plan, numberAt(plan, clock.now()))
  const judge = new AnnouncementJudge(engine, options, epoch)
  const live = await liveInstances(operator, plan, judge)
  const renewed = new Set<string>()
  const at = clock.now()
  const subscription = subscribeSafely(nc, subjects.announcements, {
    take: ({ data }) => {
      const announced = judge.read(data, clock.now())
      if (announced === undefined || announced.seq < at) return
      // An order of a time that lies ahead may have been followed before: those keys are not fresh.
      if (live.get(announced.key)?.has(announced.hash) === false) renewed.add(announced.key)
    },
    onError: () => {},
    reject: () => {},
    onRefused: () => {},
  })
  try {
    await nc.flush()
    const order = signOrder(signer, { realm: plan.realm, number: epoch.number, epochHash: epoch.hash, at })
    let orderedAt = Number.NEGATIVE_INFINITY
    while (renewed.size < live.size && !visit.isOver) {
      // Again, since core NATS may lose it: an instance follows it once.
      if (clock.monotonic() - orderedAt >= AGAIN_MS) {
        visit.publish(subjects.rotate, order)
        orderedAt = clock.monotonic()
      }
      await visit.pause(LOOK_MS)
    }
    return { epoch: epoch.number, at, live: live.size, renewed: renewed.size }
  } finally {
    subscription.unsubscribe()
  }
}

/** Who has announced keys, by the word of the first service that counts and says it. */
async function liveInstances(
  { visit, clock }: Operator,
  plan: HeldPlan,
  judge: AnnouncementJudge,
): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
  for (;;) {
    const answers = await visit.ask()
    const word = wordOn(plan, answers)
    if (isConfirmed(plan, word)) {
      for (const rotator of word.counting) {
        const all = await visit.fetch(rotator, QueryKind.announcements)
        if (all !== undefined) return judge.live(all, clock.now())
      }
    }
    // Instances refuse an order of another time, each by its own clock.
    const skewed = word.skewed.flatMap((rotator) => answers.get(rotator) ?? [])
    const [first] = skewed
    if (first !== undefined && plan.rotators.length - skewed.length < plan.threshold)
      throw clockSkew(first.tick, first.cameAt)
    if (visit.isOver)
      throw new SubrosaError(
        'ERR_NO_ROTATION_SERVICE',
        `${word.counting.length} of the ${plan.threshold} rotation services that must answer act on plan ${plan.version}`,
        { hint: 'see who answers: subrosa rotate status' },
      )
  }
}

/** Keys that an instance has announced. */
interface AnnouncedKeys {
  /** Whose they are. */
  readonly key: string
  readonly seq: number
  /** Of the announcement, in hexadecimal. */
  readonly hash: string
}

/** Reads announcements of one epoch, and proves who made them. */
class AnnouncementJudge {
  readonly #engine: CryptoEngine
  readonly #around: Pick<FreshKeysOptions, 'trust' | 'revocations'>
  readonly #epochHash: string

  constructor(engine: CryptoEngine, around: FreshKeysOptions, { hash }: Epoch) {
    this.#engine = engine
    this.#around = around
    this.#epochHash = hex(hash)
  }

  /** Whose keys an announcement brings; `undefined` where it is of another epoch, a retirement, or not proved. */
  read(bytes: Uint8Array, nowMs: number): AnnouncedKeys | undefined {
    const parsed = parseAnnouncement(this.#engine, bytes)
    const { announcement } = parsed
    if (hex(announcement.epochHash) !== this.#epochHash || announcement.keys.length === 0) return undefined
    if (!this.#isProved(parsed, nowMs)) return undefined
    return { key: keyOf(parsed), seq: announcement.seq, hash: hex(parsed.hash) }
  }

  /** The instances that have keys for the epoch, each with the hashes of what it has announced. */
  live(all: readonly Uint8Array[], nowMs: number): ReadonlyMap<string, ReadonlySet<string>> {
    const live = new Map<string, Set<string>>()
    for (const bytes of all) {
      const announced = this.read(bytes, nowMs)
      if (announced === undefined) continue
      live.set(announced.key, (live.get(announced.key) ?? new Set()).add(announced.hash))
    }
    return live
  }

  #isProved(parsed: ParsedAnnouncement, nowMs: number): boolean {
    return verifyAnnouncer({ engine: this.#engine, ...this.#around }, parsed, nowMs) !== undefined
  }
}

function keyOf({ announcement: { identity, instance } }: ParsedAnnouncement): string {
  return `${identity}.${hex(instance)}`
}
