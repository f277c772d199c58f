import { ratioText, table } from '../lib/report.ts'
import { REQUESTS, startRequests } from '../lib/requests.ts'
import { interleaved, ratio, valuesOf } from '../lib/rounds.ts'

const SIZE = 128

/**
 * Request and reply between two processes through a real nats-server, one request after the other: the middle and the
 * slowest hundredth, as ratios to plaintext in the same round; over TCP, and over TLS.
 *
 * @param {import('../lib/plan.ts').Plan} plan
 */
export async function latencySuite({ quick, profile }) {
  const rounds = quick ? 5 : 11
  const requests = quick ? 300 : 1000
  const transports = []
  for (const tls of [false, true]) transports.push(await measure({ tls, rounds, requests, profile }))
  return { plan: { rounds, requests, size: SIZE }, transports }
}

/**
 * @param {{
 *   readonly tls: boolean, readonly rounds: number, readonly requests: number, readonly profile: string | undefined,
 * }} options
 */
async function measure({ tls, rounds, requests, profile }) {
  const ends = await startRequests(SIZE, { tls, profile })
  try {
    const measured = await interleaved(REQUESTS, { rounds }, (variant) => ends.request(variant, requests))
    const result = { tls, variants: REQUESTS.map(({ name }) => summary(measured, name)), rounds: measured }
    print(result)
    return result
  } finally {
    await ends.stop()
  }
}

/**
 * @param {readonly Readonly<Record<string, { readonly p50: number, readonly p99: number }>>[]} measured
 * @param {string} name
 */
function summary(measured, name) {
  const of = (/** @type {'p50' | 'p99'} */ share) =>
    measured.map((round) =>
      Object.fromEntries(Object.entries(round).map(([key, value]) => [key, value[share]])),
    )
  return {
    name,
    p50: valuesOf(of('p50'), name),
    p99: valuesOf(of('p99'), name),
    p50Ratio: ratio(of('p50'), name, 'plain'),
    p99Ratio: ratio(of('p99'), name, 'plain'),
  }
}

/** @param {Awaited<ReturnType<typeof measure>>} result */
function print({ tls, variants }) {
  table(
    `latency, request and reply of ${SIZE} B ${tls ? 'over TLS' : 'without TLS'}`,
    ['', 'p50 µs', '÷ plaintext', 'p99 µs', '÷ plaintext'],
    variants.map(({ name, p50, p99, p50Ratio, p99Ratio }) => [
      name,
      p50.median.toFixed(0),
      ratioText(p50Ratio),
      p99.median.toFixed(0),
      ratioText(p99Ratio),
    ]),
  )
}
