import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { jetstream, jetstreamManager } from '@nats-io/jetstream'
import type { NatsConnection } from '@nats-io/transport-node'
import { hex } from '../../src/base/bytes.ts'
import { SubrosaError } from '../../src/base/errors.ts'
import { silentLog } from '../../src/base/logger.ts'
import { jetStreamRotationLog } from '../../src/rotation/jetstream-log.ts'
import type { LogReading, OpenLog, RotationLog } from '../../src/rotation/log.ts'
import { logNames } from '../../src/rotation/log-names.ts'
import type { RotationEvent, RotationOptions, RotationService } from '../../src/rotation/service.ts'
import { startRotationService } from '../../src/rotation/service.ts'
import { memoryRotationStore, type RotationRecord, type RotationStore } from '../../src/rotation/store.ts'
import { WireType } from '../../src/wire/preamble.ts'
import { decodeEpoch, decodeStatement, decodeTick, type Tick } from '../../src/wire/statements.ts'
import { engine } from '../support/identities.ts'
import { type Tapped, TestRealm } from '../support/realm.ts'
import type { TestServer } from '../support/server.ts'
import { type MadeEpoch, World } from '../support/statements.ts'
import { until } from '../support/until.ts'

/** Long enough for a machine that is busy with other tests. */
export const LEASE_MS = 900

/** Longer than a replica waits before it reads what it was told of. */
const QUIET_MS = 100

/** One replica, and what it has said. */
export interface TestReplica {
  readonly service: RotationService
  readonly nc: NatsConnection
  readonly store: RotationStore
  readonly events: RotationEvent[]
  /** Its process ends without a word: the lease is not given back. */
  crash(): Promise<void>
}

/** How a test starts a replica. */
export interface ReplicaOptions extends Partial<RotationOptions> {
  readonly leaseMs?: number
  /** What is done in the place of the log's own. */
  readonly tampered?: Tampered
}

/** Each is given the log as it is. */
interface Tampered {
  readonly appendEpoch?: (log: OpenLog, bytes: Uint8Array) => Promise<boolean>
  readonly appendRevocation?: (log: OpenLog, bytes: Uint8Array) => Promise<void>
  readonly takeLease?: (log: OpenLog) => Promise<boolean>
  readonly read?: (log: OpenLog) => Promise<LogReading>
  /** It is never told that something was appended. */
  readonly isDeaf?: true
}

function tamperedLog(log: RotationLog, tampered: Tampered): RotationLog {
  return {
    async open(root, onAppended) {
      const { appendEpoch, appendRevocation, takeLease, read, isDeaf } = tampered
      const open = await log.open(root, isDeaf ? () => {} : onAppended)
      return {
        lease: {
          durationMs: open.lease.durationMs,
          take: () => takeLease?.(open) ?? open.lease.take(),
          giveBack: () => open.lease.giveBack(),
        },
        read: () => read?.(open) ?? open.read(),
        rewind: () => open.rewind(),
        appendEpoch: (bytes) => appendEpoch?.(open, bytes) ?? open.appendEpoch(bytes),
        appendRevocation: (bytes) => appendRevocation?.(open, bytes) ?? open.appendRevocation(bytes),
        close: () => open.close(),
      }
    },
  }
}

/** A realm on a server with JetStream, whose rotation service runs in replicas. */
export class ReplicaRealm {
  readonly realm: TestRealm
  /** Makes statements by hand, with the keys of this realm. */
  readonly world: World
  /** The first epoch: every replica has it in its record, unless it is given another store. */
  readonly first: MadeEpoch
  readonly #folder: string
  readonly #replicas: TestReplica[] = []
  #seen: readonly Tapped[] = []
  #restarted: TestServer | undefined

  static async start(): Promise<ReplicaRealm> {
    const folder = mkdtempSync(join(tmpdir(), 'subrosa-jetstream-'))
    const serverConfig = `jetstream { store_dir: ${JSON.stringify(folder)} }`
    const replicas = new ReplicaRealm(await TestRealm.start({ rotation: false, serverConfig }), folder)
    replicas.#seen = await replicas.realm.tap(`${replicas.realm.root}.*`)
    return replicas
  }

  private constructor(realm: TestRealm, folder: string) {
    this.realm = realm
    this.#folder = folder
    this.world = new World({ like: realm })
    this.first = this.world.epoch(undefined, { notBefore: realm.clock.now() })
  }

  get names() {
    return logNames(this.realm.root)
  }

  /** A record with these epochs, and what else is given. */
  storeWith(epochs: readonly MadeEpoch[], rest: Partial<RotationRecord> = {}): RotationStore {
    const store = memoryRotationStore()
    store.save({ epochs: epochs.map(({ bytes }) => bytes), revocations: [], tickedUntil: 0, ...rest })
    return store
  }

