import { chooseEngine } from '../../dist/crypto/engine.js'
import { makeCrowd } from '../lib/crowd.mjs'
import { frameWork, makeRecipients, messageWork } from '../lib/own.mjs'
import { startWorker } from '../lib/process.mjs'
import { bytes, digits, duration, note, table } from '../lib/report.ts'
import { interleaved } from '../lib/rounds.ts'
import { timed } from '../lib/slices.ts'
import { power, spread } from '../lib/stats.ts'
import { startWorld } from '../lib/world.mjs'

const AGENTS = [10, 100, 1000, 10_000]
const SIZES = [64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576]
const RECIPIENTS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
const SUBJECT = 'scale.all'
const PAYLOAD = 1024
/** Frames of one turn of the event loop that share a signature. */
const BATCH = 16
/** From here on the bytes cost more than everything that each message costs. */
const LARGE = 16_384
/** From here on the recipients do. */
const MANY = 10
const INTAKE_TIMEOUT_MS = 120_000

/**
 * How costs grow: with the number of agents in a realm, with the size of a message and with its recipients.
 *
 * @param {import('../lib/plan.ts').Plan} plan
 */
export async function scaleSuite({ quick }) {
  const agents = await withAgents(quick)
  const short = quick
    ? { rounds: 3, slices: 4, sliceMs: 4, warmUpMs: 100 }
    : { rounds: 9, slices: 8, sliceMs: 10, warmUpMs: 300 }
  const sizes = await withSizes(short)
  const recipients = await withRecipients(short)
  return { agents, sizes, recipients }
}

/**
 * A realm of so many agents, of which one is real: the others have announced themselves and do nothing.
 *
 * @param {number} agents
 */
async function startRealm(agents) {
  let announced = 0
  let reached = () => {}
  const world = await startWorld({
    onAnnounced: () => {
      announced++
      reached()
    },
  })
  const files = Array.from({ length: agents }, (_, i) => world.identity(`agent${i}`, { sub: [SUBJECT] }))
  const crowd = makeCrowd(world.place.authority, files)
  /** Publishes everyone's announcements, and resolves when the rotation service has proved them all. */
  const announceAll = async (/** @type {import('../lib/crowd.mjs').Announcements} */ announcements) => {
    const goal = announced + announcements.length
    const start = performance.now()
    for (const { subject, bytes: statement } of announcements) world.nc.publish(subject, statement)
    await new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`the rotation service took in ${announced} of ${goal} announcements`)),
        INTAKE_TIMEOUT_MS,
      )
      reached = () => {
        if (announced < goal) return
        clearTimeout(timer)
        resolve(undefined)
      }
      reached()
    })
    return performance.now() - start
  }
  await announceAll(crowd.announce(world.epochBytes()))
  let joiners = 0
  const join = async (/** @type {import('../lib/process.mjs').Worker} */ joiner) => {
    const identity = world.identity(`joiner${joiners++}`, { pub: [SUBJECT] })
    const joined = await joiner.call('join', { place: world.place, identity, subject: SUBJECT })
    if (joined.agents !== agents) throw new Error(`${joined.agents} of ${agents} agents were proved`)
    return joined
  }
  return {
    stop: () => world.stop(),
    /** One fresh agent joins; all make fresh keys; another one joins while those before count too. */
    async measure() {
      const joiner = startWorker('joiner.mjs', { exposeGc: true })
      const late = startWorker('joiner.mjs', { exposeGc: true })
      try {
        const joined = await join(joiner)
        const renewed = joiner.call('renewed')
        world.orderFreshKeys()
        await renewed
        const announcements = crowd.announce(world.epochBytes())
        announced = 0
        const settled = joiner.call('settle', { subject: SUBJECT, to: `agent${agents - 1}` })
        const start = performance.now()
        const intake = announceAll(announcements)
        const { slowestPublishMs } = await settled
        const settleMs = performance.now() - start
        const intakeMs = await intake
        await joiner.call('stop')
        const overlap = await join(late).catch((error) => ({
          readyMs: Number.NaN,
          why: error.message.split('\n')[0],
        }))
        return {
          ...joined,
          settleMs,
          intakeMs,
          slowestPublishMs,
          overlapMs: overlap.readyMs,
          why: overlap.why,
        }
      } finally {
        await joiner.stop()
        await late.stop()
      }
    },
  }
}

/** @param {boolean} quick */
async function withAgents(quick) {
  const sizes = AGENTS.map((agents) => ({ name: `${agents}`, agents }))
  // A realm of its own for each round: one that has rotated before holds more announcements.
  const rounds = await interleaved(sizes, { rounds: quick ? 1 : 5, warmUp: 0 }, async ({ agents }) => {
    const realm = await startRealm(agents)
    return realm.measure().finally(realm.stop)
  })
  const of = (/** @type {string} */ name, /** @type {string} */ field) =>
    spread(rounds.map((round) => Number(round[name]?.[field])))
  const [least = 0] = AGENTS
  const rows = sizes.map(({ name, agents }) => ({
    agents,
    joinedMs: of(name, 'joinedMs'),
    readyMs: of(name, 'readyMs'),
    overlapMs: of(name, 'overlapMs'),
    settleMs: of(name, 'settleMs'),
    intakeMs: of(name, 'intakeMs'),
    slowestPublishMs: of(name, 'slowestPublishMs'),
    rssBytes: of(name, 'rssBytes'),
    /** What each agent adds, beyond what the smallest realm takes. */
    bytesEach: spread(
      rounds.map(
        (round) =>
          (Number(round[name]?.['heapBytes']) - Number(round[`${least}`]?.['heapBytes'])) / (agents - least),
      ),
    ),
  }))
  const slope = (/** @type {'readyMs' | 'settleMs'} */ field) =>
    power(rows.filter(({ agents }) => agents >= 100).map((row) => ({ x: row.agents, y: row[field].median })))
  const result = { rows, slopes: { ready: slope('readyMs'), settle: slope('settleMs') }, rounds }
  printAgents(result)
  return result
}

