import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { MAX_HANDSHAKE_SUBJECTS } from '../../src/base/limits.ts'
import type { SecureConnection } from '../../src/bus/connection.ts'
import type { SecureMessage } from '../../src/bus/messages/message.ts'
import { type SecureOptions, secure } from '../../src/bus/secure.ts'
import type { RejectReason } from '../../src/bus/status.ts'
import type { Identity } from '../../src/identity/identity.ts'
import { signRevocation } from '../../src/keys/revocations.ts'
import { clientLine } from '../support/client.ts'
import { ManualClock } from '../support/clock.ts'
import { announceCrowd, CROWD } from '../support/crowd.ts'
import { may } from '../support/identities.ts'
import { passing, passingUntil } from '../support/passing.ts'
import { collectStatus, SHORT_EPOCHS, TestRealm } from '../support/realm.ts'
import { startTestServer } from '../support/server.ts'
import { failure, until } from '../support/until.ts'

/** What an account is besides its users. */
interface Sharing {
  readonly exports: readonly string[]
  readonly imports: readonly string[]
}

const P = 'subrosa.v1.*'
const stream = (account: string, subject: string, more = ''): string =>
  `{ stream: { account: ${account}, subject: "${subject}" } ${more} }`
const service = (account: string, subject: string, more = ''): string =>
  `{ service: { account: ${account}, subject: "${subject}" } ${more} }`

/** Pings and queries of an account, as streams: they keep their inbox. */
const ASKING = [`${P}.ping.*.*`, `${P}.query.*.*.*`]
const asking = (account: string): readonly string[] => ASKING.map((subject) => stream(account, subject))

/** The smallest sharing of the protocol's subjects by which a realm spans two accounts. The rotation service is in HOME. */
const HOME: Sharing = {
  exports: [`{ stream: "subrosa.v1.>" }`, `{ service: "subrosa.v1.>" }`],
  imports: asking('AWAY'),
}
const JOINING = [
  stream('HOME', `${P}.inbox.*`),
  stream('HOME', `${P}.announce.*.*`),
  service('HOME', `${P}.announce.*.*`),
]
/** What makes what is new be asked for at once. */
const NEWS = [stream('HOME', `${P}.tick`), stream('HOME', `${P}.plan`)]
/** Handshakes, and what asks for those that were missed. */
const SESSIONS = [
  service('HOME', `${P}.inbox.*`),
  stream('HOME', `${P}.session.*`),
  service('HOME', `${P}.session.*`),
  stream('HOME', `${P}.handshake.*`),
  service('HOME', `${P}.handshake.*`),
]
const AWAY: Sharing = {
  exports: ASKING.map((subject) => `{ stream: "${subject}" }`),
  imports: [...JOINING, ...NEWS, ...SESSIONS],
}
/** What makes news travel at once, and lets AWAY revoke. */
const FAST = [stream('HOME', `${P}.epoch`), stream('HOME', `${P}.rotate`), service('HOME', `${P}.revoke`)]

function config(accounts: Readonly<Record<string, Sharing>>): string {
  const texts = Object.entries(accounts).map(
    ([name, { exports, imports }]) => `${name} {
  users: [{ user: ${name}, password: p }]
  exports: [${exports.join('\n')}]
  imports: [${imports.join('\n')}]
}`,
  )
  return `accounts {\n${texts.join('\n')}\n}\nno_auth_user: HOME`
}

const plus = (sharing: Sharing, more: Partial<Sharing>): Sharing => ({
  exports: [...sharing.exports, ...(more.exports ?? [])],
  imports: [...sharing.imports, ...(more.imports ?? [])],
})

/** An agent that logs in to an account. */
async function agentIn(
  realm: TestRealm,
  account: string,
  who: string | Identity,
  options: Partial<SecureOptions> = {},
): Promise<SecureConnection> {
  const nc = await realm.connection({ user: account, pass: 'p' })
  const identity = typeof who === 'string' ? realm.identity(who) : who
  const { trust, clock } = realm
  return secure(nc, { identity, trust, clock, state: 'memory', ...options })
}

const names = (bus: SecureConnection): string[] =>
  bus
    .audience('orders.new')
    .map(({ name }) => name)
    .sort()