  async replica(options: ReplicaOptions = {}): Promise<TestReplica> {
    const { leaseMs = LEASE_MS, store = this.storeWith([this.first]), tampered = {}, ...rest } = options
    const nc = await this.realm.connection()
    const events: RotationEvent[] = []
    const service = await startRotationService(nc, {
      identity: this.realm.rotator,
      trust: this.realm.trust,
      sharedLog: tamperedLog(jetStreamRotationLog(nc, { leaseMs }), tampered),
      onEvent: (event) => events.push(event),
      store,
      log: silentLog,
      ...rest,
    })
    const replica = { service, nc, store, events, crash: () => nc.close() }
    this.#replicas.push(replica)
    return replica
  }

  /** The ticks that a tap has seen, in order. */
  ticks(): readonly Tick[] {
    return this.#of('tick').map((bytes) => decodeTick(decodeStatement(WireType.tick, bytes).structure))
  }

  /** The hashes of all epochs that were published or named by a tick, by number. */
  hashes(): ReadonlyMap<number, ReadonlySet<string>> {
    const hashes = new Map<number, Set<string>>()
    const add = (number: number, hash: Uint8Array): void => {
      hashes.set(number, (hashes.get(number) ?? new Set()).add(hex(hash)))
    }
    for (const bytes of this.#of('epoch')) {
      const { structure } = decodeStatement(WireType.epoch, bytes)
      add(decodeEpoch(structure).number, engine.sha256(structure))
    }
    for (const { number, epochHash } of this.ticks()) add(number, epochHash)
    return hashes
  }

  /** How many epochs there are of the number of which there are most: one, where nothing has forked. */
  forks(): number {
    return Math.max(...[...this.hashes().values()].map(({ size }) => size))
  }

  /** What the stream holds, oldest first. */
  async logged(): Promise<readonly { readonly subject: string; readonly data: Uint8Array }[]> {
    const manager = await this.manager()
    const { state } = await manager.streams.info(this.names.stream)
    const held: { subject: string; data: Uint8Array }[] = []
    for (let seq = Math.max(1, state.first_seq); seq <= state.last_seq; seq++) {
      const message = await manager.streams.getMessage(this.names.stream, { seq })
      if (message !== null) held.push({ subject: message.subject, data: message.data })
    }
    return held
  }

  /** Does what a broker can: the stream is another one, with these entries. */
  async replaceLog(
    entries: readonly { readonly subject: string; readonly data: Uint8Array }[],
  ): Promise<void> {
    const manager = await this.manager()
    const { config } = await manager.streams.info(this.names.stream)
    await this.deleteLog()
    await manager.streams.add(config)
    const client = jetstream(await this.realm.connection())
    for (const { subject, data } of entries) await client.publish(subject, data)
  }

  async deleteLog(): Promise<void> {
    const { stream } = this.names
    const manager = await this.manager()
    const files = join(this.#folder, 'jetstream', '$G', 'streams', stream)
    // The server says so before the files are gone, and would remove those of the next stream of this name. A replica
    // that was about to read may make that one: then it goes, too.
    do {
      await manager.streams.delete(stream)
      await new Promise((resolve) => setTimeout(resolve, QUIET_MS))
    } while (await manager.streams.info(stream).catch(() => undefined))
    await until('its files are gone', () => !existsSync(files))
  }

  async manager() {
    return jetstreamManager(await this.realm.connection())
  }

  /** Kills the server, and starts it again with what its JetStream has kept. */
  async restartServer(): Promise<void> {
    await this.realm.server.kill()
    this.#restarted = await this.realm.server.restart()
  }

  async stop(): Promise<void> {
    for (const { service } of this.#replicas) await service.close()
    await this.realm.stop()
    await this.#restarted?.stop()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  #of(kind: string): readonly Uint8Array[] {
    const subject = `${this.realm.root}.${kind}`
    return this.#seen.filter((message) => message.subject === subject).map(({ data }) => data)
  }
}

/** Resolves when a replica leads. */
export async function leads({ service }: TestReplica): Promise<void> {
  await until('the replica leads', () => service.role === 'leader')
}

/** Has a replica rotate, as soon as it can: one that was disturbed leads again after a while. */
export async function rotated(replica: TestReplica): Promise<number> {
  for (;;) {
    await leads(replica)
    try {
      return await replica.service.rotate()
    } catch (error) {
      if (!(error instanceof SubrosaError) || error.code === 'ERR_ROLLBACK') throw error
    }
  }
}

/** What a replica has reported as wrong. */
export function troubles({ events }: TestReplica): readonly string[] {
  return events.flatMap((event) => (event.type === 'error' ? String(event.error) : []))
}
