import { connect } from '@nats-io/transport-node'
import { secure } from '../../dist/bus/secure.js'
import { engineFor } from '../../dist/crypto/engine.js'
import { parseIdentityFile } from '../../dist/identity/identity.js'

/**
 * An agent of a world in this process: a plain connection, and a sealed one beside it.
 *
 * @param {{ readonly place: import('../lib/world.mjs').Place, readonly identity: string }} who
 */
export async function join({ place, identity }) {
  const options = { ...place.connection, maxReconnectAttempts: 0 }
  const plain = await connect(options)
  const bus = await secure(await connect(options), {
    identity: parseIdentityFile(engineFor(), identity),
    trust: { authority: [place.authority] },
    state: 'memory',
    // Nothing here is captured by a stream, and the server has no JetStream to ask.
    capturedSubjects: [],
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
