import { connect } from '@nats-io/transport-node'
import { fromHex, hex } from '../../dist/base/bytes.js'
import { systemClock } from '../../dist/base/clock.js'
import { secure } from '../../dist/bus/secure.js'
import { engineFor } from '../../dist/crypto/engine.js'
import { parseIdentityFile } from '../../dist/identity/identity.js'
import { protocolSubjects } from '../../dist/keys/subjects.js'
import { decodeSealed, KID_BYTES } from '../../dist/wire/sealed.js'
import { memory } from './agent.mjs'
import { serve } from './serve.mjs'

const JOIN_TIMEOUT_MS = 20_000
const SETTLE_TIMEOUT_MS = 120_000
const MAX_JITTER_MS = 30_000
const POLL_MS = 10

/** @type {Awaited<ReturnType<typeof connect>>} */
let nc
/** @type {Awaited<ReturnType<typeof secure>>} */
let bus
/** @type {string} */
let realm
let isHurried = false

const clock = {
  now: () => systemClock.now(),
  monotonic: () => systemClock.monotonic(),
  /** While a rotation is measured, the pause at random before an announcement is left out. */
  after: (/** @type {number} */ ms, /** @type {() => void} */ task) =>
    systemClock.after(isHurried && ms <= MAX_JITTER_MS ? 0 : ms, task),
}

serve({ join, settle, renewed, stop: () => bus.close() })

/**
 * Joins a realm, and proves everyone in it: times and memory.
 *
 * @param {{ readonly place: import('../lib/world.mjs').Place, readonly identity: string, readonly subject: string }} who
 */
async function join({ place, identity, subject }) {
  nc = await connect(place.connection)
  const before = await memory()
  const start = performance.now()
  realm = place.authority
  bus = await secure(nc, {
    identity: parseIdentityFile(engineFor(), identity),
    trust: { authority: [place.authority] },
    state: 'memory',
    timeout: JOIN_TIMEOUT_MS,
    capturedSubjects: [],
    clock,
  })
  const joined = performance.now()
  const agents = bus.audience(subject).length
  const proven = performance.now()
  const after = await memory()
  return {
    agents,
    joinedMs: joined - start,
    readyMs: proven - start,
    heapBytes: after.heapUsed + after.external - before.heapUsed - before.external,
    rssBytes: after.rss - before.rss,
  }
}

/** Before fresh keys are ordered: resolves when this instance has announced its own. */
async function renewed() {
  isHurried = true
  const own = protocolSubjects(engineFor(), realm).announce(bus.name, fromHex(bus.instance))
  for await (const _ of nc.subscribe(own, { max: 1 }));
  isHurried = false
}

/** Resolves when what is published is sealed for another key of this recipient, who announces last, than before. */
async function settle(/** @type {{ subject: string, to: string }} */ { subject, to }) {
  /** @type {string | undefined} */
  let before
  let seen = before
  const tap = nc.subscribe(subject, {
    callback: (_error, { data }) => {
      seen = hex(decodeSealed(data).header.packedWraps.subarray(0, KID_BYTES))
      before ??= seen
    },
  })
  const start = performance.now()
  let slowest = 0
  while (seen === before) {
    if (performance.now() - start > SETTLE_TIMEOUT_MS) throw new Error(`${to} has no fresh key`)
    const began = performance.now()
    bus.publish(subject, undefined, { to: [to], mode: 'message' })
    slowest = Math.max(slowest, performance.now() - began)
    await pause()
  }
  tap.unsubscribe()
  return { slowestPublishMs: slowest }
}

function pause() {
  return new Promise((resolve) => setTimeout(resolve, POLL_MS))
}
