import { connect } from '@nats-io/transport-node'
import { systemClock } from '../../dist/base/clock.js'
import { secure } from '../../dist/bus/secure.js'
import { engineFor } from '../../dist/crypto/engine.js'
import { parseIdentityFile } from '../../dist/identity/identity.js'
import { decodeSealed } from '../../dist/wire/sealed.js'
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
let isHurried = false

const clock = {
  now: () => systemClock.now(),
  monotonic: () => systemClock.monotonic(),
  /** While a rotation is measured, the pause at random before an announcement is left out. */
  after: (/** @type {number} */ ms, /** @type {() => void} */ task) =>
    systemClock.after(isHurried && ms <= MAX_JITTER_MS ? 0 : ms, task),
}

serve({ join, settle, hurry, stop: () => bus.close() })

/**
 * Joins a realm, and proves everyone in it: times and memory.
 *
 * @param {{ readonly place: import('../lib/world.mjs').Place, readonly identity: string, readonly subject: string }} who
 */
async function join({ place, identity, subject }) {
  nc = await connect(place.connection)
  const before = await memory()
  const start = performance.now()
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

/** Before a rotation: resolves when this instance has announced its keys for an epoch. */
async function hurry(/** @type {number} */ epoch) {
  isHurried = true
  while (bus.epoch < epoch) await pause()
  isHurried = false
}

/** Resolves when what is published is sealed in this epoch: everyone in the audience has announced keys for it. */
async function settle(/** @type {{ epoch: number, subject: string, to: string }} */ { epoch, subject, to }) {
  let seen = 0
  const tap = nc.subscribe(subject, {
    callback: (_error, { data }) => {
      seen = decodeSealed(data).header.epoch
    },
  })
  const start = performance.now()
  let slowest = 0
  while (seen < epoch) {
    if (performance.now() - start > SETTLE_TIMEOUT_MS) throw new Error(`epoch ${epoch} was not reached`)
    const before = performance.now()
    bus.publish(subject, undefined, { to: [to], mode: 'message' })
    slowest = Math.max(slowest, performance.now() - before)
    await pause()
  }
  tap.unsubscribe()
  return { slowestPublishMs: slowest }
}

function pause() {
  return new Promise((resolve) => setTimeout(resolve, POLL_MS))
}
