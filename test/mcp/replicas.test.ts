import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from '@modelcontextprotocol/client'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { openChannel } from '../../src/mcp/session/client.ts'
import { mcpSubjects, serverPermissions } from '../../src/mcp/session/subjects.ts'
import { SealedTransport } from '../../src/mcp.ts'
import { Child } from '../support/child.ts'
import { newIdentity } from '../support/identities.ts'
import { until } from '../support/until.ts'
import {
  type ClientAgent,
  End,
  expectAlive,
  type Replica,
  SERVER,
  SealedWorld,
  toPermissions,
} from './sealed-world.ts'

const subjects = mcpSubjects(SERVER)

describe('several instances of a server', () => {
  let world: SealedWorld
  let laptop: ClientAgent
  let desk: ClientAgent
  let replicas: Replica[]
  beforeAll(async () => {
    world = await SealedWorld.start()
    laptop = await world.client('laptop')
    desk = await world.client('desk')
    const options = { heartbeat: 300 }
    replicas = await Promise.all([1, 2, 3].map(() => world.replica(options)))
    for (const { bus } of [laptop, desk]) await bus.waitForAudience(subjects.open, { atLeast: 3 })
  })
  afterAll(() => world.stop())
  afterEach(async () => {
    for (const { ends, line } of replicas) {
      line.decide = () => 'pass'
      for (const { channel } of ends.splice(0)) await channel.close()
    }
  })

  it('share the sessions that are opened, and each stays with the one that took it', async () => {
    const sessions = []
    for (let i = 0; i < 30; i++) sessions.push(await world.open(i % 2 === 0 ? laptop : desk, replicas))
    for (const { ends } of replicas) expect(ends.length).toBeGreaterThan(0)
    for (let i = 0; i < 3; i++) for (const session of sessions) await expectAlive(session)
    for (const { server } of sessions) expect(server.got).toHaveLength(3)
    expect(replicas.reduce((sum, { listener }) => sum + listener.sessions, 0)).toBe(30)
  })

  it('that have not taken a session get nothing of it, and could not open it', async () => {
    const session = await world.open(laptop, replicas)
    const pinned = replicas.find(({ ends }) => ends.includes(session.server))
    const others = replicas.filter((replica) => replica !== pinned)
    const seen = await world.realm.tapMessages('mcp.>')
    const before = others.map(({ bus }) => bus.stats().opened)
    for (let i = 0; i < 20; i++) await expectAlive(session)
    await world.realm.settled()
    expect(others.map(({ bus }) => bus.stats().opened)).toEqual(before)
    const used = new Set(seen.map(({ subject }) => subject))
    const expected = [subjects.toServer(pinned?.bus.instance ?? ''), subjects.toClient(laptop.bus.instance)]
    expect([...used].sort()).toEqual(expected.sort())
    // Also where the broker hands it to all of them.
    const broker = await world.realm.connection()
    for (const { data } of seen)
      for (const { bus } of others) broker.publish(subjects.toServer(bus.instance), data)
    await broker.flush()
    await Promise.all(others.map(({ bus }) => bus.flush()))
    expect(others.map(({ bus }) => bus.stats().opened)).toEqual(before)
    // It was not sealed to them: else they would say that it came on a wrong subject.
    expect(others.map(({ bus }) => bus.rejections().subject ?? 0)).toEqual([0, 0])
    expect(others.flatMap(({ ends }) => ends)).toEqual([])
  })

  it('that all get an opening, from a broker that plays it again, leave the client with one', async () => {
    const openings = await world.realm.tap(subjects.open)
    const session = await world.open(laptop, replicas)
    await until('the opening was seen', () => openings.length > 0)
    const broker = await world.realm.connection()
    const taken = (): number => replicas.filter(({ ends }) => ends.length > 0).length
    await until('others have taken it too', () => {
      for (const { data, reply } of openings)
        broker.publish(subjects.open, data, reply === undefined ? {} : { reply })
      return taken() === 3
    })
    await expectAlive(session)
    // None of them is held for longer than its next sign of life.
    await until('the others know that nobody is there', () => {
      return replicas.reduce((sum, { listener }) => sum + listener.sessions, 0) === 1
    })
    await expectAlive(session)
    const strangers = replicas.flatMap(({ ends }) => ends).filter((end) => end !== session.server)
    expect(strangers.map(({ got, why }) => [got, why])).toEqual(
      strangers.map(() => [[], 'the other side knows no such session']),
    )
    expect(session.server.got).toHaveLength(2)
  })
})

describe('an instance that is killed', () => {
  let world: SealedWorld
  let laptop: ClientAgent
  let folder: string
  const children: Child[] = []
  const HEARTBEAT = 200

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'subrosa-replicas-'))
    world = await SealedWorld.start()
    laptop = await world.client('laptop')
    const { file } = newIdentity(world.realm.authority, SERVER, {
      issuedAtMs: Date.now() - 60_000,
      permissions: toPermissions(serverPermissions(SERVER)),
    })
    writeFileSync(join(folder, 'identity'), file, { mode: 0o600 })
  })
  afterAll(async () => {
    for (const child of children) await child.kill()
    await world.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  async function startReplica(): Promise<Child> {
    const { url } = world.realm.server
    const args = [url, join(folder, 'identity'), world.realm.authority.publicKey, String(HEARTBEAT)]
    const child = Child.start('mcp-replica.mjs', ...args)
    children.push(child)
    await child.message('it serves', ({ serves }) => serves !== undefined)
    return child
  }

  const servesOf = (child: Child): unknown =>
    child.messages.find(({ serves }) => serves !== undefined)?.['serves']

  it('ends its sessions, and the next one is opened with another', async () => {
    await Promise.all([startReplica(), startReplica()])
    await laptop.bus.waitForAudience(subjects.open, { atLeast: 2 })
    const client = new Client({ name: 'test', version: '1.0.0' })
    const transport = new SealedTransport(laptop.bus, { server: SERVER })
    const errors: Error[] = []
    let closes = 0
    client.onerror = (error) => void errors.push(error)
    client.onclose = () => void closes++
    await client.connect(transport)
    const { content } = await client.callTool({ name: 'who' })
    expect(content).toEqual([{ type: 'text', text: transport.peer?.instance }])
    const waits = client.callTool({ name: 'never' }).catch((error: unknown) => error)
    const pinned = children.find((child) => servesOf(child) === transport.peer?.instance)
    await pinned?.kill()
    expect(await waits).toBeInstanceOf(Error)
    expect([closes, errors.map(({ message }) => message)]).toEqual([
      1,
      ['the MCP session has ended: nothing was heard from the other side'],
    ])
    const again = await End.of(await openChannel(laptop.bus, { server: SERVER, timeout: 10_000 }))
    expect(again.channel.peer.instance).not.toBe(transport.peer?.instance)
    expect(children.map(servesOf)).toContain(again.channel.peer.instance)
    await again.channel.close()
  })
})