// How the protocol's subjects are shared is the server's business: over one client line is enough.
describe.runIf(clientLine === '@nats-io')('a realm in two accounts', () => {
  let realm: TestRealm
  let home: SecureConnection
  let away: SecureConnection
  afterEach(() => realm.stop())

  async function start(sharing: Readonly<Record<string, Sharing>>): Promise<void> {
    realm = await TestRealm.start({ serverConfig: config(sharing) })
    home = await realm.agent('home')
    away = await agentIn(realm, 'AWAY', 'away')
    await Promise.all([home.waitForAudience('orders.new'), away.waitForAudience('orders.new')])
  }

  it.each([
    ['the smallest sharing', AWAY],
    ['all of the sharing', plus(AWAY, { imports: FAST })],
  ])('knows all agents, those that come and those that leave: %s', async (_what, sharing) => {
    await start({ HOME, AWAY: sharing })
    const late = [await agentIn(realm, 'AWAY', 'late-away'), await agentIn(realm, 'HOME', 'late-home')]
    const everyone = ['away', 'home', 'late-away', 'late-home']
    for (const bus of [home, away, ...late])
      await until(`${bus.name} knows all`, () => names(bus).join() === everyone.join())
    for (const bus of late) await bus.close()
    for (const bus of [home, away])
      await until(`${bus.name} knows who has left`, () => names(bus).join() === 'away,home')
    for (const bus of [home, away]) expect(bus.rejections()).toEqual({})
  })

  it.each([
    ['the smallest sharing', AWAY],
    ['all of the sharing', plus(AWAY, { imports: FAST })],
  ])('goes through a rotation together: %s', async (_what, sharing) => {
    const clock = new ManualClock()
    realm = await TestRealm.start({
      serverConfig: config({ HOME, AWAY: sharing }),
      clock,
      schedule: SHORT_EPOCHS,
    })
    home = await passing(clock, realm.agent('home'))
    away = await passing(clock, agentIn(realm, 'AWAY', 'away'))
    const agents = [home, away]
    await passingUntil(clock, 'both have moved', () => agents.every((bus) => bus.epoch === 2), 500)
    await until('both know both', () => agents.every((bus) => names(bus).join() === 'away,home'))
  })

  it.each([
    ['HOME', 'the smallest sharing', AWAY],
    ['AWAY', 'all of the sharing', plus(AWAY, { imports: FAST })],
  ])('hears of a revocation that is published in %s: %s', async (account, _what, sharing) => {
    await start({ HOME, AWAY: sharing })
    const lost = realm.identity('lost')
    const bus = await agentIn(realm, 'AWAY', lost)
    await until('home knows it', () => names(home).includes('lost'))
    const events = [home, away, bus].map(collectStatus)
    const nc = await realm.connection({ user: account, pass: 'p' })
    const now = Date.now()
    const revocation = {
      realm: realm.authority.publicKey,
      identity: lost.publicKey,
      since: now,
      until: now + 1e9,
    }
    nc.publish(
      `${realm.root}.revoke`,
      signRevocation(realm.authority, { ...revocation, reason: 'lost', past: 0 }),
    )
    await until('all have heard', () => events.every((list) => list.some(({ type }) => type === 'revoked')))
    for (const each of [home, away]) expect(names(each)).toEqual(['away', 'home'])
    expect((await failure(() => bus.publish('orders.new', 'x'))).code).toBe('ERR_REVOKED')
  })

  it.each(JOINING.map((line) => [line]))('falls apart without %s', async (line) => {
    const imports = AWAY.imports.filter((other) => other !== line)
    realm = await TestRealm.start({ serverConfig: config({ HOME, AWAY: { ...AWAY, imports } }) })
    home = await realm.agent('home')
    const joined = agentIn(realm, 'AWAY', 'away', { timeout: 500 })
    if (line.includes('announce')) {
      away = await joined
      const missing = line.includes('service') ? home : away
      await agentIn(realm, 'HOME', 'late')
      await failure(() => missing.waitForAudience('orders.new', { atLeast: 2, timeout: 200 }))
      expect(names(missing)).not.toEqual(['away', 'home', 'late'])
    } else {
      expect((await failure(() => joined)).code).toBe('ERR_NO_ROTATION_SERVICE')
    }
  })

  it('passes handshakes on, and what asks for those that were missed, both ways', async () => {
    const exporting = (subject: string) => ({ exports: [`{ stream: "${subject}" }`] })
    realm = await TestRealm.start({
      serverConfig: config({
        HOME: plus(HOME, { ...exporting('orders.>'), imports: [stream('AWAY', 'reports.>')] }),
        AWAY: plus(AWAY, { ...exporting('reports.>'), imports: [stream('HOME', 'orders.>')] }),
      }),
    })
    const live = { capturedSubjects: [] }
    home = await realm.agent('home', {}, live)
    away = await agentIn(realm, 'AWAY', 'away', live)
    const asked = await realm.tap(`${P}.session.*`)
    const ways = [
      { from: home, to: away, subject: 'orders', got: [] as string[] },
      { from: away, to: home, subject: 'reports', got: [] as string[] },
    ]
    for (const { from, to, subject, got } of ways) {
      await from.waitForAudience(`${subject}.new`)
      to.subscribe(`${subject}.new`, { callback: (_error, m) => got.push(m.string()) })
      await to.flush()
      from.publish(`${subject}.new`, 'to one', { to: [to.name] })
      from.publish(`${subject}.new`, 'to both')
      await until('they have come', () => got.length === 2)
    }
    await realm.settled()
    expect(asked).toEqual([])
    // To so many a handshake goes on subjects, and nobody subscribes to the first ones.
    await announceCrowd(realm)
    for (const { from, subject, got } of ways) {
      await from.waitForAudience(`${subject}.new`, { atLeast: 1 + CROWD })
      const before = asked.length
      for (let i = 0; i < MAX_HANDSHAKE_SUBJECTS; i++) from.publish(`${subject}.missed.${i}`, 'x')
      from.publish(`${subject}.new`, 'to all')
      await until('it has come too', () => got.length === 3)
      expect(asked.length).toBeGreaterThan(before)
    }
    for (const bus of [home, away]) expect(bus.rejections()).toEqual({})
  })

  it('needs queries as a stream: as a service they lose the inbox to which the answer goes', async () => {
    const asService = config({
      HOME: { exports: HOME.exports, imports: [] },
      AWAY: {
        exports: [],
        imports: [...AWAY.imports, ...ASKING.map((subject) => service('HOME', subject))],
      },
    })
    realm = await TestRealm.start({ serverConfig: asService })
    const error = await failure(() => agentIn(realm, 'AWAY', 'away', { timeout: 500 }))
    expect(error.code).toBe('ERR_NO_ROTATION_SERVICE')
  })

  it('cannot have streams of one subject both ways: the server says that they form a cycle', async () => {
    await start({ HOME, AWAY })
    const both = config({
      HOME: { exports: [`{ stream: "a.>" }`], imports: [stream('AWAY', 'a.>')] },
      AWAY: { exports: [`{ stream: "a.>" }`], imports: [stream('HOME', 'a.>')] },
    })
    const error = await failure(() => startTestServer(both))
    expect((error as Error & { hint?: string }).hint).toContain('cycle')
  })
})

