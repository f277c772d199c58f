import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { MAX_FETCHES_PER_SECOND, MAX_JITTER_MS } from '../../../src/base/limits.ts'
import { decodeQuery, encodePage, type Page, type Query, QueryKind } from '../../../src/wire/statements.ts'
import { HandRealm } from '../../support/hand-agents.ts'
import { engine } from '../../support/identities.ts'
import { passing } from '../../support/passing.ts'
import { collectStatus } from '../../support/realm.ts'
import { until } from '../../support/until.ts'

interface Asked extends Query {
  readonly reply: string
}

let all: HandRealm
let asked: Asked[]

beforeEach(async () => {
  all = await HandRealm.start()
  asked = []
  all.broker.subscribe(`${all.realm.root}.query`, {
    callback: (_error, { data, reply = '' }) =>
      void asked.push({ ...decodeQuery(new Uint8Array(data)), reply }),
  })
  await all.broker.flush()
  all.hand.isAnswering = false
  all.hand.isTicking = false
})
afterEach(() => all.stop())

function askedFor(kind: QueryKind): readonly Asked[] {
  return asked.filter((query) => query.kind === kind)
}

/** The n-th query of this kind, as soon as it is there. */
async function question(kind: QueryKind, n = 1): Promise<Asked> {
  await until(`there are ${n} questions of kind ${kind}`, () => askedFor(kind).length >= n)
  const query = askedFor(kind).at(n - 1)
  if (query === undefined) throw new Error('no question')
  return query
}

function publishPage(inbox: string, page: Partial<Page> & Pick<Page, 'kind'>): void {
  const whole = { nonce: engine.randomBytes(16), statements: [], next: undefined, ...page }
  all.broker.publish(inbox, encodePage(whole))
}

/** Of a stranger: more than an agent could answer with a new fetch each. */
function publishEmptyPages(kind: QueryKind): void {
  for (let i = 0; i <= MAX_FETCHES_PER_SECOND; i++) publishPage(all.inboxOfBob, { kind })
}

/** Everybody has what was published, and has answered it. */
async function heard(): Promise<void> {
  await all.broker.flush()
  await all.realm.settled()
  await all.realm.settled()
}

/** A tick names a revocation that bob has not heard of. */
function missRevocation(): void {
  const missed = all.hand.world.revocation(all.realm.identity('gone'), { since: all.clock.now() })
  all.hand.revocations = [...all.hand.revocations, missed]
  all.hand.tick()
}

describe('a fetch', () => {
  it('of revocations ends when it has as many bytes as there can be, whatever pages come', async () => {
    all.hand.tick([], { revocationsHash: new Uint8Array(32) })
    // Each about as large as all revocations together.
    const page = {
      kind: QueryKind.revocations,
      statements: [new Uint8Array(1_000_000)],
      next: new Uint8Array(8),
    }
    for (const n of [1, 2]) {
      const { nonce } = await question(QueryKind.revocations, n)
      publishPage(all.inboxOfBob, { ...page, nonce })
      await heard()
    }
    expect(askedFor(QueryKind.revocations)).toHaveLength(2)
  })

  it('of revocations goes on when a stranger publishes empty pages', async () => {
    const events = collectStatus(all.bob)
    missRevocation()
    const { nonce, kind } = await question(QueryKind.revocations)
    publishEmptyPages(kind)
    publishPage(all.inboxOfBob, { kind, nonce, statements: all.hand.revocations })
    await heard()
    expect(events.map(({ type }) => type)).toEqual(['revoked'])
  })

  it('of epochs goes on when a stranger publishes empty pages', async () => {
    const next = all.hand.world.epoch(all.hand.epochs.at(-1), { notBefore: all.clock.now() })
    all.hand.epochs.push(next)
    all.hand.tick()
    const { nonce, kind } = await question(QueryKind.epochs)
    publishEmptyPages(kind)
    publishPage(all.inboxOfBob, { kind, nonce, statements: all.hand.epochs.map(({ bytes }) => bytes) })
    await heard()
    all.clock.advance(MAX_JITTER_MS)
    expect(all.bob.epoch).toBe(next.number)
  })

  it('takes the answer to each of its questions once', async () => {
    all.hand.tick([], { revocationsHash: new Uint8Array(32) })
    const { nonce, kind } = await question(QueryKind.revocations)
    const page = { kind, nonce, statements: [new Uint8Array(9)], next: new Uint8Array(8) }
    publishPage(all.inboxOfBob, page)
    publishPage(all.inboxOfBob, page)
    await heard()
    expect(askedFor(kind)).toHaveLength(2)
  })

  it('that was given up takes no answer any more', async () => {
    const events = collectStatus(all.bob)
    missRevocation()
    const first = await question(QueryKind.revocations)
    all.clock.advance(3000)
    all.hand.tick()
    const second = await question(QueryKind.revocations, 2)
    publishPage(all.inboxOfBob, { ...first, statements: [], next: undefined })
    await heard()
    expect(askedFor(QueryKind.revocations)).toHaveLength(2)
    publishPage(all.inboxOfBob, { ...second, statements: all.hand.revocations, next: undefined })
    await heard()
    expect(events.map(({ type }) => type)).toEqual(['revoked'])
  })
})

describe('a page that nobody asked for', () => {
  it.each(Object.entries(QueryKind))('makes no agent ask for another one: %s', async (_name, kind) => {
    const before = asked.length
    for (let i = 0; i < 20; i++) publishPage(all.inboxOfBob, { kind, next: new Uint8Array(8) })
    await heard()
    expect(asked).toHaveLength(before)
  })

  it('completes no join', async () => {
    let isJoined = false
    const joining = all.realm.agent('carol', {}, { timeout: 120_000 }).then((carol) => {
      isJoined = true
      return carol
    })
    const { nonce, reply } = await question(QueryKind.tick)
    all.hand.tick([nonce])
    const epochs = await question(QueryKind.epochs)
    publishPage(reply, { ...epochs, statements: all.hand.epochs.map(({ bytes }) => bytes), next: undefined })
    const listing = await question(QueryKind.announcements)
    publishPage(reply, { kind: QueryKind.announcements })
    await heard()
    expect(isJoined).toBe(false)
    publishPage(reply, { ...listing, statements: all.hand.announcements, next: undefined })
    const carol = await passing(all.clock, joining)
    expect(carol.agents().map(({ name }) => name)).toContain('bob')
  })
})
