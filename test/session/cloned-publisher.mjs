// A process that goes on with a session which another one has opened, in many threads at once: what no process of the
// library can do, and a copied machine does. It runs on the built package, and tells its parent the nonces of its frames.
import { fileURLToPath } from 'node:url'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { sodiumEngine } from '../../dist/crypto/sodium.js'
import { FrameSealer } from '../../dist/session/frame-cipher.js'
import { OutgoingSession } from '../../dist/session/outgoing.js'

const bytes = (text) => new Uint8Array(Buffer.from(text, 'hex'))

if (isMainThread) {
  const nonces = []
  const workers = []
  let finished = 0
  process.on('message', ({ state, go }) => {
    if (go) for (const worker of workers) worker.postMessage({ go })
    if (!state) return
    let ready = 0
    for (let i = 0; i < state.threads; i++) {
      const worker = new Worker(fileURLToPath(import.meta.url), { workerData: state })
      worker.on('message', (message) => {
        if (message.ready && ++ready === state.threads) process.send({ ready: true })
        if (!message.nonces) return
        nonces.push(...message.nonces)
        if (++finished === state.threads) process.send({ nonces })
      })
      workers.push(worker)
    }
  })
  process.on('disconnect', () => process.exit())
} else {
  const { sid, key, binding, messageKey, frames } = workerData
  // A hundred threads load the other engine only where they must.
  const engine = sodiumEngine ?? (await import('../../dist/crypto/noble.js')).nobleEngine
  const sealer = new FrameSealer(engine, 'padme')
  const session = new OutgoingSession(engine, {
    secrets: { sid: bytes(sid), key: bytes(key), binding: bytes(binding) },
    mode: 0,
    maxFrames: frames,
    expiresAtMs: Number.MAX_SAFE_INTEGER,
    messageKey: bytes(messageKey),
  })
  parentPort.once('message', () => {
    const nonces = []
    const content = [new Uint8Array(16)]
    while (session.isOpen(Date.now())) {
      const frame = { ...session.takeNumber(Date.now()), content }
      // On the wire it says the same.
      const [sealed] = session.seal(sealer, [frame])
      nonces.push(Buffer.from(sealed.subarray(19, 43)).toString('hex'))
    }
    parentPort.postMessage({ nonces })
    parentPort.close()
  })
  parentPort.postMessage({ ready: true })
}
