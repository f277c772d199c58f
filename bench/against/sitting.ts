import type { Checkout } from '../lib/checkout.ts'
import type { SlicePlan } from '../lib/slices.ts'
import type { Findings } from './findings.ts'
import type { Pair } from './ratios.ts'

/** How much is measured. */
export interface ComparisonPlan {
  /** How often all processes are started again: what differs from process to process is no difference of the code. */
  readonly sittings: number
  /** Rounds of each row in a sitting, and those before them that count for nothing. */
  readonly rounds: number
  readonly warmUp: number
  /** How long one flow through the pipe takes. */
  readonly flowMs: number
  /** Requests of each kind once the processes have started, which count for nothing. */
  readonly firstRequests: number
  /** Requests in a round. */
  readonly requests: number
  /** Messages before the memory is taken. */
  readonly memoryMessages: number
  readonly slices: SlicePlan
}

export const WHOLE: ComparisonPlan = {
  sittings: 3,
  rounds: 5,
  warmUp: 1,
  flowMs: 400,
  firstRequests: 1000,
  requests: 1000,
  memoryMessages: 100_000,
  slices: { rounds: 5, slices: 20, sliceMs: 8, warmUpMs: 300 },
}

export const QUICK: ComparisonPlan = {
  sittings: 3,
  rounds: 3,
  warmUp: 1,
  flowMs: 120,
  firstRequests: 500,
  requests: 200,
  memoryMessages: 20_000,
  slices: { rounds: 3, slices: 8, sliceMs: 4, warmUpMs: 100 },
}

/** One sitting: both checkouts are started, measured in turns and stopped. */
export interface Sitting {
  readonly checkouts: Pair<Checkout>
  /** Where they are. */
  readonly folders: Pair<string>
  readonly plan: ComparisonPlan
  /** From 0. */
  readonly number: number
  readonly suites: readonly string[]
  readonly findings: Findings
  /** Messages in a flow of each row: the same in all sittings, and for both checkouts. */
  readonly counts: Map<string, number>
  readonly signal: AbortSignal
}
