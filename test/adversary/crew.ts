import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { type CampaignOptions, type Failure, MAX_SCHEDULE_MS, type Outcome } from './campaign.ts'
import { Tally } from './tally.ts'

/** What a worker is told, in one message. */
export interface Orders extends Pick<CampaignOptions, 'schedules' | 'seed' | 'step' | 'forMs'> {
  /** Whether it runs schedules in which a member is revoked and the realm divided. Default: any. */
  readonly isDividing?: boolean
}

/** What a worker says. */
export type Report =
  | { readonly kind: 'begin' | 'end'; readonly seed: number }
  | { readonly kind: 'over'; readonly outcome: Outcome }

const WORKER = fileURLToPath(new URL('./worker.ts', import.meta.url))
const ROOT = fileURLToPath(new URL('../..', import.meta.url))
/** As `npm run adversary` runs it, whoever starts it. */
const EXEC_ARGV = ['--import', 'tsx', '--conditions', 'subrosa-source']
const LOOK_MS = 1000

/** What is asked of several processes together. */
export interface CrewOptions extends Pick<Orders, 'schedules' | 'seed' | 'forMs' | 'isDividing'> {
  readonly processes: number
  /** Called after each schedule with how many are over. */
  readonly onProgress?: (done: number) => void
}

/**
 * Runs schedules in several processes, each with a server of its own and every so-manieth seed. A violation in one ends
 * all of them. They end with this process.
 */
export async function runCrew(options: CrewOptions): Promise<Outcome> {
  const { processes, schedules, seed, forMs, isDividing = false, onProgress = () => {} } = options
  const began = performance.now()
  const step = Math.min(processes, schedules)
  let done = 0
  const members = Array.from({ length: step }, (_, i) => {
    const own = { schedules: Math.ceil((schedules - i) / step), seed: seed + i, step, isDividing }
    return new Member({ ...own, ...(forMs === undefined ? {} : { forMs }) }, () => onProgress(++done))
  })
  const outcomes = await Promise.all(
    members.map(async ({ outcome }) => {
      const own = await outcome
      if (own.failure !== undefined) for (const member of members) member.end()
      return own
    }),
  )
  return merged(outcomes, performance.now() - began)
}

function merged(outcomes: readonly Outcome[], ms: number): Outcome {
  const tally = new Tally()
  for (const outcome of outcomes) tally.add(outcome.tally)
  const failure = outcomes.find((outcome) => outcome.failure !== undefined)?.failure
  return { tally, failure, ms, cpuMs: outcomes.reduce((sum, { cpuMs }) => sum + cpuMs, 0) }
}

/** One process, and the schedules that it is at. */
class Member {
  readonly outcome: Promise<Outcome>
  readonly #child: ChildProcess
  /** When each of its schedules began, by seed. */
  readonly #running = new Map<number, number>()
  #isEnded = false

  constructor(orders: Orders, onEnd: () => void) {
    this.#child = fork(WORKER, { serialization: 'advanced', cwd: ROOT, execArgv: EXEC_ARGV })
    this.outcome = this.#follow(onEnd)
    this.#child.send(orders)
  }

  end(): void {
    this.#isEnded = true
    // It ends its server then, and itself.
    if (this.#child.connected) this.#child.disconnect()
  }

  #follow(onEnd: () => void): Promise<Outcome> {
    return new Promise((resolve) => {
      let outcome: Outcome | undefined
      // A loop without an end leaves no turn to the process's own timer.
      const watch = setInterval(() => {
        const [seed, beganMs] = [...this.#running][0] ?? []
        if (seed === undefined || performance.now() - (beganMs ?? 0) < 2 * MAX_SCHEDULE_MS) return
        outcome ??= failed(seed, 'the process hangs in this schedule, or one beside it')
        this.#child.kill('SIGKILL')
      }, LOOK_MS)
      this.#child.on('message', (report: Report) => {
        if (report.kind === 'begin') this.#running.set(report.seed, performance.now())
        else if (report.kind === 'over') outcome = report.outcome
        else {
          this.#running.delete(report.seed)
          onEnd()
        }
      })
      this.#child.once('exit', (code, signal) => {
        clearInterval(watch)
        const [seed = 0] = [...this.#running.keys()]
        const died = `the process died in this schedule, or one beside it: ${signal ?? code}`
        resolve(outcome ?? (this.#isEnded ? nothing(undefined) : failed(seed, died)))
      })
    })
  }
}

function failed(seed: number, error: string): Outcome {
  return nothing({ seed, error, schedule: undefined })
}

function nothing(failure: Failure | undefined): Outcome {
  return { tally: new Tally(), failure, ms: 0, cpuMs: 0 }
}
