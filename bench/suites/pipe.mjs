import {
  AUDIENCES,
  countFor,
  MANY,
  PLAIN,
  PLAIN_FOR_ALL,
  pilot,
  prove,
  SEALED_FOR_ALL,
  sealedTo,
  startPipe,
} from '../lib/pipe.ts'
import { bytes, note, ratioText, table } from '../lib/report.ts'
import { interleaved, ratio, valuesOf } from '../lib/rounds.ts'

/** @typedef {import('../lib/pipe.ts').Variant} Variant */

const SIZES = [128, 1024, 16_384]
const BURST = 256

/** @type {readonly Variant[]} */
const VARIANTS = [
  { name: 'plain', way: { mode: 'plain', subject: PLAIN }, subscribers: 1, burst: BURST, base: 'plain' },
  {
    name: 'channel',
    way: { mode: 'channel', subject: sealedTo(1) },
    subscribers: 1,
    burst: BURST,
    base: 'plain',
  },
  ...AUDIENCES.map((recipients) => ({
    name: `session to ${recipients}`,
    way: { mode: /** @type {const} */ ('session'), subject: sealedTo(recipients) },
    subscribers: 1,
    burst: BURST,
    base: 'plain',
  })),
  {
    name: `publishMany(${MANY})`,
    way: { mode: 'session', many: MANY, subject: sealedTo(1) },
    subscribers: 1,
    burst: BURST,
    base: 'plain',
  },
  {
    name: 'message',
    way: { mode: 'message', subject: sealedTo(1) },
    subscribers: 1,
    burst: BURST,
    base: 'plain',
  },
  {
    name: 'plain, one a turn',
    way: { mode: 'plain', subject: PLAIN },
    subscribers: 1,
    burst: 1,
    base: 'plain, one a turn',
  },
  {
    name: 'channel, one a turn',
    way: { mode: 'channel', subject: sealedTo(1) },
    subscribers: 1,
    burst: 1,
    base: 'plain, one a turn',
  },
  {
    name: 'session, one a turn',
    way: { mode: 'session', subject: sealedTo(1) },
    subscribers: 1,
    burst: 1,
    base: 'plain, one a turn',
  },
  {
    name: 'plain, 3 subscribers',
    way: { mode: 'plain', subject: PLAIN_FOR_ALL },
    subscribers: 3,
    burst: BURST,
    base: 'plain, 3 subscribers',
  },
  {
    name: 'session, 3 subscribers',
    way: { mode: 'session', subject: SEALED_FOR_ALL },
    subscribers: 3,
    burst: BURST,
    base: 'plain, 3 subscribers',
  },
]

/**
 * Publisher and subscriber in processes of their own, through a real nats-server: messages a second, as a ratio to
 * plaintext in the same round.
 *
 * @param {import('../lib/plan.ts').Plan} plan
 */
export async function pipeSuite({ quick, profile }) {
  const rounds = quick ? 5 : 9
  const warmUp = quick ? 2 : 3
  const roundMs = quick ? 120 : 400
  const pipe = await startPipe({ profile })
  try {
    for (const variant of VARIANTS) await prove(pipe, variant)
    const rejected = JSON.stringify(await pipe.rejections())
    const sizes = []
    for (const size of SIZES) sizes.push(await measure(pipe, size, { rounds, warmUp, roundMs }))
    if (JSON.stringify(await pipe.rejections()) !== rejected)
      throw new Error('messages were rejected while timed')
    return { plan: { rounds, warmUp, roundMs, burst: BURST }, sizes }
  } finally {
    await pipe.stop()
  }
}

/**
 * @param {import('../lib/pipe.ts').Pipe} pipe
 * @param {number} size
 * @param {{ readonly rounds: number, readonly warmUp: number, readonly roundMs: number }} plan
 */
async function measure(pipe, size, { rounds, warmUp, roundMs }) {
  const counts = new Map()
  for (const variant of VARIANTS) {
    const rate = await pilot(pipe, variant, size)
    counts.set(variant.name, countFor(variant, { size, rate, ms: roundMs }))
  }
  const flows = await interleaved(VARIANTS, { rounds, warmUp }, (variant) =>
    pipe.flow(variant, { size, count: counts.get(variant.name) }),
  )
  const rates = flows.map((flow) => mapped(flow, ({ rate }) => rate))
  const result = {
    size,
    variants: VARIANTS.map(({ name, base }) => ({
      name,
      base,
      messages: counts.get(name),
      rate: valuesOf(rates, name),
      ratio: ratio(rates, name, base),
      publisherUs: valuesOf(
        flows.map((flow) => mapped(flow, ({ publisherUs }) => publisherUs)),
        name,
      ),
      subscriberUs: valuesOf(
        flows.map((flow) => mapped(flow, ({ subscriberUs }) => subscriberUs)),
        name,
      ),
    })),
    rounds: flows,
  }
  print(result)
  return result
}

/**
 * @template Value
 * @param {Readonly<Record<string, Value>>} record
 * @param {(value: Value) => number} pick
 */
function mapped(record, pick) {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, pick(value)]))
}

/** @param {Awaited<ReturnType<typeof measure>>} result */
function print({ size, variants }) {
  table(
    `pipe, ${bytes(size)}`,
    ['', 'msgs/s', '÷ plaintext, median [quartiles]', 'µs publisher', 'µs subscriber'],
    variants.map(({ name, rate, ratio: reached, publisherUs, subscriberUs }) => [
      name,
      Math.round(rate.median).toLocaleString('en'),
      ratioText(reached),
      publisherUs.median.toFixed(1),
      subscriberUs.median.toFixed(1),
    ]),
  )
  note(
    'µs: processor time of either end for one message. "one a turn", "3 subscribers": against plaintext alike',
  )
}
