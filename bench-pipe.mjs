// node bench-pipe.mjs : quick look
import { fork } from 'node:child_process'
import { connect } from '@nats-io/transport-node'
import { startNatsServer } from './dist/setup/run-server.js'
import { findNatsServer } from './dist/setup/nats-server.js'
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { engineFor } from './dist/crypto/engine.js'
import { generateSigningKey } from './dist/identity/signing-key.js'
import { issueToken } from './dist/identity/token.js'
import { encodeIdentityFile, generateIdentityKey, parseIdentityFile } from './dist/identity/identity.js'
import { secure } from './dist/bus/secure.js'
import { startRotationService } from './dist/rotation/service.js'
const engine = engineFor()
const ALL = { pub: { allow: ['>'], deny: [] }, sub: { allow: ['>'], deny: [] } }
const NONE = { pub: { allow: [], deny: [] }, sub: { allow: [], deny: [] } }
function identity(authority, name, permissions, roles = []) {
  const { seed, publicKey } = generateIdentityKey(engine)
  const now = Date.now() - 60000
  return encodeIdentityFile(issueToken(engine, { realm: authority.publicKey, name, identity: publicKey, roles, permissions, expiresAtMs: now + 1e9 }, { signer: authority, issuedAtMs: now }), seed)
}
if (process.argv[2] === 'sub') {
  process.once('message', async ({ url, file, authority, plain }) => {
    const nc = await connect({ servers: url })
    let count = 0, want = Infinity
    const got = () => { if (++count === want) process.send({ done: process.hrtime.bigint().toString() }) }
    nc.subscribe('bench.plain', { callback: got })
    const bus = await secure(nc, { identity: parseIdentityFile(engine, file), trust: { authority: [authority] }, state: 'memory', capturedSubjects: [] })
    bus.subscribe('bench.sealed', { callback: got })
    await bus.flush()
    process.on('message', async (m) => { if (m.want) { count = 0; want = m.want; process.send({ ready: true }) } if (m.cpu) process.send({cpu: process.cpuUsage(), rej: bus.rejections()}) ; if (m.end) process.exit(0) })
    process.send({ up: true })
  })
} else {
  const folder = await mkdtemp(join(tmpdir(), 'bench-'))
  await writeFile(join(folder, 's.conf'), 'listen: "127.0.0.1:-1"\n')
  const server = await startNatsServer({ program: await findNatsServer(), configPath: join(folder, 's.conf'), folder })
  const url = `127.0.0.1:${server.port}`
  const { key: authority } = generateSigningKey(engine, 'A')
  const service = await startRotationService(await connect({ servers: url }), { identity: parseIdentityFile(engine, identity(authority, 'rot', NONE, ['rotator'])), trust: { authority: [authority.publicKey] } })
  const child = fork(new URL(import.meta.url).pathname, ['sub'], { execArgv: process.env.PROF ? ['--cpu-prof','--cpu-prof-dir=/tmp/prof/sub'] : [] })
  const next = () => new Promise((r) => child.once('message', r))
  let p = next()
  child.send({ url, file: identity(authority, 'sub', ALL), authority: authority.publicKey })
  await p
  const nc = await connect({ servers: url })
  const bus = await secure(nc, { identity: parseIdentityFile(engine, identity(authority, 'pub', NONE_PUB())), trust: { authority: [authority.publicKey] }, state: 'memory', capturedSubjects: [] })
  function NONE_PUB() { return { pub: { allow: ['>'], deny: [] }, sub: { allow: [], deny: [] } } }
  await bus.waitForAudience('bench.sealed', { atLeast: 1 })
  async function run(kind, size, n) {
    const payload = engine.randomBytes(size)
    p = next(); child.send({ want: n }); await p
    p = next()
    const t = process.hrtime.bigint()
    const flushEvery = kind === 'many' ? 64 * 16 : 256
    if (kind === 'many') {
      const group = Array.from({ length: 64 }, () => payload)
      for (let i = 0; i < n; i += 64) { bus.publishMany('bench.sealed', group); if (i % (64*64) === 0) await bus.flush() }
      await bus.flush()
    } else {
      for (let i = 0; i < n; i++) {
        if (kind === 'plain') nc.publish('bench.plain', payload)
        else bus.publish('bench.sealed', payload, { mode: kind })
        if (i % flushEvery === 0) await (kind === 'plain' ? nc.flush() : bus.flush())
      }
      await nc.flush()
    }
    const { done } = await p
    return n / (Number(BigInt(done) - t) / 1e9)
  }
  const kinds = (process.argv[2] ?? 'plain,channel,session,many').split(',')
  for (const size of (process.env.SIZES ?? '128,1024,16384').split(',').map(Number)) {
    const n = 64 * (size > 4000 ? 160 : 1600)
    const rounds = Object.fromEntries(kinds.map((k) => [k, []]))
    for (let r = 0; r < 6; r++) for (const k of kinds) { const v = await run(k, size, k === 'message' ? Math.floor(n / 10) : n); if (r > 0) rounds[k].push(v) }
    const med = (a) => [...a].sort((x, y) => x - y)[a.length >> 1]
    console.log(size, kinds.map((k) => `${k} ${(med(rounds[k]) / 1000).toFixed(0)}k (${med(rounds[k].map((v, i) => v / rounds.plain[i])).toFixed(2)})`).join('  '))
  }
  p = next(); child.send({ cpu: 1 }); console.log(JSON.stringify(await p), bus.stats())
  child.send({ end: true }); await bus.close(); await nc.close(); service.close(); await server.stop(); process.exit(0)
}
