import { prove, sealedTo, startPipe } from '../lib/pipe.ts'
import { digits, note, table } from '../lib/report.ts'
import { line } from '../lib/stats.ts'

const SIZE = 128
const BURST = 256
const STEPS = 40

/** @type {import('../lib/pipe.ts').Variant} */
const VARIANT = {
  name: 'session',
  way: { mode: 'session', subject: sealedTo(1) },
  subscribers: 1,
  burst: BURST,
  base: 'session',
}

/** @typedef {{ readonly rss: number, readonly heapUsed: number, readonly external: number }} Memory */

/**
 * Two million messages through one session after another: the memory of both ends after each step, with garbage
 * collected. It is flat where it does not grow with the messages.
 *
 * @param {import('../lib/plan.ts').Plan} plan
 */
export async function memorySuite({ quick }) {
  const messages = quick ? 400_000 : 2_000_000
  const pipe = await startPipe({ exposeGc: true })
  try {
    await prove(pipe, VARIANT)
    const [subscriber] = pipe.subscribers(1)
    /** @type {{ messages: number, publisher: Memory, subscriber: Memory }[]} */
    const samples = []
    for (let step = 0; step <= STEPS; step++) {
      if (step > 0) await pipe.flow(VARIANT, { size: SIZE, count: messages / STEPS })
      samples.push({
        messages: (step * messages) / STEPS,
        publisher: await pipe.publisher.call('memory'),
        subscriber: await subscriber?.call('memory'),
      })
    }
    const result = {
      messages,
      size: SIZE,
      samples,
      publisher: growth('publisher'),
      subscriber: growth('subscriber'),
    }
    print(result)
    return result

    /** Bytes that each message leaves behind, once the first half has filled what is bounded. */
    function growth(/** @type {'publisher' | 'subscriber'} */ end) {
      const second = samples.slice(STEPS / 2)
      const slope = (/** @type {(memory: Memory) => number} */ pick) =>
        line(second.map((sample) => ({ x: sample.messages, y: pick(sample[end]) }))).slope
      return { heap: slope(({ heapUsed, external }) => heapUsed + external), rss: slope(({ rss }) => rss) }
    }
  } finally {
    await pipe.stop()
  }
}

/** @param {Awaited<ReturnType<typeof memorySuite>>} result */
function print({ messages, samples, publisher, subscriber }) {
  const mib = (/** @type {number | undefined} */ count = Number.NaN) => digits(count / 2 ** 20)
  table(
    `memory over ${messages.toLocaleString('en')} messages of ${SIZE} B, after garbage collection, MiB`,
    ['messages', 'publisher heap', 'RSS', 'subscriber heap', 'RSS'],
    samples
      .filter((_, i) => i % (STEPS / 8) === 0)
      .map((sample) => [
        sample.messages.toLocaleString('en'),
        mib(sample.publisher.heapUsed + sample.publisher.external),
        mib(sample.publisher.rss),
        mib(sample.subscriber.heapUsed + sample.subscriber.external),
        mib(sample.subscriber.rss),
      ]),
  )
  note(
    `bytes left behind by each message, over the second half: publisher ${digits(publisher.heap)}, subscriber ${digits(subscriber.heap)} (RSS ${digits(publisher.rss)}, ${digits(subscriber.rss)})`,
  )
}
