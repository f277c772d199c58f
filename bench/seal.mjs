import { readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { hex } from '../dist/bytes.js'
import { chooseEngine } from '../dist/crypto/engine.js'
import { keyId, wrapContext } from '../dist/envelope/keys.js'
import { unseal, verifySender } from '../dist/envelope/open.js'
import { seal } from '../dist/envelope/seal.js'

/**
 * Sealing and opening one message to one recipient, against its bare primitives on the same engine. bench/README.md
 * says what is measured and how to read it.
 */

const ASKED_RATIO = 1.5
const SIZES = [128, 1024]
/** As many bytes as a message's signature covers: label, type, suite, header hash, commitment, content hash. */
const SIGNED_BYTES = 112
const WARM_UP_MS = 400

const { values: options } = parseArgs({
  options: { json: { type: 'string' }, quick: { type: 'boolean', default: false } },
})
const plan = options.quick ? { rounds: 15, slices: 10, sliceMs: 2 } : { rounds: 31, slices: 20, sliceMs: 5 }

const machine = describeMachine()
console.log(`${machine.cpu}, ${machine.cores} cores, ${machine.platform}, Node ${machine.node}`)
console.log(`sodium-native ${machine.sodium}, @noble/curves ${machine.noble}`)
console.log(
  `${plan.rounds} rounds of ${plan.slices} interleaved slices of ${plan.sliceMs} ms; medians, [quartiles], µs\n`,
)
const results = []
for (const name of ['libsodium', 'noble']) for (const size of SIZES) results.push(measure(name, size))
if (options.json !== undefined) {
  const record = { asked: ASKED_RATIO, machine, plan, at: new Date().toISOString(), results }
  writeFileSync(options.json, `${JSON.stringify(record, undefined, 2)}\n`)
}

/**
 * @param {string} engineName
 * @param {number} payloadBytes
 */
function measure(engineName, payloadBytes) {
  const message = messageWork(engineName, payloadBytes)
  const bare = primitiveWork(engineName)
  const works = [message.seal, bare.seal, message.open, bare.open]
  const timers = works.map((work) => calibrate(work, plan.sliceMs))
  /** @type {{ seal: number, bareSeal: number, open: number, bareOpen: number, ratio: number }[]} */
  const rounds = []
  for (let round = 0; round < plan.rounds; round++) {
    const [sealUs = 0, bareSeal = 0, openUs = 0, bareOpen = 0] = interleave(timers, plan.slices)
    rounds.push({
      seal: sealUs,
      bareSeal,
      open: openUs,
      bareOpen,
      ratio: (sealUs + openUs) / (bareSeal + bareOpen),
    })
  }
  const result = {
    engine: engineName,
    payloadBytes,
    sealedBytes: message.sealedBytes,
    seal: spread(rounds.map((round) => round.seal)),
    bareSeal: spread(rounds.map((round) => round.bareSeal)),
    open: spread(rounds.map((round) => round.open)),
    bareOpen: spread(rounds.map((round) => round.bareOpen)),
    ratio: spread(rounds.map((round) => round.ratio)),
    rounds,
  }
  print(result)
  return result
}

/**
 * Sealing a message and opening one, as the bus does both. It is proved first that what is opened is what was sealed,
 * and that what was changed does not open.
 *
 * @param {string} engineName
 * @param {number} payloadBytes
 */
function messageWork(engineName, payloadBytes) {
  const engine = chooseEngine(engineName)
  const pair = engine.x25519KeyPair()
  const signer = engine.ed25519KeyPair()
  const [announcementHash, epochHash] = [engine.randomBytes(32), engine.randomBytes(32)]
  const suite = 1
  const kid = keyId(engine, { suite, use: 0, announcementHash })
  const context = wrapContext(engine, suite, { epochHash, announcementHash })
  const key = { ...pair, kid, context, suite, epoch: 1, epochHash }
  const keys = new Map([[hex(kid), key]])
  const resolver = { ownKey: (/** @type {Uint8Array} */ wanted) => keys.get(hex(wanted)) }
  const content = {
    sender: announcementHash,
    seq: 1,
    subject: 'orders.new',
    reply: undefined,
    inReplyTo: undefined,
    ttlMs: 0,
    headers: [],
    clearHeaders: [],
    payload: engine.randomBytes(payloadBytes),
  }
  const sealOne = () =>
    seal(engine, content, {
      type: 0,
      epoch: 1,
      recipients: [key],
      messageKey: signer.secretKey,
      sentAtMs: Date.now(),
      padding: 'padme',
    })
  const openOne = (/** @type {Uint8Array} */ bytes) => {
    const opened = unseal(engine, bytes, resolver)
    if (opened.outcome !== 'opened') return undefined
    return verifySender(engine, opened.message, signer.publicKey) ? opened.message.content : undefined
  }
  const { bytes } = sealOne()
  const opened = openOne(bytes)
  if (opened === undefined || JSON.stringify(opened) !== JSON.stringify({ ...content }))
    throw new Error('what was opened is not what was sealed')
  for (let at = 0; at < bytes.length; at++) {
    const changed = bytes.with(at, (bytes[at] ?? 0) ^ 1)
    if (openOne(changed) !== undefined) throw new Error(`a message with byte ${at} changed was opened`)
  }
  return {
    sealedBytes: bytes.length,
    seal: () => {
      sealOne()
    },
    open: () => {
      if (openOne(bytes) === undefined) throw new Error('the message was not opened')
    },
  }
}

/**
 * The public-key operations that no such message can do without, called on the engine itself: a fresh key pair, an
 * agreement and a signature; an agreement and a verification.
 *
 * @param {string} engineName
 */
function primitiveWork(engineName) {
  const engine = chooseEngine(engineName)
  const recipient = engine.x25519KeyPair()
  const ephemeral = engine.x25519KeyPair()
  const signer = engine.ed25519KeyPair()
  const message = engine.randomBytes(SIGNED_BYTES)
  const signature = engine.sign(signer.secretKey, message)
  if (!engine.verify(signer.publicKey, message, signature)) throw new Error('the signature does not verify')
  return {
    seal: () => {
      const fresh = engine.x25519KeyPair()
      engine.x25519(fresh.secretKey, recipient.publicKey)
      engine.sign(signer.secretKey, message)
    },
    open: () => {
      engine.x25519(recipient.secretKey, ephemeral.publicKey)
      engine.verify(signer.publicKey, message, signature)
    },
  }
}

/**
 * Warms a piece of work up and finds how many times it fits into a slice.
 *
 * @param {() => void} work
 * @param {number} sliceMs
 */
function calibrate(work, sliceMs) {
  const start = performance.now()
  let times = 0
  while (performance.now() < start + WARM_UP_MS) {
    work()
    times++
  }
  return { work, times: Math.max(1, Math.round((times * sliceMs) / (performance.now() - start))) }
}

/**
 * One round: a slice of each, again and again, so that whatever else the machine does meets all of them alike. What
 * counts is the median slice, in microseconds for one call.
 *
 * @param {readonly { readonly work: () => void, readonly times: number }[]} timers
 * @param {number} slices
 */
function interleave(timers, slices) {
  const taken = timers.map(() => /** @type {number[]} */ ([]))
  for (let slice = 0; slice < slices; slice++) {
    for (const [i, { work, times }] of timers.entries()) {
      const start = process.hrtime.bigint()
      for (let n = 0; n < times; n++) work()
      taken[i]?.push(Number(process.hrtime.bigint() - start) / times / 1000)
    }
  }
  return taken.map((times) => quantile(times, 0.5))
}

/** @param {readonly number[]} values */
function spread(values) {
  return {
    median: quantile(values, 0.5),
    lower: quantile(values, 0.25),
    upper: quantile(values, 0.75),
    min: Math.min(...values),
    max: Math.max(...values),
  }
}

/**
 * @param {readonly number[]} values
 * @param {number} share
 */
function quantile(values, share) {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (sorted.length - 1) * share
  const below = sorted[Math.floor(at)] ?? Number.NaN
  const above = sorted[Math.ceil(at)] ?? Number.NaN
  return below + (above - below) * (at - Math.floor(at))
}

/** @param {ReturnType<typeof measure>} result */
function print({ engine, payloadBytes, sealedBytes, ratio, ...times }) {
  const line = (
    /** @type {string} */ name,
    /** @type {ReturnType<typeof spread>} */ { median, lower, upper },
  ) => console.log(`  ${name.padEnd(32)} ${median.toFixed(1)} [${lower.toFixed(1)}..${upper.toFixed(1)}]`)
  console.log(`${engine}, payload of ${payloadBytes} bytes, ${sealedBytes} bytes sealed`)
  line('seal', times.seal)
  line('  key pair, agreement, signature', times.bareSeal)
  line('open', times.open)
  line('  agreement, verification', times.bareOpen)
  const reached = `${ratio.median.toFixed(3)} [${ratio.lower.toFixed(3)}..${ratio.upper.toFixed(3)}]`
  const range = `${ratio.min.toFixed(3)}..${ratio.max.toFixed(3)}`
  const asked = engine === 'libsodium' ? `; asked: at most ${ASKED_RATIO}` : '; for information'
  console.log(`  ratio ${reached}, all rounds ${range}${asked}\n`)
}

function describeMachine() {
  return {
    cpu: cpus()[0]?.model ?? 'unknown processor',
    cores: availableParallelism(),
    platform: `${process.platform} ${process.arch}`,
    node: process.versions.node,
    sodium: installedVersion('sodium-native'),
    noble: installedVersion('@noble/curves'),
  }
}

/** @param {string} name */
function installedVersion(name) {
  try {
    return JSON.parse(readFileSync(new URL(`../node_modules/${name}/package.json`, import.meta.url), 'utf8'))
      .version
  } catch {
    return 'not installed'
  }
}
