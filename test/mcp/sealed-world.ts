import { expect } from 'vitest'
import { utf8 } from '../../src/base/bytes.ts'
import type { SecureConnection } from '../../src/bus/connection.ts'
import type { Identity } from '../../src/identity/identity.ts'
import { signRevocation } from '../../src/keys/revocations.ts'
import type { Channel } from '../../src/mcp/session/channel.ts'
import { type OpenOptions, openChannel } from '../../src/mcp/session/client.ts'
import { Listener, type ListenOptions } from '../../src/mcp/session/listener.ts'
import { clientPermissions, type McpPermissions, serverPermissions } from '../../src/mcp/session/subjects.ts'
import { may } from '../support/identities.ts'
import { TestRealm, type TestRealmOptions } from '../support/realm.ts'
import { Tampering } from '../support/tampering.ts'
import { until } from '../support/until.ts'

export const SERVER = 'files'

/** One end of a session, with all that it was handed. */
export class End {
  readonly channel: Channel
  readonly got: string[] = []
  /** Each call of `closed`. */
  readonly closed: (Error | undefined)[] = []

  /** Begins to read. */
  static async of(channel: Channel): Promise<End> {
    const end = new End(channel)
    await channel.open({
      message: (message) => void end.got.push(Buffer.from(message).toString()),
      closed: (error) => end.closed.push(error),
    })
    return end
  }

  private constructor(channel: Channel) {
    this.channel = channel
  }

  get isOver(): boolean {
    return this.closed.length > 0
  }

  /** Why it has ended, where it has, and not on purpose. */
  get why(): string | undefined {
    return this.closed[0]?.message.replace('the MCP session has ended: ', '')
  }

  send(text: string): Promise<void> {
    return this.channel.send(utf8(text))
  }
}

/** An agent that serves, and the sessions that it has taken. */
export interface Replica {
  readonly bus: SecureConnection
  /** What comes to it passes here. */
  readonly line: Tampering
  readonly listener: Listener
  readonly ends: End[]
}

/** An agent that uses the server. */
export interface ClientAgent {
  readonly bus: SecureConnection
  readonly identity: Identity
  /** What comes to it passes here. */
  readonly line: Tampering
}

/** Both ends of a session. */
export interface SessionEnds {
  readonly client: End
  readonly server: End
}

/** A realm with agents that may serve or use one MCP server, on a real broker. */
export class SealedWorld {
  readonly realm: TestRealm
  /** The identity that all replicas share. */
  readonly serving: Identity

  static async start(options: TestRealmOptions = {}): Promise<SealedWorld> {
    return new SealedWorld(await TestRealm.start(options))
  }

  private constructor(realm: TestRealm) {
    this.realm = realm
    this.serving = realm.identity(SERVER, { permissions: toPermissions(serverPermissions(SERVER)) })
  }

  /** One more instance of the server, which takes every session. */
  async replica(options: ListenOptions = {}): Promise<Replica> {
    const line = new Tampering(await this.realm.connection())
    const bus = await this.realm.agent(this.serving, {}, { over: line.connection })
    const ends: End[] = []
    const listener = await Listener.start(
      bus,
      async (channel) => {
        ends.push(await End.of(channel))
      },
      options,
    )
    return { bus, line, listener, ends }
  }

  /** An agent that may use the server, or one more instance of it. */
  async client(name: string | Identity): Promise<ClientAgent> {
    const permissions = toPermissions(clientPermissions(SERVER))
    const identity = typeof name === 'string' ? this.realm.identity(name, { permissions }) : name
    const line = new Tampering(await this.realm.connection())
    const bus = await this.realm.agent(identity, {}, { over: line.connection })
    return { bus, identity, line }
  }

  /** Opens a session, and waits until it stands at both ends. */
  async open(
    { bus }: ClientAgent,
    replicas: readonly Replica[],
    options: Partial<OpenOptions> = {},
  ): Promise<SessionEnds> {
    const client = await End.of(await openChannel(bus, { server: SERVER, ...options }))
    const { id } = client.channel
    const server = replicas.flatMap(({ ends }) => ends).find(({ channel }) => channel.id === id)
    if (server === undefined) throw new Error('no replica has the session')
    return { client, server }
  }

  /** Publishes that an identity is not trusted any more. */
  async revoke({ publicKey }: Identity): Promise<void> {
    const { realm } = this
    const now = realm.clock.now()
    const statement = signRevocation(realm.authority, {
      realm: realm.authority.publicKey,
      identity: publicKey,
      since: now,
      until: now + 86_400_000,
      reason: 'stolen',
      past: 0,
    })
    const nc = await realm.connection()
    nc.publish(`${realm.root}.revoke`, statement)
    await nc.flush()
  }

  async stop(): Promise<void> {
    await this.realm.stop()
  }
}

export function toPermissions({ pub, sub }: McpPermissions): ReturnType<typeof may> {
  return may(pub, sub)
}

let marker = 0

/**
 * Sends a message each way and waits for both: what came before has come by then, and the session stands. It fails at
 * once where the session has ended.
 */
export async function expectAlive({ client, server }: SessionEnds): Promise<void> {
  const text = `marker ${++marker}`
  const ends = [client, server]
  const sent = await Promise.allSettled([client.send(text), server.send(text)])
  expect(sent.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled'])
  await until('a message has come at both ends', () =>
    ends.every(({ isOver, got }) => isOver || got.at(-1) === text),
  )
  expect(ends.map(({ why }) => why)).toEqual([undefined, undefined])
}
