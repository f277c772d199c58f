import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from '@nats-io/transport-node'
import { engineFor } from '../../dist/crypto/engine.js'
import { encodeIdentityFile, generateIdentityKey, parseIdentityFile } from '../../dist/identity/identity.js'
import { generateSigningKey } from '../../dist/identity/signing-key.js'
import { issueToken } from '../../dist/identity/token.js'
import { deriveEpoch, numberAt } from '../../dist/keys/epochs.js'
import { signOrder } from '../../dist/keys/orders.js'
import { listHash, signPlan } from '../../dist/keys/plan.js'
import { firstSchedule } from '../../dist/keys/schedules.js'
import { protocolSubjects } from '../../dist/keys/subjects.js'
import { startRotationService } from '../../dist/rotation/service.js'
import { memoryRotationStore } from '../../dist/rotation/store.js'
import { createCertificateAuthority, issueServerCertificate } from '../../dist/setup/certificates.js'
import { findNatsServer } from '../../dist/setup/nats-server.js'
import { startNatsServer } from '../../dist/setup/run-server.js'
import { encodeEpoch } from '../../dist/wire/plans.js'

/**
 * How another process reaches a world.
 *
 * @typedef {{ readonly servers: string, readonly tls?: { readonly ca: string } }} Connection
 * @typedef {{ readonly connection: Connection, readonly authority: string }} Place
 *
 * @typedef {{ readonly pub?: readonly string[], readonly sub?: readonly string[] }} May
 *
 * @typedef {Awaited<ReturnType<typeof startWorld>>} World
 */

const DAY_MS = 86_400_000
const ISSUED_AGO_MS = 60_000
/** No benchmark is to see one end. */
const EPOCH_MS = 23 * 3_600_000
const PLAN_MS = 90 * DAY_MS
/** The server must not drop a subscriber that falls behind: what is lost would be measured as fast. */
const SERVER_CONFIG = 'max_pending: 1GB\nwrite_deadline: "60s"\n'

/**
 * A real nats-server on the loopback interface, without logins, and a realm on it with its rotation service.
 * `--against` takes this from each checkout: what it gives and returns is {@link import('./checkout.ts').World}.
 *
 * @param {{
 *   readonly tls?: boolean,
 *   readonly onAnnounced?: () => void,
 * }} [options]
 */
export async function startWorld({ tls = false, onAnnounced = () => {} } = {}) {
  const engine = engineFor()
  const folder = await mkdtemp(join(tmpdir(), 'subrosa-bench-'))
  const secured = tls ? await writeCertificates(folder) : undefined
  const configPath = join(folder, 'server.conf')
  await writeFile(configPath, `listen: "127.0.0.1:-1"\n${SERVER_CONFIG}${secured?.config ?? ''}`)
  const server = await startNatsServer({ program: await findNatsServer(), configPath, folder })
  const { key: authority } = generateSigningKey(engine, 'A')
  const { publicKey } = authority
  /** @type {Connection} */
  const connection = {
    servers: `127.0.0.1:${server.port}`,
    ...(secured === undefined ? {} : { tls: { ca: secured.ca } }),
  }

  /**
   * The text of an identity file.
   *
   * @param {string} name
   * @param {May} [may]
   */
  const identity = (name, { pub = [], sub = [] } = {}) => {
    const { seed, publicKey: key } = generateIdentityKey(engine)
    const issuedAtMs = Date.now() - ISSUED_AGO_MS
    const permissions = { pub: { allow: pub, deny: [] }, sub: { allow: sub, deny: [] } }
    const request = {
      realm: publicKey,
      name,
      identity: key,
      roles: [],
      permissions,
      expiresAtMs: issuedAtMs + DAY_MS,
    }
    return encodeIdentityFile(issueToken(engine, request, { signer: authority, issuedAtMs }), seed)
  }

  const nc = await connect(connection)
  const rotator = parseIdentityFile(engine, identity('rotator'))
  const made = Date.now()
  const terms = { realm: publicKey, schedules: [firstSchedule(engine, made, { periodMs: EPOCH_MS })] }
  const plan = signPlan(authority, {
    ...terms,
    version: 1,
    made,
    until: made + PLAN_MS,
    rotators: [rotator.publicKey],
    threshold: 1,
    former: undefined,
    revocationsHash: listHash(engine, []),
  })
  const service = await startRotationService(nc, {
    identity: rotator,
    trust: { authority: [publicKey] },
    plan: { plan, list: [] },
    store: memoryRotationStore(),
    onEvent: ({ type }) => {
      if (type === 'announced') onAnnounced()
    },
  })
  return {
    /** A connection of this process, which sees what the server sees. */
    nc,
    service,
    place: { connection, authority: publicKey },
    identity,
    /** The epoch of now, as it is hashed. */
    epochBytes() {
      return encodeEpoch(deriveEpoch(engine, terms, numberAt(terms, Date.now())))
    },
    /** Orders fresh keys in the epoch of now, as `subrosa rotate now` does. */
    orderFreshKeys() {
      const { number, hash } = deriveEpoch(engine, terms, numberAt(terms, Date.now()))
      const order = signOrder(authority, { realm: publicKey, number, epochHash: hash, at: Date.now() })
      nc.publish(protocolSubjects(engine, publicKey).rotate, order)
    },
    async stop() {
      await service.close()
      await nc.close()
      await server.stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** @param {string} folder */
async function writeCertificates(folder) {
  const authority = await createCertificateAuthority('subrosa benchmark', Date.now())
  const { certificate, key } = await issueServerCertificate(authority, ['localhost', '127.0.0.1'], Date.now())
  await writeFile(join(folder, 'server.crt'), certificate)
  await writeFile(join(folder, 'server.key'), key, { mode: 0o600 })
  const files = `cert_file: "${join(folder, 'server.crt')}"\n  key_file: "${join(folder, 'server.key')}"`
  return { ca: authority.certificate, config: `tls {\n  ${files}\n}\n` }
}
