import { connect } from '@nats-io/transport-node'

/** From where the library reads the identity: it takes no text. */
const IDENTITY = 'SUBROSA_BENCH_IDENTITY'
const nothing = () => {}
/** What is rejected is rejected on purpose, or counted: the run ends by that. */
const SILENT = { debug: nothing, info: nothing, warn: nothing, error: nothing }

/**
 * An agent of a world in this process: a plain connection, and a sealed one beside it, by the library of that place.
 *
 * @param {{ readonly place: import('../lib/checkout.ts').Place, readonly identity: string }} who
 */
export async function join({ place, identity }) {
  /** @type {typeof import('../../dist/index.js')} */
  const { loadIdentity, secure } = await import(place.library)
  process.env[IDENTITY] = identity
  const options = { ...place.connection, maxReconnectAttempts: 0 }
  const plain = await connect(options)
  const bus = await secure(await connect(options), {
    identity: await loadIdentity(`env:${IDENTITY}`),
    trust: { authority: [place.authority] },
    state: 'memory',
    // Nothing here is captured by a stream, and the server has no JetStream to ask.
    capturedSubjects: [],
    log: SILENT,
  })
  return { plain, bus }
}

/** The memory of this process, after its garbage was collected where `--expose-gc` is given. */
export async function memory() {
  globalThis.gc?.()
  // What the first collection has found to be garbage is given back a turn later.
  await new Promise((resolve) => setImmediate(resolve))
  globalThis.gc?.()
  const { rss, heapUsed, external } = process.memoryUsage()
  return { rss, heapUsed, external }
}
