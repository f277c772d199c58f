import { randomBytes } from 'node:crypto'
import { type Checkout, ownCheckout, type World } from './checkout.ts'
import { startWorker } from './process.mjs'

/** What to publish: `plain` on the plain connection, else sealed in a mode; `many` payloads in a frame where it says so. */
export interface Way {
  readonly mode: 'plain' | 'session' | 'channel' | 'message'
  readonly many?: number
  readonly subject: string
}

/** Something to push through the pipe: how it is published, who counts it, and against what it is compared. */
export interface Variant {
  readonly name: string
  readonly way: Way
  readonly subscribers: number
  readonly burst: number
  readonly base: string
}

/** Messages a second, and microseconds of processor time of either end for one message. */
export interface Flow {
  readonly rate: number
  readonly publisherUs: number
  readonly subscriberUs: number
}

interface PipeOptions {
  readonly checkout?: Checkout
  readonly profile?: string | undefined
  readonly exposeGc?: boolean
  readonly signal?: AbortSignal
}

export type Pipe = Awaited<ReturnType<typeof startPipe>>

/** To how many instances a message on a subject is sealed. */
export const AUDIENCES = [1, 3, 10, 100]
const SUBSCRIBERS = 3
const CHECKED_PAYLOADS = 200
const JOIN_MS = 30_000
/** Fewer messages than this in one flow are too short to time. */
const PILOT_MESSAGES = 2048
const MAX_WIRE_BYTES = 96 * 1024 * 1024

/** Payloads in one publishMany. */
export const MANY = 64

export const sealedTo = (recipients: number) => `pipe.to${recipients}`
/** Sealed to three, and all three subscribe. */
export const SEALED_FOR_ALL = 'pipe.all'
export const PLAIN = 'pipe.plain'
/** Plain, with three subscribers. */
export const PLAIN_FOR_ALL = 'pipe.plain3'

/**
 * A publisher and three subscribers, each in a process of its own, with a real nats-server between them. Audiences are
 * filled up with instances that have announced themselves and subscribe to nothing.
 */
export async function startPipe({ checkout = ownCheckout, ...options }: PipeOptions = {}) {
  const world = await checkout.startWorld()
  const workers = Array.from({ length: SUBSCRIBERS }, () => startWorker('subscriber.mjs', options))
  const publisher = startWorker('publisher.mjs', options)
  const stop = async () => {
    await publisher.stop()
    for (const worker of workers) await worker.stop()
    await world.stop()
  }
  const place = { ...world.place, library: checkout.library }
  try {
    for (const [i, worker] of workers.entries()) {
      const own = i === 0 ? AUDIENCES.map(sealedTo) : []
      const identity = world.identity(`subscriber${i}`, { sub: [...own, SEALED_FOR_ALL] })
      const plain = i === 0 ? [PLAIN, PLAIN_FOR_ALL] : [PLAIN_FOR_ALL]
      await worker.call('join', { place, identity, plain, sealed: [...own, SEALED_FOR_ALL] })
    }
    await publisher.call('join', { place, identity: world.identity('publisher', { pub: ['pipe.>'] }) })
    await fillAudiences(checkout, world)
    for (const recipients of AUDIENCES) {
      const subject = sealedTo(recipients)
      await publisher.call('waitFor', { subject, atLeast: recipients })
      const reached = await publisher.call('audience', subject)
      if (reached !== recipients) throw new Error(`${subject} is sealed to ${reached}`)
    }
    await publisher.call('waitFor', { subject: SEALED_FOR_ALL, atLeast: SUBSCRIBERS })
  } catch (error) {
    await stop()
    throw error
  }

  return {
    world,
    publisher,
    subscribers: (count: number) => workers.slice(0, count),
    async flow(
      { way, subscribers, burst }: Variant,
      { size, count }: { readonly size: number; readonly count: number },
    ): Promise<Flow> {
      const counting = workers.slice(0, subscribers)
      await Promise.all(counting.map((worker) => worker.call('expect', { count })))
      const { startedAt, cpu } = await publisher.call('publish', { ...way, size, count, burst })
      const ends: readonly End[] = await Promise.all(counting.map((worker) => worker.call('finished')))
      for (const { bytes } of ends)
        if (bytes !== size * count) throw new Error(`${bytes} bytes came in place of ${size * count}`)
      const took = Math.max(...ends.map(({ lastAt }) => Number(lastAt - startedAt))) / 1e9
      return {
        rate: count / took,
        publisherUs: (cpu.user + cpu.system) / count,
        subscriberUs: Math.max(...ends.map((end) => end.cpu.user + end.cpu.system)) / count,
      }
    },
    /** What was rejected by any subscriber. */
    async rejections() {
      const all = await Promise.all(workers.map((worker) => worker.call('rejections')))
      return all.flatMap((rejected) => Object.entries(rejected))
    },
    stop,
  }
}

