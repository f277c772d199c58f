import {
  countFor,
  MANY,
  type Pipe,
  pilot,
  prove,
  SEALED_FOR_ALL,
  sealedTo,
  startPipe,
  type Variant,
} from '../lib/pipe.ts'
import { bytes } from '../lib/report.ts'
import type { Metric } from './findings.ts'
import type { Pair } from './ratios.ts'
import type { Sitting } from './sitting.ts'
import { inTurns, startBoth } from './turns.ts'

const SIZES = [128, 1024, 16_384]
const WIRE_SIZES = [128, 1024]
const BURST = 256
const MEMORY_SIZE = 128
const MIB = 2 ** 20

const RATE: Metric = { name: 'messages/s', unit: 'messages/s', better: 'higher' }
const ENDS = {
  publisherUs: { name: 'µs publisher', unit: 'µs', better: 'lower' },
  subscriberUs: { name: 'µs subscriber', unit: 'µs', better: 'lower' },
} satisfies Readonly<Record<string, Metric>>
const ADDED: Metric = { name: 'bytes', unit: 'bytes', better: 'lower' }
const HEAP: Metric = { name: 'MiB', unit: 'MiB', better: 'lower' }

const CHANNEL = variant('channel', { mode: 'channel', subject: sealedTo(1) })
const SESSION = variant('session to 1', { mode: 'session', subject: sealedTo(1) })
const SESSION_TO_3 = variant('session to 3', { mode: 'session', subject: sealedTo(3) })
const MESSAGE = variant('message to 1', { mode: 'message', subject: sealedTo(1) })
const MESSAGE_TO_3 = variant('message to 3', { mode: 'message', subject: sealedTo(3) })
const MANY_AT_ONCE = variant(`publishMany(${MANY})`, { mode: 'session', many: MANY, subject: sealedTo(1) })
const SESSION_ALONE = { ...variant('session, one a turn', SESSION.way), burst: 1 }
const THREE_READERS = {
  ...variant('session, 3 subscribers', { mode: 'session', subject: SEALED_FOR_ALL }),
  subscribers: 3,
}

const TIMED: readonly Variant[] = [CHANNEL, SESSION, SESSION_TO_3, THREE_READERS, MANY_AT_ONCE, MESSAGE]
const WEIGHED: readonly Variant[] = [
  CHANNEL,
  SESSION,
  SESSION_ALONE,
  SESSION_TO_3,
  MANY_AT_ONCE,
  MESSAGE,
  MESSAGE_TO_3,
]

function variant(name: string, way: Variant['way']): Variant {
  return { name, way, subscribers: 1, burst: BURST, base: name }
}

/** What goes through a broker: bytes on the wire, messages a second, and the memory of both ends. */
export async function comparePipes(sitting: Sitting): Promise<void> {
  const { checkouts, suites, signal } = sitting
  const pipes = await startBoth(checkouts, (checkout) => startPipe({ checkout, exposeGc: true, signal }))
  try {
    for (const way of [...TIMED, MESSAGE_TO_3])
      for (const pipe of [pipes.before, pipes.after]) await prove(pipe, way)
    const rejected = await rejections(pipes)
    if (suites.includes('bytes')) for (const size of WIRE_SIZES) await weigh(sitting, pipes, size)
    if (suites.includes('pipe')) for (const size of SIZES) await time(sitting, pipes, size)
    if (suites.includes('memory')) await compareMemory(sitting, pipes)
    if ((await rejections(pipes)) !== rejected) throw new Error('messages were rejected while timed')
  } finally {
    await pipes.stop()
  }
}

async function rejections({ before, after }: Pair<Pipe>): Promise<string> {
  return JSON.stringify([await before.rejections(), await after.rejections()])
}

async function time({ plan, number, counts, findings }: Sitting, pipes: Pair<Pipe>, size: number) {
  const title = `pipe, ${bytes(size)}`
  for (const one of TIMED) {
    const key = `${title}, ${one.name}`
    if (counts.has(key)) continue
    const rate = (await pilot(pipes.before, one, size)) / 2 + (await pilot(pipes.after, one, size)) / 2
    counts.set(key, countFor(one, { size, rate, ms: plan.flowMs }))
  }
  const turns = { rounds: plan.rounds, warmUp: plan.warmUp, first: number }
  const measured = await inTurns(TIMED, turns, (one, side) =>
    pipes[side].flow(one, { size, count: counts.get(`${title}, ${one.name}`) ?? MANY }),
  )
  for (const [{ name: row }, pairs] of measured) {
    findings.add({ title, row, metric: RATE }, picked(pairs, 'rate'))
    for (const end of ['publisherUs', 'subscriberUs'] as const)
      findings.add({ title, row, metric: ENDS[end] }, picked(pairs, end))
  }
}

/** What sealing adds to each payload on the wire. It is the same in each round. */
async function weigh({ number, findings }: Sitting, pipes: Pair<Pipe>, size: number) {
  const measured = await inTurns(WEIGHED, { rounds: 1, warmUp: 0, first: number }, (one, side) =>
    added(pipes[side], one, size),
  )
  const title = `bytes that sealing adds to a payload of ${bytes(size)}`
  for (const [{ name: row }, pairs] of measured) findings.add({ title, row, metric: ADDED }, pairs)
}

async function added(pipe: Pipe, one: Variant, size: number): Promise<number> {
  let sum = 0
  const tap = pipe.world.nc.subscribe(one.way.subject, {
    callback: (_error, { data }) => {
      sum += data.length
    },
  })
  await pipe.world.nc.flush()
  await pipe.flow(one, { size, count: MANY })
  await pipe.world.nc.flush()
  tap.unsubscribe()
  return sum / MANY - size
}

async function compareMemory({ plan, number, findings }: Sitting, pipes: Pair<Pipe>) {
  const turns = { rounds: plan.rounds, warmUp: plan.warmUp, first: number }
  const measured = await inTurns([SESSION], turns, (one, side) =>
    heaps(pipes[side], one, plan.memoryMessages),
  )
  const title = `heap and buffers after garbage collection, ${SESSION.name}`
  for (const pairs of measured.values())
    for (const row of ['publisher', 'subscriber'] as const)
      findings.add({ title, row, metric: HEAP }, picked(pairs, row))
}

async function heaps(pipe: Pipe, one: Variant, count: number) {
  await pipe.flow(one, { size: MEMORY_SIZE, count })
  const [subscriber] = pipe.subscribers(1)
  const heapOf = ({ heapUsed, external }: NodeJS.MemoryUsage) => (heapUsed + external) / MIB
  return {
    publisher: heapOf(await pipe.publisher.call('memory')),
    subscriber: heapOf(await subscriber?.call('memory')),
  }
}

function picked<Name extends string>(
  pairs: readonly Pair<{ readonly [name in Name]: number }>[],
  name: Name,
): readonly Pair<number>[] {
  return pairs.map(({ before, after }) => ({ before: before[name], after: after[name] }))
}