describe.runIf(clientLine === '@nats-io')('a realm in three accounts', () => {
  let realm: TestRealm
  afterEach(() => realm.stop())

  const protocol = [...NEWS, stream('HOME', `${P}.inbox.*`)]
  /** Each account has agents of its own names, and exports what they announce. */
  const members: Readonly<Record<string, string>> = { HOME: 'home', EAST: 'east', WEST: 'west' }
  const byName = (account: string): Sharing => {
    const others = Object.entries(members).filter(([other]) => other !== account)
    return {
      exports: [`{ stream: "${P}.announce.${members[account]}.*" }`],
      imports: others.map(([other, name]) => stream(other, `${P}.announce.${name}.*`)),
    }
  }

  it('works with streams by the names of the agents, and an account cannot announce names of another', async () => {
    const outer = (account: string): Sharing =>
      plus(byName(account), { exports: AWAY.exports, imports: protocol })
    const clock = new ManualClock()
    realm = await TestRealm.start({
      clock,
      schedule: SHORT_EPOCHS,
      serverConfig: config({
        HOME: plus(byName('HOME'), {
          exports: ['tick', 'plan', 'inbox.*'].map((subject) => `{ stream: "${P}.${subject}" }`),
          imports: [...asking('EAST'), ...asking('WEST')],
        }),
        EAST: outer('EAST'),
        WEST: outer('WEST'),
      }),
    })
    const identities = new Map(Object.values(members).map((name) => [name, realm.identity(name)]))
    const join = (account: string, name: string) =>
      passing(clock, agentIn(realm, account, identities.get(name) ?? name))
    const agents: SecureConnection[] = []
    for (const [account, name] of Object.entries(members)) agents.push(await join(account, name))
    const allKnow = (known: string) => agents.every((bus) => names(bus).join() === known)
    await until('all know all', () => allKnow('east,home,west'))
    await passingUntil(clock, 'all have moved', () => agents.every((bus) => bus.epoch === 2), 500)
    await until('all know all again', () => allKnow('east,home,west'))
    await join('WEST', 'east')
    const marker = await join('WEST', 'west')
    const [home, east] = agents
    for (const bus of [home, east]) {
      await until('what came later is known', () =>
        Boolean(bus?.audience('orders.new').some(({ instance }) => instance === marker.instance)),
      )
      expect(bus && names(bus)).toEqual(['east', 'home', 'west', 'west'])
    }
  })

  it('does not work around one account in the middle: the outer ones do not hear of each other', async () => {
    const outer = plus(AWAY, {})
    realm = await TestRealm.start({
      serverConfig: config({
        HOME: { ...HOME, imports: [...asking('EAST'), ...asking('WEST')] },
        EAST: outer,
        WEST: outer,
      }),
    })
    const east = await agentIn(realm, 'EAST', 'east')
    const west = await agentIn(realm, 'WEST', 'west')
    const home = await agentIn(realm, 'HOME', 'home')
    await until('home knows all', () => names(home).join() === 'east,home,west')
    await until('they know home', () => [east, west].every((bus) => names(bus).includes('home')))
    expect(names(east)).toEqual(['east', 'home'])
  })
})

