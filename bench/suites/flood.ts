import { chooseEngine, type EngineName, engineFor } from '../../dist/crypto/engine.js'
import { parseAnnouncement } from '../../dist/keys/announcements.js'
import { protocolSubjects } from '../../dist/keys/subjects.js'
import { WireType, wireType } from '../../dist/wire/preamble.js'
import { type BadInput, badInput } from '../lib/bad-input.ts'
import { ownCheckout } from '../lib/checkout.ts'
import type { Plan } from '../lib/plan.ts'
import { startWorker } from '../lib/process.mjs'
import { digits, duration, note, table } from '../lib/report.ts'
import { interleaved } from '../lib/rounds.ts'
import { quantile, type Spread, spread } from '../lib/stats.ts'
import { startWorld } from '../lib/world.mjs'
import { join } from '../workers/agent.mjs'
import type { Flooded } from '../workers/target.ts'

/** Bad messages in a second, and how often some of them are published. */
const PER_SECOND = 2000
const TURN_MS = 10
/** Honest messages in a second. */
const HONEST_PER_SECOND = 50
/** For so long what waits for budget may still be delivered. */
const SETTLE_MS = 2500
const SUBJECT = 'orders.new'
const NOTHING = 'nothing'
const ENGINES = ['libsodium', 'noble'] as const

/** One kind of bad input on one engine. */
interface Row {
  readonly engine: EngineName
  readonly name: string
  /** CPU time for one bad message, in microseconds: what the process takes beyond what the honest ones take alone. */
  readonly each: Spread
  /** Of a core, while the flood lasts, honest messages included. */
  readonly core: Spread
  readonly honest: {
    readonly sent: number
    readonly delivered: number
    readonly p50: number
    readonly p99: number
  }
}

/** One flood. */
interface Flood extends Flooded {
  /** CPU time of the flooded process until it had taken everything, in microseconds, and how long that took. */
  readonly cpu: number
  readonly tookMs: number
  readonly sent: number
  readonly honest: number
}

/**
 * What an agent does with bad input: 2,000 messages a second of each kind in turn, and honest ones among them. How much
 * processor time a bad message takes, and what it does to the honest ones, on each engine.
 */
export async function floodSuite({ quick }: Plan) {
  const plan = { seconds: quick ? 2 : 3, rounds: quick ? 1 : 3 }
  const rows: Row[] = []
  for (const engine of ENGINES) rows.push(...(await measure(engine, plan)))
  print(rows)
  return { plan: { ...plan, perSecond: PER_SECOND, honestPerSecond: HONEST_PER_SECOND }, rows }
}

async function measure(
  engine: EngineName,
  { seconds, rounds }: { readonly seconds: number; readonly rounds: number },
): Promise<readonly Row[]> {
  const flooded = await startFlooded(engine)
  try {
    // The first session may give way to another one: what is recorded from now on is of the one that stays.
    await flooded.flood(NOTHING, seconds)
    const kinds = [{ name: NOTHING }, ...(await flooded.kinds()).map(({ name }) => ({ name }))]
    const measured = await interleaved(kinds, { rounds, warmUp: 0 }, ({ name }) =>
      flooded.flood(name, seconds),
    )
    return kinds.map(({ name }) => {
      const floods = measured.flatMap((round) => round[name] ?? [])
      const quiet = measured.flatMap((round) => round[NOTHING] ?? [])
      const delays = floods.flatMap((flood) => flood.delays)
      return {
        engine,
        name,
        each: spread(floods.map(({ cpu, sent }, i) => (cpu - (quiet[i]?.cpu ?? Number.NaN)) / sent)),
        core: spread(floods.map(({ cpu, tookMs }) => cpu / 1000 / tookMs)),
        honest: {
          sent: floods.reduce((sum, { honest }) => sum + honest, 0),
          delivered: delays.length,
          p50: quantile(delays, 0.5),
          p99: quantile(delays, 0.99),
        },
      }
    })
  } finally {
    await flooded.stop()
  }
}

