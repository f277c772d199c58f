import { digits, duration, note, table } from '../lib/report.ts'
import { median } from '../lib/stats.ts'
import { type Pair, type Ratio, ratioOf, type Verdict, verdictOf } from './ratios.ts'

/** Something that is measured, and which of two values is the better one. */
export interface Metric {
  readonly name: string
  readonly unit: 'messages/s' | 'µs' | 'bytes' | 'MiB'
  readonly better: 'higher' | 'lower'
}

/** What a ratio is of. */
export interface Label {
  /** The table that shows it. */
  readonly title: string
  readonly row: string
  readonly metric: Metric
}

/** One ratio of a run, with what it was computed from. */
export interface Entry extends Label {
  readonly ratio: Ratio
  readonly verdict: Verdict
  readonly rounds: readonly Pair<number>[]
}

/** All that a run has measured: the rounds of each row, through all sittings. */
export class Findings {
  readonly #rounds = new Map<string, { readonly label: Label; readonly pairs: Pair<number>[] }>()
  readonly #skipped = new Set<string>()

  add(label: Label, pairs: readonly Pair<number>[]): void {
    const key = JSON.stringify([label.title, label.row, label.metric.name])
    const known = this.#rounds.get(key)
    if (known === undefined) this.#rounds.set(key, { label, pairs: [...pairs] })
    else known.pairs.push(...pairs)
  }

  /** Something that one of the checkouts does not have, and why. */
  skip(what: string): void {
    this.#skipped.add(what)
  }

  get skipped(): readonly string[] {
    return [...this.#skipped]
  }

  entries(): readonly Entry[] {
    return [...this.#rounds.values()].map(({ label, pairs }) => {
      const ratio = ratioOf(pairs)
      return { ...label, ratio, verdict: verdictOf(ratio, label.metric.better), rounds: pairs }
    })
  }
}

/** Prints a table for each title, and how many ratios say what. */
export function printEntries(entries: readonly Entry[]): void {
  for (const title of new Set(entries.map((entry) => entry.title)))
    table(
      title,
      ['', 'before', 'after', 'after ÷ before [95 %]', 'all rounds', 'verdict'],
      entries.filter((entry) => entry.title === title).map(cells),
    )
  const count = (verdict: Verdict) => entries.filter((entry) => entry.verdict === verdict).length
  console.log(
    `\n${entries.length} ratios: ${count('noise')} noise, ${count('same')} the same, ${count('better')} better, ${count('worse')} worse`,
  )
  note('of twenty ratios of two equal checkouts one is expected to look better or worse')
}

function cells({ row, metric, ratio, verdict, rounds }: Entry): readonly string[] {
  const { interval, min, max } = ratio
  return [
    `${row}, ${metric.name}`,
    valueText(
      rounds.map(({ before }) => before),
      metric,
    ),
    valueText(
      rounds.map(({ after }) => after),
      metric,
    ),
    `${ratioText(ratio.median)} [${ratioText(interval.low)}..${ratioText(interval.high)}]`,
    `${ratioText(min)}..${ratioText(max)}`,
    verdict,
  ]
}

function valueText(values: readonly number[], { unit }: Metric): string {
  const value = median(values)
  if (unit === 'µs') return duration(value)
  if (unit === 'messages/s') return Math.round(value).toLocaleString('en')
  return digits(value)
}

function ratioText(ratio: number): string {
  return Number.isFinite(ratio) ? ratio.toFixed(3) : '–'
}
