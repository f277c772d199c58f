import { randomBytes } from 'node:crypto'
import { chooseEngine } from '../../dist/crypto/engine.js'
import { agreements, frameWork, makeRecipients, messageWork, primitiveWork } from '../lib/own.mjs'
import { proveFrames, proveMessage } from '../lib/proof.ts'
import { timed } from '../lib/slices.ts'
import { spread } from '../lib/stats.ts'
import { PEERS } from '../peers/all.mjs'
import { printAgreements, printFrames, printPeers, printPrimitives } from './seal-report.mjs'

/**
 * @typedef {import('../lib/slices.ts').Work} Work
 * @typedef {import('../lib/slices.ts').Times} Times
 */

/** @type {readonly ('libsodium' | 'noble')[]} */
const ENGINES = ['libsodium', 'noble']
const PRIMITIVE_SIZES = [128, 1024]
const FRAME_SIZES = [128, 1024, 16_384]
const RECIPIENTS = [1, 10, 100, 1000]
/** Groups of a thousand take some peers long to make: a quick run leaves them out. */
const FEW_RECIPIENTS = [1, 10, 100]
const PAYLOAD = 1024
const BATCH = 64
const NOT_INSTALLED = ['ERR_MODULE_NOT_FOUND', 'MODULE_NOT_FOUND']
const OWN = 'subrosa message, libsodium'

/**
 * Sealing a message and opening it, without any I/O: against its bare primitives, against one key agreement for each
 * recipient, and against other packages that do the same job.
 *
 * @param {import('../lib/plan.ts').Plan} plan
 */
export async function sealSuite({ quick }) {
  const short = quick
    ? { rounds: 7, slices: 8, sliceMs: 4, warmUpMs: 150 }
    : { rounds: 15, slices: 20, sliceMs: 8, warmUpMs: 400 }
  const primitives = []
  for (const engine of ENGINES)
    for (const size of PRIMITIVE_SIZES) primitives.push(await againstPrimitives(engine, size, short))
  printPrimitives(primitives)
  const agreed = []
  for (const recipients of RECIPIENTS) agreed.push(await againstAgreements(recipients, short))
  printAgreements(agreed)
  const frames = []
  for (const size of FRAME_SIZES) frames.push(await frameCosts(size, short))
  printFrames(frames)
  const peers = []
  for (const recipients of quick ? FEW_RECIPIENTS : RECIPIENTS)
    peers.push(await againstPeers(recipients, quick))
  return { plan: { ...short, payload: PAYLOAD }, primitives, agreements: agreed, frames, peers }
}

/**
 * @param {'libsodium' | 'noble'} engineName
 * @param {number} size
 * @param {import('../lib/slices.ts').SlicePlan} plan
 */
export async function againstPrimitives(engineName, size, plan) {
  const engine = chooseEngine(engineName)
  const payload = engine.randomBytes(size)
  const message = messageWork(engine, { recipients: makeRecipients(engine, 1), payload })
  proveMessage(message, payload)
  const rounds = await timed(
    [
      { name: 'message', ...message },
      { name: 'primitives', ...primitiveWork(engine) },
    ],
    plan,
  )
  return {
    engine: engineName,
    size,
    sealedBytes: message.seal().length,
    seal: of(rounds, 'message', 'seal'),
    open: of(rounds, 'message', 'open'),
    bareSeal: of(rounds, 'primitives', 'seal'),
    bareOpen: of(rounds, 'primitives', 'open'),
    ratio: spread(rounds.map((round) => both(round['message']) / both(round['primitives']))),
    rounds,
  }
}

/**
 * @param {number} count
 * @param {import('../lib/slices.ts').SlicePlan} plan
 */
export async function againstAgreements(count, plan) {
  const engine = chooseEngine('libsodium')
  const recipients = makeRecipients(engine, count)
  const { seal } = messageWork(engine, { recipients, payload: engine.randomBytes(PAYLOAD) })
  const bare = agreements(engine, recipients)
  const nothing = () => {}
  const rounds = await timed(
    [
      { name: 'seal', seal, open: nothing },
      { name: 'agreements', seal: bare, open: nothing },
    ],
    plan,
  )
  return {
    recipients: count,
    seal: of(rounds, 'seal', 'seal'),
    agreements: of(rounds, 'agreements', 'seal'),
    ratio: spread(
      rounds.map((round) => (round['seal']?.seal ?? Number.NaN) / (round['agreements']?.seal ?? Number.NaN)),
    ),
    rounds,
  }
}

/**
 * What a frame of an open session costs, on libsodium.
 *
 * @param {number} size
 * @param {import('../lib/slices.ts').SlicePlan} plan
 */
