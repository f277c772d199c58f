import { chooseEngine } from './dist/crypto/engine.js'
import { FrameSealer, FrameOpener } from './dist/session/frame-cipher.js'
import { OutgoingSession } from './dist/session/outgoing.js'
import { IncomingSession } from './dist/session/incoming.js'
import { encodeFrameMeta, readFrameHeader, FRAME_HEADER_BYTES } from './dist/wire/frame.js'
const engine = chooseEngine('libsodium')
const key = new Uint8Array(new ArrayBuffer(32)); key.set(engine.randomBytes(32))
const msk = engine.ed25519KeyPair()
const secrets = { sid: engine.randomBytes(16), key, binding: engine.randomBytes(80) }
for (const mode of [1, 0]) for (const size of [128, 1024, 16384]) {
  const sealer = new FrameSealer(engine, 'padme'), opener = new FrameOpener(engine)
  const out = new OutgoingSession(engine, { secrets, mode, maxFrames: 2 ** 20, expiresAtMs: Infinity, messageKey: msk.secretKey, handshake: key })
  const inc = new IncomingSession(engine, { secrets, handshake: { scope: undefined, mode, maxFrames: 2 ** 20, lifetimeMs: 900000 }, sentAtMs: Date.now(), messageKey: msk.publicKey })
  const meta = encodeFrameMeta({ ttlMs: 0, subject: 'orders.new', reply: undefined, inReplyTo: undefined, headers: [], clearHeaders: [], lengths: undefined })
  const payload = engine.randomBytes(size)
  const N = size > 4000 ? 20000 : 100000
  let wires = []
  const rounds = []
  for (let r = 0; r < 5; r++) {
    wires = []
    let t = process.hrtime.bigint()
    for (let i = 0; i < N; i += 64) {
      const frames = []
      for (let k = 0; k < 64; k++) frames.push(out.nextFrame(sealer, Date.now(), { meta, payload }))
      for (const w of out.seal(sealer, frames)) wires.push(w)
      if (wires.length > 6400) { wires.length = 0 }
    }
    const s = Number(process.hrtime.bigint() - t) / N
    wires.length = Math.min(wires.length, 640)
    t = process.hrtime.bigint()
    let n = 0
    for (let i = 0; i < N; i += wires.length) for (const w of wires) {
      n++
      const h = readFrameHeader(w)
      if (!inc.takes(h)) throw 1
      const o = inc.open(opener, w, w.subarray(0, FRAME_HEADER_BYTES))
      if (typeof o === 'string') throw new Error(o)
    }
    rounds.push([s, Number(process.hrtime.bigint() - t) / n])
  }
  rounds.sort((a, b) => a[0] - b[0])
  console.log(mode ? 'channel' : 'session', size, rounds.map(([a, b]) => `${a.toFixed(0)}/${b.toFixed(0)}`).join(' '))
}
