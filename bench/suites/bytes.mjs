import { randomBytes } from 'node:crypto'
import { connect } from '@nats-io/transport-node'
import { secure } from '../../dist/bus/secure.js'
import { engineFor } from '../../dist/crypto/engine.js'
import { parseIdentityFile } from '../../dist/identity/identity.js'
import { WireType, wireType } from '../../dist/wire/preamble.js'
import { makeCrowd } from '../lib/crowd.mjs'
import { bytes, note, table } from '../lib/report.ts'
import { startWorld } from '../lib/world.mjs'

const AUDIENCES = [1, 3, 10, 100, 1000]
const SIZES = [16, 128, 1024, 16_384]
/** @type {readonly ('padme' | 'none')[]} */
const PADDINGS = ['padme', 'none']
const BATCH = 64
const MANY = 64

/** @param {number} recipients */
const subjectFor = (recipients) => `bytes.to${recipients}`

/**
 * How many bytes sealing adds to a message on the wire: exact, by mode, size, audience and padding. What NATS itself
 * adds is the same for plaintext and is left out.
 */
export async function bytesSuite() {
  const world = await startWorld()
  const files = Array.from({ length: Math.max(...AUDIENCES) }, (_, i) =>
    world.identity(`agent${i}`, { sub: AUDIENCES.filter((recipients) => recipients > i).map(subjectFor) }),
  )
  try {
    for (const { subject, bytes: statement } of makeCrowd(world.place.authority, files).announce(
      world.epochBytes(),
    ))
      world.nc.publish(subject, statement)
    await world.nc.flush()
    const rows = []
    for (const padding of PADDINGS) rows.push(...(await measure(world, padding)))
    print(rows)
    return { rows }
  } finally {
    await world.stop()
  }
}

/**
 * @param {import('../lib/world.mjs').World} world
 * @param {'padme' | 'none'} padding
 */
async function measure(world, padding) {
  const nc = await connect(world.place.connection)
  const identity = world.identity(`publisher-${padding}`, { pub: ['bytes.>'] })
  const bus = await secure(nc, {
    identity: parseIdentityFile(engineFor(), identity),
    trust: { authority: [world.place.authority] },
    state: 'memory',
    capturedSubjects: [],
    padding,
  })
  for (const recipients of AUDIENCES)
    await bus.waitForAudience(subjectFor(recipients), { atLeast: recipients, timeout: 30_000 })
  /** @type {Uint8Array[]} */
  const seen = []
  for (const pattern of ['bytes.>', `subrosa.v1.${world.place.authority}.inbox.>`])
    world.nc.subscribe(pattern, {
      callback: (_error, { data }) => {
        seen.push(data.slice())
      },
    })
  await world.nc.flush()
  /** What these publishes put on the wire: handshakes, and all the rest. */
  const wireOf = async (/** @type {() => void} */ publish) => {
    seen.length = 0
    publish()
    await bus.flush()
    await world.nc.flush()
    const sum = (/** @type {readonly Uint8Array[]} */ messages) =>
      messages.reduce((total, { length }) => total + length, 0)
    const isHandshake = (/** @type {Uint8Array} */ message) => wireType(message) === WireType.handshake
    return {
      handshake: sum(seen.filter(isHandshake)),
      content: sum(seen.filter((message) => !isHandshake(message) && wireType(message) !== WireType.page)),
    }
  }
  const rows = []
  for (const recipients of AUDIENCES) {
    const subject = subjectFor(recipients)
    const { handshake } = await wireOf(() => bus.publish(subject, 'opens the session'))
    for (const size of SIZES) {
      const payload = randomBytes(size)
      const added = async (/** @type {() => void} */ publish, count = 1) =>
        ((await wireOf(publish)).content - count * size) / count
      const batch = () => {
        for (let n = 0; n < BATCH; n++) bus.publish(subject, payload)
      }
      rows.push({
        padding,
        recipients,
        size,
        handshake,
        message: await added(() => bus.publish(subject, payload, { mode: 'message' })),
        sessionAlone: await added(() => bus.publish(subject, payload)),
        sessionBatch: await added(batch, BATCH),
        many: await added(() => bus.publishMany(subject, new Array(MANY).fill(payload)), MANY),
        channel: recipients === 1 ? await channelAdds() : undefined,
      })

      async function channelAdds() {
        await wireOf(() => bus.publish(subject, payload, { mode: 'channel' }))
        return added(() => bus.publish(subject, payload, { mode: 'channel' }))
      }
    }
  }
  await bus.close()
  await nc.close()
  return rows
}

/** @param {Awaited<ReturnType<typeof measure>>} rows */
function print(rows) {
  table(
    'bytes that sealing adds to each message',
    ['', 'channel', `publishMany(${MANY})`, `session, ${BATCH} a turn`, 'session, one a turn', 'message'],
    rows
      .filter(({ recipients }) => recipients === 1)
      .map(({ padding, size, channel, many, sessionBatch, sessionAlone, message }) => [
        `${bytes(size)}, ${padding === 'none' ? 'no padding' : 'padded'}`,
        ...[channel, many, sessionBatch, sessionAlone, message].map(count),
      ]),
  )
  table(
    `bytes by audience, ${bytes(1024)}, padded`,
    ['recipients', 'session, a frame', 'handshake', 'message'],
    rows
      .filter(({ size, padding }) => size === 1024 && padding === 'padme')
      .map(({ recipients, sessionBatch, handshake, message }) => [
        `${recipients}`,
        ...[sessionBatch, handshake, message].map(count),
      ]),
  )
  note('a handshake serves up to 2^20 frames in 15 minutes')
}

/** @param {number | undefined} value */
function count(value) {
  if (value === undefined) return '–'
  return Number.isInteger(value) ? value.toLocaleString('en') : value.toFixed(1)
}