export async function frameCosts(size, plan) {
  const engine = chooseEngine('libsodium')
  const payload = engine.randomBytes(size)
  /** @type {readonly { readonly name: string, readonly mode: 'session' | 'channel', readonly batch: number }[]} */
  const kinds = [
    { name: 'channel', mode: 'channel', batch: 1 },
    { name: `session, ${BATCH} a turn`, mode: 'session', batch: BATCH },
    { name: 'session, one a turn', mode: 'session', batch: 1 },
  ]
  const works = kinds.map(({ name, mode, batch }) => {
    const work = frameWork(engine, { mode, batch, payload })
    proveFrames(work, payload)
    return { name, ...work }
  })
  const rounds = await timed(works, plan)
  return {
    size,
    kinds: kinds.map(({ name, batch }) => ({
      name,
      seal: scaled(rounds, name, { part: 'seal', batch }),
      open: scaled(rounds, name, { part: 'open', batch }),
    })),
    rounds,
  }
}

/**
 * @param {number} recipients
 * @param {boolean} quick
 */
export async function againstPeers(recipients, quick) {
  const payload = randomBytes(PAYLOAD)
  /** @type {Work[]} */
  const works = ENGINES.map((engineName) => {
    const engine = chooseEngine(engineName)
    return {
      name: `subrosa message, ${engineName}`,
      ...messageWork(engine, { recipients: makeRecipients(engine, recipients), payload }),
    }
  })
  /** @type {{ name: string, sealedBytes: number, addMemberUs?: number }[]} */
  const facts = works.map(({ name, seal }) => ({
    name,
    sealedBytes: /** @type {Uint8Array} */ (seal()).length,
  }))
  /** @type {string[]} */
  const missing = []
  for (const peer of PEERS) {
    const work = await peer.prepare({ recipients, payload }).catch((error) => {
      if (!NOT_INSTALLED.includes(error?.code)) throw error
      missing.push(peer.name)
      return undefined
    })
    if (work === undefined) continue
    await provePeer(peer.name, work, payload)
    works.push({ name: peer.name, seal: work.seal, open: work.open, isAsync: work.isAsync })
    const fact = { name: peer.name, sealedBytes: work.size(await work.seal()) }
    if (work.addMember === undefined) facts.push(fact)
    else facts.push({ ...fact, addMemberUs: await timeOf(work.addMember) })
  }
  const isMany = recipients > 100
  const rounds = await timed(works, {
    rounds: isMany ? (quick ? 3 : 5) : quick ? 5 : 11,
    slices: isMany ? 1 : 3,
    sliceMs: quick ? 4 : 20,
    warmUpMs: quick ? 50 : 300,
    ...(quick ? { maxCallMs: 300 } : {}),
  })
  const rows = facts.map((fact) => ({
    ...fact,
    seal: of(rounds, fact.name, 'seal'),
    open: of(rounds, fact.name, 'open'),
    sum: spread(rounds.map((round) => both(round[fact.name])).filter(Number.isFinite)),
    /** How many times as long as the own message takes. */
    timesOwn: spread(
      rounds.map((round) => both(round[fact.name]) / both(round[OWN])).filter(Number.isFinite),
    ),
    properties: PEERS.find(({ name }) => name === fact.name)?.properties,
    lacks: PEERS.find(({ name }) => name === fact.name)?.lacks,
  }))
  const result = { recipients, payload: PAYLOAD, rows, missing, rounds }
  printPeers(result)
  return result
}

/**
 * @param {string} name
 * @param {import('../peers/peer.mjs').PeerWork} work
 * @param {Uint8Array} payload
 */
async function provePeer(name, work, payload) {
  const opened = await work.open(await work.seal())
  if (Buffer.compare(opened, payload) !== 0)
    throw new Error(`${name}: what was opened is not what was sealed`)
  for (const changed of work.change(await work.seal())) {
    const isOpen = await Promise.resolve()
      .then(() => work.open(changed))
      .then(
        () => true,
        () => false,
      )
    if (isOpen) throw new Error(`${name}: what was changed was opened`)
  }
}

/** @param {() => Promise<void>} task */
async function timeOf(task) {
  await task()
  const start = performance.now()
  await task()
  return (performance.now() - start) * 1000
}

/** @param {Times | undefined} times */
function both(times) {
  return times === undefined ? Number.NaN : times.seal + times.open
}

/**
 * @param {readonly Readonly<Record<string, Times>>[]} rounds
 * @param {string} name
 * @param {'seal' | 'open'} part
 */
function of(rounds, name, part) {
  return spread(rounds.map((round) => round[name]?.[part] ?? Number.NaN).filter(Number.isFinite))
}

/**
 * @param {readonly Readonly<Record<string, Times>>[]} rounds
 * @param {string} name
 * @param {{ readonly part: 'seal' | 'open', readonly batch: number }} frame
 */
function scaled(rounds, name, { part, batch }) {
  return spread(rounds.map((round) => (round[name]?.[part] ?? Number.NaN) / batch))
}
