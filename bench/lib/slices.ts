import { orderOf } from './rounds.ts'
import { median } from './stats.ts'

/** Something to time without I/O: sealing, and opening what was sealed. Either may be asynchronous. */
export interface Work {
  readonly name: string
  readonly seal: () => unknown
  readonly open: (sealed: never) => unknown
  readonly isAsync?: boolean
}

/** Microseconds for one call. */
export interface Times {
  readonly seal: number
  readonly open: number
}

interface Calibrated {
  readonly work: Work
  readonly times: number
}

export interface SlicePlan {
  readonly rounds: number
  readonly slices: number
  readonly sliceMs: number
  readonly warmUpMs: number
  readonly maxCallMs?: number
}

/**
 * Times pieces of work against each other. A round is many short slices of each in turn, so that whatever else the
 * machine does meets all of them alike; it counts the median slice. What is sealed in a slice is opened in it. Work
 * that takes longer than `maxCallMs` for one call is called once.
 *
 * @returns one entry for each round
 */
export async function timed(
  works: readonly Work[],
  plan: SlicePlan,
): Promise<readonly Readonly<Record<string, Times>>[]> {
  const { rounds, slices, maxCallMs = Number.POSITIVE_INFINITY } = plan
  const calibrated = []
  const slow: Record<string, Times> = {}
  for (const work of works) {
    const first = await slice({ work, times: 1 })
    if ((first.seal + first.open) / 1000 > maxCallMs) slow[work.name] = first
    else calibrated.push(await calibrate(work, plan))
  }
  const measured = []
  for (let round = 0; round < rounds; round++) {
    const taken = new Map<string, Times[]>(calibrated.map(({ work }) => [work.name, []]))
    for (let turn = 0; turn < slices; turn++)
      for (const one of orderOf(calibrated, round * slices + turn))
        taken.get(one.work.name)?.push(await slice(one))
    const medians = [...taken].map(([name, times]) => [
      name,
      { seal: median(times.map(({ seal }) => seal)), open: median(times.map(({ open }) => open)) },
    ])
    measured.push({ ...Object.fromEntries(medians), ...(round === 0 ? slow : {}) })
  }
  return measured
}

/** Warms a piece of work up and finds how many times it fits into a slice. */
async function calibrate(work: Work, { warmUpMs, sliceMs }: SlicePlan): Promise<Calibrated> {
  const start = performance.now()
  let times = 0
  do {
    await slice({ work, times: 1 })
    times++
  } while (performance.now() < start + warmUpMs)
  const fitting = (times * sliceMs) / (performance.now() - start)
  return { work, times: Math.max(1, Math.round(fitting)) }
}

async function slice({ work, times }: Calibrated): Promise<Times> {
  const sealed = []
  const isAsync = work.isAsync === true
  const start = process.hrtime.bigint()
  if (isAsync) for (let n = 0; n < times; n++) sealed.push(await work.seal())
  else for (let n = 0; n < times; n++) sealed.push(work.seal())
  const between = process.hrtime.bigint()
  if (isAsync) for (const one of sealed) await work.open(one as never)
  else for (const one of sealed) work.open(one as never)
  const end = process.hrtime.bigint()
  const each = (ns: bigint) => Number(ns) / times / 1000
  return { seal: each(between - start), open: each(end - between) }
}
