import { interleaved, type RoundPlan } from '../lib/rounds.ts'
import type { Pair } from './ratios.ts'

export type Side = keyof Pair<unknown>

/** How many rounds, and which checkout the first one begins with. */
export interface TurnPlan extends RoundPlan {
  readonly first: number
}

/**
 * Measures rows of both checkouts, round by round. A row is measured of one checkout and at once of the other, A B in
 * one round and B A in the next: what disturbs a moment disturbs both, and neither is always the second.
 *
 * @returns for each row the pairs of its rounds
 */
export async function inTurns<Row extends { readonly name: string }, Measured>(
  rows: readonly Row[],
  { first, ...plan }: TurnPlan,
  measure: (row: Row, side: Side) => Promise<Measured>,
): Promise<ReadonlyMap<Row, readonly Pair<Measured>[]>> {
  const turns = new Map<string, number>()
  const rounds = await interleaved(rows, plan, async (row): Promise<Pair<Measured>> => {
    const turn = turns.get(row.name) ?? first
    turns.set(row.name, turn + 1)
    if (turn % 2 === 0) {
      const before = await measure(row, 'before')
      return { before, after: await measure(row, 'after') }
    }
    const after = await measure(row, 'after')
    return { before: await measure(row, 'before'), after }
  })
  return new Map(rows.map((row) => [row, rounds.flatMap((round) => round[row.name] ?? [])]))
}

/**
 * Starts something of both checkouts.
 *
 * @throws what the start of either throws, once the other is stopped
 */
export async function startBoth<Given, Started extends { stop(): Promise<void> }>(
  { before, after }: Pair<Given>,
  start: (given: Given) => Promise<Started>,
): Promise<Pair<Started> & { stop(): Promise<void> }> {
  const first = await start(before)
  try {
    const second = await start(after)
    return {
      before: first,
      after: second,
      async stop() {
        await first.stop()
        await second.stop()
      },
    }
  } catch (error) {
    await first.stop()
    throw error
  }
}
