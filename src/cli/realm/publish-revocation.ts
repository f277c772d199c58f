import { hex } from '../../base/bytes.ts'
import { engineFor } from '../../crypto/engine.ts'
import { type HeldPlan, revocationHash } from '../../keys/plan.ts'
import { NamedSets } from './named-sets.ts'
import type { Operator } from './operator.ts'
import { type PlanWord, wordOn } from './publish-plan.ts'

/** How far a revocation has come. */
export interface RevocationWord {
  /**
   * Whether enough services count and have named it in two rounds, each of them from the same process: then no agent seals to
   * the revoked identity later than 90 s from now.
   */
  readonly isConfirmed: boolean
  /** Services that count and have named it last. */
  readonly holders: readonly string[]
  /** What those who have answered last act on. */
  readonly word: PlanWord
}

/** Services answer four questions of one asker in a second. */
const BETWEEN_ROUNDS_MS = 300

/**
 * Publishes a revocation, again and again, and asks until it is confirmed or the time is over. A broker's word alone is not
 * taken: what counts are sets that rotation services have signed for after they were asked.
 *
 * Two rounds, since a service that takes up a newer plan between the ticks of two services may have answered before it was
 * handed what they knew.
 */
export async function publishRevocation(
  { visit, subjects }: Operator,
  plan: HeldPlan,
  statement: Uint8Array,
): Promise<RevocationWord> {
  const engine = engineFor()
  const sets = new NamedSets(engine, visit)
  const key = hex(revocationHash(engine, statement))
  /** The processes of the services that named it in the round before. */
  let before: ReadonlyMap<string, string> = new Map()
  let last: RevocationWord | undefined
  for (let round = 0; ; round++) {
    if (round > 1) await visit.pause(BETWEEN_ROUNDS_MS)
    visit.publish(subjects.revoke, statement)
    const answers = await visit.ask()
    const { counting } = wordOn(plan, answers)
    const holders = new Map<string, string>()
    for (const rotator of counting) {
      const answer = answers.get(rotator)
      const named = answer && (await sets.of(answer))
      if (answer !== undefined && named?.some((bytes) => hex(revocationHash(engine, bytes)) === key))
        holders.set(rotator, hex(answer.tick.process))
    }
    const steady = [...holders].filter(([rotator, process]) => before.get(rotator) === process)
    const isConfirmed = steady.length >= plan.threshold
    const found = { isConfirmed, holders: [...holders.keys()], word: wordOn(plan, answers) }
    if (isConfirmed) return found
    // A round that the end of the visit has cut short says nothing of those who had no time to answer.
    if (visit.isOver) return last ?? found
    last = found
    before = holders
  }
}