/** What a subscriber says once all has come. */
interface End {
  readonly lastAt: bigint
  readonly bytes: number
  readonly kept: readonly Uint8Array[]
  readonly cpu: NodeJS.CpuUsage
}

async function fillAudiences(checkout: Checkout, world: World) {
  const most = Math.max(...AUDIENCES)
  const files = Array.from({ length: most - 1 }, (_, i) =>
    // The first recipient is the subscriber that is measured.
    world.identity(`idle${i}`, { sub: AUDIENCES.filter((recipients) => recipients >= i + 2).map(sealedTo) }),
  )
  const crowd = checkout.makeCrowd(world.place.authority, files)
  for (const { subject, bytes } of crowd.announce(world.epochBytes())) world.nc.publish(subject, bytes)
  await world.nc.flush()
}

/** The rate of a short flow of a variant. */
export async function pilot(pipe: Pipe, variant: Variant, size: number): Promise<number> {
  return (await pipe.flow(variant, { size, count: PILOT_MESSAGES })).rate
}

/** How many messages of a size make a flow that takes so long at this rate, and that the server can hold. */
export function countFor(
  { subscribers }: Variant,
  { size, rate, ms }: { readonly size: number; readonly rate: number; readonly ms: number },
): number {
  const most = MAX_WIRE_BYTES / (size * subscribers)
  return MANY * Math.max(1, Math.round(Math.min(most, (rate * ms) / 1000) / MANY))
}

/**
 * Proves that a way works before it is timed: what arrives is what was published, in order; nobody else can read it;
 * and what is changed on its way is not delivered.
 */
export async function prove(pipe: Pipe, { name, way, subscribers }: Variant): Promise<void> {
  const { world, publisher } = pipe
  const isPlain = way.mode === 'plain'
  const marker = randomBytes(24)
  const wire: Uint8Array[] = []
  const tap = world.nc.subscribe(way.subject, {
    callback: (_error, { data }) => {
      wire.push(data.slice())
    },
  })
  await world.nc.flush()
  const payloads = Array.from({ length: way.many ? 1 : CHECKED_PAYLOADS }, (_, i) =>
    Buffer.concat([marker, Buffer.from(`${i}`)]),
  )
  const expected = way.many ? new Array(way.many).fill(payloads[0]) : payloads
  const counting = pipe.subscribers(subscribers)
  await Promise.all(counting.map((worker) => worker.call('expect', { count: expected.length, keep: true })))
  await publisher.call('send', { way, payloads })
  for (const worker of counting) {
    const { kept }: End = await worker.call('finished')
    const isSame = expected.every((payload, i) => Buffer.compare(payload, kept[i] ?? Buffer.alloc(0)) === 0)
    if (!isSame) throw new Error(`${name}: what arrived is not what was published`)
  }
  await world.nc.flush()
  tap.unsubscribe()
  const isReadable = wire.some((bytes) => Buffer.from(bytes).includes(marker))
  if (isReadable !== isPlain) throw new Error(`${name}: the wire is ${isReadable ? '' : 'not '}readable`)
  if (!isPlain) await proveRejection(pipe, { name, subject: way.subject, sealed: wire.at(-1) })
}

async function proveRejection(
  pipe: Pipe,
  of: { readonly name: string; readonly subject: string; readonly sealed: Uint8Array | undefined },
) {
  const { name, subject, sealed } = of
  if (sealed === undefined) throw new Error(`${name}: nothing went over the wire`)
  const [subscriber] = pipe.subscribers(1)
  const before = countOf(await subscriber?.call('rejections'))
  const last = sealed.length - 1
  pipe.world.nc.publish(subject, sealed)
  pipe.world.nc.publish(subject, sealed.with(last, (sealed[last] ?? 0) ^ 1))
  const deadline = performance.now() + JOIN_MS
  while (countOf(await subscriber?.call('rejections')) < before + 2) {
    if (performance.now() > deadline)
      throw new Error(`${name}: a replayed or changed message was not rejected`)
  }
}

function countOf(rejections: Readonly<Record<string, number>>) {
  return Object.values(rejections).reduce((sum, count) => sum + count, 0)
}
