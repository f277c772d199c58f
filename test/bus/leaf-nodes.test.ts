import { connect as connectTcp, createServer, type Server, type Socket } from 'node:net'
import type { NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { SecureConnection } from '../../src/bus/connection.ts'
import { secure } from '../../src/bus/secure.ts'
import { freePort } from '../setup/running-realm.ts'
import { connectClient } from '../support/client.ts'
import { TestRealm } from '../support/realm.ts'
import { startTestServer, type TestServer } from '../support/server.ts'
import { failure, until } from '../support/until.ts'

/** The line between two servers, which can be cut and mended. */
class Line {
  readonly #sockets = new Set<Socket>()
  readonly #server: Server
  #isCut = false

  static async open(targetPort: number): Promise<Line> {
    const line = new Line(targetPort)
    await new Promise<void>((resolve) => line.#server.listen(0, '127.0.0.1', resolve))
    return line
  }

  private constructor(targetPort: number) {
    this.#server = createServer((near) => {
      if (this.#isCut) {
        near.destroy()
        return
      }
      const far = connectTcp(targetPort, '127.0.0.1')
      for (const [socket, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(socket)
        socket.on('error', () => {})
        socket.on('close', () => {
          this.#sockets.delete(socket)
          other.destroy()
        })
        socket.pipe(other)
      }
    })
  }

  get port(): number {
    const address = this.#server.address()
    return typeof address === 'object' && address !== null ? address.port : 0
  }

  /** Resolves when nothing passes any more. */
  async cut(): Promise<void> {
    this.#isCut = true
    await Promise.all(
      [...this.#sockets].map((socket) => new Promise((resolve) => socket.once('close', resolve).destroy())),
    )
  }

  mend(): void {
    this.#isCut = false
  }

  async close(): Promise<void> {
    await this.cut()
    this.#server.close()
  }
}

describe('agents on a hub and on a leaf node', () => {
  let realm: TestRealm
  let leaf: TestServer
  let line: Line
  let near: SecureConnection
  let far: SecureConnection
  const connections: NatsConnection[] = []
  const wire: { readonly subject: string; readonly data: Uint8Array }[] = []

  /** A connection to the leaf node, without keys. */
  async function atLeaf(): Promise<NatsConnection> {
    const nc = await connectClient({ servers: leaf.url })
    connections.push(nc)
    return nc
  }

  async function join(name: string): Promise<SecureConnection> {
    return secure(await atLeaf(), { identity: realm.identity(name), trust: realm.trust, state: 'memory' })
  }

  beforeAll(async () => {
    const port = await freePort()
    line = await Line.open(port)
    // A hub tells leaf nodes its address, and they would go around the line.
    const leafnodes = `listen: "127.0.0.1:${port}", advertise: "127.0.0.1:${line.port}"`
    realm = await TestRealm.start({ serverConfig: `leafnodes { ${leafnodes} }` })
    leaf = await startTestServer(
      `leafnodes { reconnect: 1, remotes: [{ url: "nats-leaf://127.0.0.1:${line.port}" }] }`,
    )
    for (const tap of [await realm.connection(), await atLeaf()]) {
      tap.subscribe('>', {
        callback: (_error, m) => void wire.push({ subject: m.subject, data: new Uint8Array(m.data) }),
      })
      await tap.flush()
    }
    near = await realm.agent('near')
    far = await join('far')
    await Promise.all([near.waitForAudience('talk'), far.waitForAudience('talk')])
  })
  afterAll(async () => {
    await far.close()
    for (const nc of connections) await nc.close()
    await line.close()
    await leaf.stop()
    await realm.stop()
  })

  /** Notes who said what to whom on a subject. */
  async function listen(subject: string, ...agents: readonly SecureConnection[]): Promise<string[]> {
    const heard: string[] = []
    for (const bus of agents) {
      bus.subscribe(subject, {
        callback: (_error, m) => heard.push(`${m.sender.name} to ${bus.name}: ${m.string()}`),
      })
      await bus.flush()
    }
    return heard
  }

  it('hear each other, and answer each other', async () => {
    const heard = await listen('talk', near, far)
    // A server takes a moment to tell the other who subscribes.
    await until('both have heard both', () => {
      for (const bus of [near, far]) bus.publish('talk', 'secret words')
      return new Set(heard).size === 4
    })
    for (const bus of [near, far]) {
      bus.subscribe(`ask.${bus.name}`, { callback: (_error, m) => m.respond(`secret of ${bus.name}`) })
      await bus.flush()
    }
    for (const [asker, asked] of [
      [near, far],
      [far, near],
    ] as const) {
      const options = { to: [asked.name] }
      let answer = ''
      await until('the server knows the subscription', () => {
        void asker.request(`ask.${asked.name}`, 'q', options).then(
          (m) => (answer = m.string()),
          () => {},
        )
        return answer !== ''
      })
      expect(answer).toBe(`secret of ${asked.name}`)
      const many: string[] = []
      const limits = { strategy: 'count', maxMessages: 1, ...options } as const
      for await (const m of await asker.requestMany(`ask.${asked.name}`, 'q', limits)) many.push(m.string())
      expect(many).toEqual([`secret of ${asked.name}`])
    }
  })

  it('share the work of a queue group, and take it over from each other', async () => {
    const worker = await join('worker')
    const handled: string[] = []
    const subs = [near, worker].map((bus) =>
      bus.subscribe('jobs', {
        queue: 'q',
        callback: (_error, m) => {
          handled.push(bus.name)
          m.respond(bus.name)
        },
      }),
    )
    await Promise.all([near.flush(), worker.flush()])
    const ask = () => far.request('jobs', 'job', { to: ['near', 'worker'], timeout: 5000 })
    for (let i = 0; i < 20; i++) await ask()
    expect(handled).toHaveLength(20)
    await subs[1]?.drain()
    await until('the hub takes over', () => {
      void ask().catch(() => {})
      return handled.includes('near')
    })
    expect((await ask()).string()).toBe('near')
    await worker.close()
  })

  it('hear nothing of each other while the link is cut, and hear each other again afterwards', async () => {
    const heard = await listen('cut', near, far)
    await until('messages pass', () => {
      near.publish('cut', 'before')
      return heard.includes('near to far: before')
    })
    await line.cut()
    await Promise.all([near.flush(), far.flush()])
    heard.length = 0
    near.publish('cut', 'alone')
    far.publish('cut', 'alone')
    await Promise.all([near.flush(), far.flush()])
    await until('each hears itself', () => heard.length === 2)
    expect([...heard].sort()).toEqual(['far to far: alone', 'near to near: alone'])
    const late = await realm.agent('late')
    line.mend()
    await until('all is as it was', () => {
      for (const bus of [near, far]) bus.publish('cut', 'after')
      return ['near to far: after', 'far to near: after'].every((text) => heard.includes(text))
    })
    // It has announced itself into the void: its first message has it looked up.
    late.publish('cut', 'hello', { to: ['far'] })
    await until('it is heard', () => heard.includes('late to far: hello'))
    expect(far.audience('cut').map(({ name }) => name)).toContain('late')
    for (const bus of [near, far]) expect(bus.rejections()).toEqual({})
    await late.close()
  })

  it('cannot be joined while the link is cut: nothing is sent without word from the rotation service', async () => {
    await line.cut()
    const identity = realm.identity('stranded')
    const nc = await atLeaf()
    const parts = { identity, trust: realm.trust, state: 'memory', timeout: 300 }
    const error = await failure(() => secure(nc, parts))
    expect(error.code).toBe('ERR_NO_ROTATION_SERVICE')
    line.mend()
    const bus = await secure(nc, { ...parts, timeout: 10_000 })
    await bus.close()
  })

  it('put nothing in clear on either server', () => {
    const isOurs = (subject: string): boolean => !/^(subrosa\.v1|\$JS\.API)\./.test(subject)
    const messages = wire.filter(({ subject }) => isOurs(subject))
    expect(messages.length).toBeGreaterThan(50)
    for (const { data, subject } of messages) {
      // A message, a handshake or a frame.
      if (data.length > 0) expect([0xc1010000, 0xc1010100, 0xc1010200], subject).toContain(typeOf(data))
      for (const text of ['secret', 'before', 'after', 'alone', 'hello'])
        expect(Buffer.from(data).includes(text)).toBe(false)
    }
  })
})

/** The first three bytes as a number. */
function typeOf(data: Uint8Array): number {
  return Buffer.from(data).readUIntBE(0, 3) * 256
}