/** A realm in which one agent, in a process of its own, is flooded while another one speaks to it. */
async function startFlooded(engine: EngineName) {
  const world = await startWorld()
  const target = startWorker('target.ts')
  const place = { ...world.place, library: ownCheckout.library }
  const { nc } = world
  const announced: Uint8Array[] = []
  const wires: Uint8Array[] = []
  const record = (subject: string, into: Uint8Array[]) =>
    nc.subscribe(subject, {
      callback: (_error: unknown, { data }: { readonly data: Uint8Array }) =>
        void into.push(new Uint8Array(data)),
    })
  record(`${protocolSubjects(engineFor(), place.authority).root}.announce.target.*`, announced)
  record(SUBJECT, wires)
  await nc.flush()
  await target.call('join', {
    place,
    engine,
    identity: world.identity('target', { sub: [SUBJECT] }),
    subject: SUBJECT,
  })
  const honest = await join({ place, identity: world.identity('honest', { pub: [SUBJECT] }) })
  await honest.bus.waitForAudience(SUBJECT, { atLeast: 1, timeout: 30_000 })
  const speak = (mode: 'message' | 'session'): void => {
    const now = new Uint8Array(8)
    Buffer.from(now.buffer).writeBigUInt64BE(process.hrtime.bigint())
    honest.bus.publish(SUBJECT, now, { mode })
  }

  /** The kinds, made from what is recorded of honest traffic now: what is old is refused by its time. */
  const kinds = async (): Promise<readonly BadInput[]> => {
    wires.length = 0
    speak('message')
    speak('session')
    await honest.bus.flush()
    await nc.flush()
    const recorded = (type: number): Uint8Array => {
      const wire = wires.find((bytes) => wireType(bytes) === type)
      if (wire === undefined) throw new Error(`nothing of type ${type} was recorded`)
      return wire
    }
    const own = chooseEngine('libsodium')
    const [bytes] = announced
    if (bytes === undefined) throw new Error('the announcement of the target was not recorded')
    const announcement = parseAnnouncement(own, bytes)
    const message = recorded(WireType.sealed)
    return badInput(own, { message, frame: recorded(WireType.frame), announcement, subject: SUBJECT })
  }

  return {
    kinds,

    /** Publishes bad messages of one kind for so long, with honest ones among them, and asks what came of it. */
    async flood(name: string, seconds: number): Promise<Flood> {
      const kind = (await kinds()).find((found) => found.name === name)
      const bad = kind === undefined ? [] : Array.from({ length: PER_SECOND * seconds }, kind.make)
      const options = kind?.headers === undefined ? {} : { headers: kind.headers }
      await target.call('begin')
      const startedAt = performance.now()
      const honestBefore = Math.round(HONEST_PER_SECOND * seconds)
      let sent = 0
      let spoken = 0
      await new Promise<void>((resolve) => {
        const timer = setInterval(() => {
          const share = Math.min(1, (performance.now() - startedAt) / 1000 / seconds)
          while (sent < share * bad.length) nc.publish(SUBJECT, bad[sent++], options)
          while (spoken < share * honestBefore) speak(spoken++ % 2 === 0 ? 'message' : 'session')
          if (share < 1) return
          clearInterval(timer)
          resolve()
        }, TURN_MS)
      })
      await nc.flush()
      await honest.bus.flush()
      const cpu: number = await target.call('caughtUp')
      const tookMs = performance.now() - startedAt
      await new Promise((resolve) => setTimeout(resolve, SETTLE_MS))
      const came: Flooded = await target.call('end')
      check(kind, came, sent)
      return { ...came, cpu, tookMs, sent, honest: spoken }
    },

    async stop() {
      await honest.bus.close()
      await honest.plain.close()
      await target.stop()
      await world.stop()
    },
  }
}

/** Nothing bad may reach a handler, and all of it must be counted under a reason that fits. */
function check(kind: BadInput | undefined, { strange, rejections }: Flooded, sent: number): void {
  if (strange > 0) throw new Error(`${strange} messages of the flood were delivered: ${kind?.name}`)
  const expected = kind?.reasons ?? []
  const counted = expected.reduce((sum, reason) => sum + (rejections[reason] ?? 0), 0)
  if (counted < sent * COUNTED)
    throw new Error(
      `${counted} of ${sent} were counted as ${expected.join(' or ')}: ${JSON.stringify(rejections)}`,
    )
}

/** What comes as a handshake a second time is nobody's, and no rejection; what waits for its sender is one later. */
const COUNTED = 0.9

function print(rows: readonly Row[]): void {
  for (const engine of ENGINES)
    table(
      `flood of ${PER_SECOND} a second, ${HONEST_PER_SECOND} honest ones among them, ${engine}`,
      ['', 'CPU each', 'of a core', 'honest delivered', 'p50', 'p99'],
      rows
        .filter((row) => row.engine === engine)
        .map(({ name, each, core, honest }) => [
          name,
          name === NOTHING ? '' : duration(each.median),
          `${digits(core.median * 100)} %`,
          `${honest.delivered} of ${honest.sent}`,
          duration(honest.p50),
          duration(honest.p99),
        ]),
    )
  note('CPU each: of the whole process, the NATS client included, over what the honest messages take alone')
}