/** @param {import('../lib/slices.ts').SlicePlan} plan */
async function withSizes(plan) {
  /** @type {Awaited<ReturnType<typeof ofSize>>[]} */
  const rows = []
  for (const size of SIZES) rows.push(await ofSize(size, plan))
  const slope = (/** @type {'message' | 'session' | 'channel'} */ kind) =>
    power(rows.filter(({ size }) => size >= LARGE).map((row) => ({ x: row.size, y: row[kind].median })))
  const slopes = { message: slope('message'), session: slope('session'), channel: slope('channel') }
  const result = { batch: BATCH, rows, slopes }
  printSizes(result)
  return result
}

/**
 * @param {number} size
 * @param {import('../lib/slices.ts').SlicePlan} plan
 */
async function ofSize(size, plan) {
  const engine = chooseEngine('libsodium')
  const payload = engine.randomBytes(size)
  const rounds = await timed(
    [
      { name: 'message', ...messageWork(engine, { recipients: makeRecipients(engine, 1), payload }) },
      { name: 'session', ...frameWork(engine, { mode: 'session', batch: BATCH, payload }) },
      { name: 'channel', ...frameWork(engine, { mode: 'channel', batch: 1, payload }) },
    ],
    plan,
  )
  const sum = (/** @type {string} */ name, each = 1) =>
    spread(
      rounds.map((round) => ((round[name]?.seal ?? Number.NaN) + (round[name]?.open ?? Number.NaN)) / each),
    )
  return { size, message: sum('message'), session: sum('session', BATCH), channel: sum('channel'), rounds }
}

/** @param {import('../lib/slices.ts').SlicePlan} plan */
async function withRecipients(plan) {
  /** @type {Awaited<ReturnType<typeof toRecipients>>[]} */
  const rows = []
  for (const count of RECIPIENTS) rows.push(await toRecipients(count, plan))
  const slope = (/** @type {'seal' | 'open'} */ part) =>
    power(
      rows
        .filter(({ recipients }) => recipients >= MANY)
        .map((row) => ({ x: row.recipients, y: row[part].median })),
    )
  const result = { rows, slopes: { seal: slope('seal'), open: slope('open') } }
  printRecipients(result)
  return result
}

/**
 * @param {number} count
 * @param {import('../lib/slices.ts').SlicePlan} plan
 */
async function toRecipients(count, plan) {
  const engine = chooseEngine('libsodium')
  const payload = engine.randomBytes(PAYLOAD)
  const work = messageWork(engine, { recipients: makeRecipients(engine, count), payload })
  const rounds = await timed([{ name: 'message', ...work }], plan)
  const of = (/** @type {'seal' | 'open'} */ part) =>
    spread(rounds.map((round) => round['message']?.[part] ?? Number.NaN))
  return { recipients: count, sealedBytes: work.seal().length, seal: of('seal'), open: of('open'), rounds }
}

/** @param {Awaited<ReturnType<typeof withAgents>>} result */
function printAgents({ rows, slopes, rounds }) {
  const timings = /** @type {const} */ ([
    ['secure()', 'joinedMs'],
    ['all proved', 'readyMs'],
    ['in an overlap', 'overlapMs'],
    ['rotation settles', 'settleMs'],
    ['service takes in', 'intakeMs'],
    ['slowest publish', 'slowestPublishMs'],
  ])
  table(
    'scale, agents in the realm',
    ['agents', ...timings.map(([name]) => name), 'KiB each'],
    rows.map((row, i) => [
      row.agents.toLocaleString('en'),
      ...timings.map(([, field]) => duration(row[field].median * 1000)),
      i === 0 ? '' : digits(row.bytesEach.median / 1024),
    ]),
  )
  note(`slope from 100 on: ready ${digits(slopes.ready)}, settled ${digits(slopes.settle)} (1: proportional)`)
  for (const [i, round] of rounds.entries())
    for (const [agents, { why }] of Object.entries(round))
      if (why !== undefined) note(`round ${i + 1}, ${agents} agents, joining in an overlap: ${why}`)
}

/** @param {Awaited<ReturnType<typeof withSizes>>} result */
function printSizes({ rows, slopes, batch }) {
  table(
    `scale, size of a message: seal and open, one recipient, libsodium; session in batches of ${batch}`,
    ['', 'message', 'session', 'channel'],
    rows.map(({ size, message, session, channel }) => [
      bytes(size),
      ...[message, session, channel].map(({ median }) => duration(median)),
    ]),
  )
  const { message, session, channel } = slopes
  note(
    `slope from ${bytes(LARGE)} on: message ${digits(message)}, session ${digits(session)}, channel ${digits(channel)}`,
  )
}

/** @param {Awaited<ReturnType<typeof withRecipients>>} result */
function printRecipients({ rows, slopes }) {
  table(
    `scale, recipients of a message of ${bytes(PAYLOAD)}, libsodium`,
    ['recipients', 'seal', 'open', 'bytes'],
    rows.map(({ recipients, seal, open, sealedBytes }) => [
      `${recipients}`,
      duration(seal.median),
      duration(open.median),
      sealedBytes.toLocaleString('en'),
    ]),
  )
  note(`slope from ${MANY} on: seal ${digits(slopes.seal)}, open ${digits(slopes.open)}`)
}
