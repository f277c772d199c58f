import { latencyOf } from './latency.ts'
import { sizeShown } from './sizes.ts'
import { type Count, perSecond, Tally } from './tally.ts'

const NUMBERS = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 })

/** A whole number for people. */
export function numberShown(count: number): string {
  return NUMBERS.format(count)
}

/** Results for people: a line for each of several clients, one for all, and the latencies of requests. */
export function formatResults(tallies: readonly Tally[], wanted: number): readonly string[] {
  const all = Tally.total(tallies)
  const clients = tallies.length === 1 ? [] : tallies.map((tally, i) => `[${i + 1}] ${rate(tally.count())}`)
  const reached = all.msgs === wanted ? '' : ` (${numberShown(wanted)} were asked for)`
  return [...clients, `all ${rate(all)}${reached}`, ...latencyLines(all)]
}

function rate(count: Count): string {
  const { msgs, bytes, seconds } = count
  const done = `${numberShown(msgs)} msgs in ${microsShown(seconds * 1e6)}`
  const msgsPerSecond = perSecond(msgs, count)
  const bytesPerSecond = perSecond(bytes, count)
  if (msgsPerSecond === undefined || bytesPerSecond === undefined) return done
  return `${done}: ${numberShown(msgsPerSecond)} msgs/sec ~ ${sizeShown(bytesPerSecond)}/sec`
}

function latencyLines({ latencies }: Count): readonly string[] {
  const latency = latencyOf(latencies)
  if (latency === undefined) return []
  const { min, mean, max, p50, p90, p99, p999, stdDev } = latency
  const parts = { min, avg: mean, max, stddev: stdDev, P50: p50, P90: p90, P99: p99, 'P99.9': p999 }
  const shown = Object.entries(parts).map(([name, micros]) => `${name} ${microsShown(micros)}`)
  return [`latency ${shown.join(' | ')}`]
}

function microsShown(micros: number): string {
  if (micros < 1000) return `${micros.toFixed(2)}us`
  return micros < 1e6 ? `${(micros / 1000).toFixed(2)}ms` : `${(micros / 1e6).toFixed(2)}s`
}