describe("agents that use another account's subjects", () => {
  let realm: TestRealm
  let home: SecureConnection
  let away: SecureConnection
  let got: SecureMessage[]

  beforeAll(async () => {
    realm = await TestRealm.start({
      serverConfig: config({
        HOME: plus(HOME, {
          exports: [
            '{ stream: "orders.>" }',
            '{ service: "tools.one" }',
            '{ service: "tools.many", response: "stream" }',
            '{ service: "tools.held", response: "stream" }',
            '{ service: "tools.queue" }',
            '{ service: "tools.renamed" }',
          ],
          imports: [stream('AWAY', 'reports.*', ', prefix: "from.away"')],
        }),
        AWAY: plus(AWAY, {
          exports: ['{ stream: "reports.*" }'],
          imports: [
            stream('HOME', 'orders.>', ', prefix: "home"'),
            service('HOME', 'tools.one'),
            service('HOME', 'tools.many'),
            service('HOME', 'tools.held'),
            service('HOME', 'tools.queue'),
            service('HOME', 'tools.renamed', ', to: "ask.home"'),
          ],
        }),
      }),
    })
    home = await realm.agent(
      realm.identity('home', { permissions: may(['>'], ['tools.*', 'reports.*', 'ask.*']) }),
      {},
      { subjectMappings: { 'reports.*': 'from.away.reports.$1', 'ask.home': 'tools.renamed' } },
    )
    const identity = realm.identity('away', { permissions: may(['>'], ['orders.>']) })
    away = await agentIn(realm, 'AWAY', identity, { subjectMappings: { 'orders.>': 'home.orders.>' } })
    await home.waitForAudience('orders.new')
    await away.waitForAudience('tools.one')
  })
  afterAll(() => realm.stop())
  beforeEach(() => {
    got = []
  })

  const count = (bus: SecureConnection, reason: RejectReason): number => bus.rejections()[reason] ?? 0

  async function listen(bus: SecureConnection, pattern: string): Promise<void> {
    bus.subscribe(pattern, { callback: (_error, m) => got.push(m) })
    await bus.flush()
  }

  it('receive streams under the prefix of the import, with the sealed subject, both ways', async () => {
    await listen(away, 'home.orders.>')
    await listen(home, 'from.away.reports.*')
    home.publish('orders.new.big', 'an order', { to: ['away'] })
    away.publish('reports.daily', 'a report', { to: ['home'] })
    await until('both have come', () => got.length === 2)
    expect(got.map((m) => `${m.sender.name} ${m.subject} ${m.string()}`).sort()).toEqual([
      'away reports.daily a report',
      'home orders.new.big an order',
    ])
  })

  it('reject what comes by an import that nobody has told them of', async () => {
    const identity = realm.identity('untold', { permissions: may([], ['>']) })
    const untold = await agentIn(realm, 'AWAY', identity)
    await until('home knows it', () => home.audience('orders.new').some(({ name }) => name === 'untold'))
    await listen(untold, 'home.orders.>')
    home.publish('orders.new', 'x', { to: ['untold'] })
    await until('it is rejected', () => count(untold, 'subject') === 1)
    expect(got).toEqual([])
    await untold.close()
  })

  it('ask a service of the other account: the server replaces the reply subject, and the response is valid', async () => {
    const replies: (string | undefined)[] = []
    home.subscribe('tools.one', {
      max: 1,
      callback: (_error, m) => {
        replies.push(m.reply)
        m.respond(`${m.sender.name} asked ${m.string()}`)
      },
    })
    await home.flush()
    const delivered = await realm.tapMessages('tools.one')
    const response = await away.request('tools.one', 'a question', { to: ['home'] })
    expect(response.string()).toBe('away asked a question')
    expect(response.sender.name).toBe('home')
    // The application sees the one that was sealed.
    expect(replies[0]).toMatch(/^_INBOX\./)
    await until('the broker has seen it', () => delivered.length === 1)
    expect(delivered[0]?.reply).toMatch(/^_R_\./)
    expect(away.rejections()).toEqual({})
  })

  it('ask a service by the name that the import gives it', async () => {
    home.subscribe('tools.renamed', { callback: (_error, m) => m.respond(m.subject) })
    await home.flush()
    expect((await away.request('ask.home', 'x', { to: ['home'] })).string()).toBe('ask.home')
  })

  it('ask for many responses of a service that is exported with streams of responses', async () => {
    const twin = await realm.agent('twin', { permissions: may([], ['tools.*']) })
    await away.waitForAudience('tools.many', { atLeast: 2 })
    for (const bus of [home, twin]) {
      bus.subscribe('tools.many', {
        callback: (_error, m) => {
          m.respond(`${bus.name} 1`)
          m.respond(`${bus.name} 2`)
        },
      })
      await bus.flush()
    }
    const many: string[] = []
    const options = { strategy: 'count', maxMessages: 4, maxWait: 20_000 } as const
    for await (const m of await away.requestMany('tools.many', 'q', options)) many.push(m.string())
    expect(many.sort()).toEqual(['home 1', 'home 2', 'twin 1', 'twin 2'])
    await twin.close()
  })

  it('are told at once that a queue worker of the other account was not addressed', async () => {
    const worker = await realm.agent('worker', { permissions: may([], ['tools.*']) })
    worker.subscribe('tools.queue', { queue: 'q', callback: (_error, m) => m.respond('done') })
    await worker.flush()
    await away.waitForAudience('tools.queue', { atLeast: 2 })
    expect((await away.request('tools.queue', 'x', { to: ['worker'] })).string()).toBe('done')
    const error = await failure(() => away.request('tools.queue', 'x', { to: ['home'], timeout: 20_000 }))
    expect(error.code).toBe('ERR_UNADDRESSED')
    await worker.close()
  })

  /** A request of away's that home has, and holds, with the reply subject that the server gave it. */
  async function ask(subject: string, timeout: number) {
    const sub = home.subscribe(subject, { max: 1, callback: (_error, m) => got.push(m) })
    await home.flush()
    const delivered = await realm.tapMessages(subject)
    const response = away.request(subject, 'q', { to: ['home'], timeout })
    response.catch(() => {})
    await until('home is asked', () => got.length === 1 && delivered.length === 1)
    sub.unsubscribe()
    return { response, request: got[0], reply: delivered[0]?.reply ?? '' }
  }

  it('are protected all the same: what is forged is refused, and the valid response counts', async () => {
    const broker = await realm.connection()
    const inHome = await realm.tap('>')
    const { response, request, reply } = await ask('tools.held', 20_000)
    const before = count(away, 'plaintext')
    for (let i = 0; i < 2; i++) broker.publish(reply, 'forged')
    await until('both are rejected', () => count(away, 'plaintext') === before + 2)
    request?.respond('genuine')
    expect((await response).string()).toBe('genuine')
    for (const { data } of inHome) expect(Buffer.from(data).includes('genuine')).toBe(false)
  })

  it('time out where a service of single responses was used up by a forged one, and believe nothing', async () => {
    const broker = await realm.connection()
    const { response, request, reply } = await ask('tools.one', 300)
    const before = count(away, 'plaintext')
    broker.publish(reply, 'forged')
    await until('it is rejected', () => count(away, 'plaintext') === before + 1)
    request?.respond('too late')
    expect((await failure(() => response)).code).toBe('ERR_TIMEOUT')
  })
})
