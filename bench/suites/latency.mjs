import { startWorker } from '../lib/process.mjs'
import { ratioText, table } from '../lib/report.mjs'
import { interleaved, ratio, valuesOf } from '../lib/rounds.mjs'
import { quantile } from '../lib/stats.mjs'
import { startWorld } from '../lib/world.mjs'

const SIZE = 128
const PLAIN = 'latency.plain'
const SEALED = 'latency.sealed'
const WARM_UP = 1000

/** @typedef {import('../workers/requester.mjs').Way & { readonly name: string }} Variant */

/** @type {readonly Variant[]} */
const VARIANTS = [
  { name: 'plain', mode: 'plain', subject: PLAIN },
  { name: 'channel', mode: 'channel', subject: SEALED },
  { name: 'session', mode: 'session', subject: SEALED },
  { name: 'message', mode: 'message', subject: SEALED },
]

/**
 * Request and reply between two processes through a real nats-server, one request after the other: the middle and the
 * slowest hundredth, as ratios to plaintext in the same round; over TCP, and over TLS.
 *
 * @param {import('../lib/plan.mjs').Plan} plan
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
  const world = await startWorld({ tls })
  const requester = startWorker('requester.mjs', { profile })
  const responder = startWorker('responder.mjs', { profile })
  try {
    const { place } = world
    const may = { pub: [SEALED, '_INBOX.>'], sub: [SEALED, '_INBOX.>'] }
    const answering = world.identity('responder', may)
    await responder.call('join', { place, identity: answering, plain: PLAIN, sealed: SEALED })
    await requester.call('join', { place, identity: world.identity('requester', { pub: [SEALED] }) })
    await requester.call('waitFor', SEALED)
    for (const variant of VARIANTS)
      await requester.call('request', { ...variant, size: SIZE, count: WARM_UP })
    const measured = await interleaved(VARIANTS, { rounds }, async (variant) => {
      const took = [...(await requester.call('request', { ...variant, size: SIZE, count: requests }))]
      return { p50: quantile(took, 0.5), p99: quantile(took, 0.99) }
    })
    const result = { tls, variants: VARIANTS.map(({ name }) => summary(measured, name)), rounds: measured }
    print(result)
    return result
  } finally {
    await requester.stop()
    await responder.stop()
    await world.stop()
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
