import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { fromHex } from '../../../src/base/bytes.ts'
import { decodeQuery, encodePage, type Page, type Query, QueryKind } from '../../../src/wire/queries.ts'
import { HandRealm } from '../../support/hand-agents.ts'
import { engine } from '../../support/identities.ts'
import { passing, passingUntil } from '../../support/passing.ts'
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
  all.broker.subscribe(`${all.realm.root}.query.>`, {
    callback: (_error, { data, reply = '' }) =>
      void asked.push({ ...decodeQuery(new Uint8Array(data)), reply }),
  })
  await all.broker.flush()
  all.hand.isAnswering = false
})
afterEach(() => all.stop())

/** The n-th query of this kind, as soon as it is there. */
async function question(kind: QueryKind, n = 1): Promise<Asked> {
  const all = (): readonly Asked[] => asked.filter((query) => query.kind === kind)
  await until(`there are ${n} questions of kind ${kind}`, () => all().length >= n)
  const query = all().at(n - 1)
  if (query === undefined) throw new Error('no question')
  return query
}

function publishPage(inbox: string, page: Partial<Page> & Pick<Page, 'kind'>): void {
  const whole = { nonce: engine.randomBytes(16), statements: [], next: undefined, ...page }
  all.broker.publish(inbox, encodePage(whole))
}

/** Everybody has what was published, and has answered it. */
async function heard(): Promise<void> {
  await all.broker.flush()
  await all.realm.settled()
  await all.realm.settled()
}

describe('a fetch', () => {
  it('goes on when a stranger publishes empty pages', async () => {
    const events = collectStatus(all.bob)
    const missed = all.hand.world.revocation(all.realm.identity('gone'), { since: all.clock.now() - 1 })
    all.hand.revocations = [missed]
    all.hand.tick()
    const { nonce, kind } = await question(QueryKind.revocations)
    for (let i = 0; i < 20; i++) publishPage(all.inboxOfBob, { kind })
    publishPage(all.inboxOfBob, { kind, nonce, statements: [missed] })
    await heard()
    expect(events.map(({ type }) => type)).toEqual(['revoked'])
  })

  it('takes no answer of a question before, and one to each', async () => {
    const events = collectStatus(all.bob)
    const missed = all.hand.world.revocation(all.realm.identity('gone'), { since: all.clock.now() - 1 })
    all.hand.revocations = [missed]
    all.hand.tick()
    const first = await question(QueryKind.revocations)
    all.clock.advance(2000)
    const second = await question(QueryKind.revocations, 2)
    publishPage(all.inboxOfBob, { ...first, statements: [], next: undefined })
    await heard()
    expect(events).toEqual([])
    publishPage(all.inboxOfBob, { ...second, statements: [missed], next: undefined })
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
    const { nonce, kind, reply } = await question(QueryKind.plan)
    publishPage(reply, { kind: QueryKind.plan, statements: [all.hand.kept.plan] })
    publishPage(reply, { kind, nonce, statements: [all.hand.kept.plan] })
    const listing = await question(QueryKind.announcements)
    publishPage(reply, { kind: QueryKind.announcements })
    await heard()
    expect(isJoined).toBe(false)
    publishPage(reply, { ...listing, statements: all.hand.announcements, next: undefined })
    const carol = await passing(all.clock, joining)
    expect(carol.agents().map(({ name }) => name)).toContain('bob')
  })
})

describe('questions', () => {
  it('name their asker in their subject, and want the answer in its own inbox', async () => {
    const seen = await all.realm.tap(`${all.realm.root}.>`)
    all.hand.isAnswering = true
    const carol = await passing(all.clock, all.realm.agent('carol'))
    await passingUntil(all.clock, 'she asks after her announcement', () =>
      seen.some(({ subject }) => subject.includes('.query.') && !subject.includes('.any.')),
    )
    const questions = seen.filter(({ subject }) => subject.includes('.query.') || subject.includes('.ping.'))
    const hers = questions.filter(({ subject }) => subject.endsWith(`.carol.${carol.instance}`))
    expect(hers.length).toBeGreaterThan(2)
    const inbox = all.hand.subjects.inbox('carol', fromHex(carol.instance))
    for (const { reply } of hers) expect(reply).toBe(inbox)
    expect(questions.filter(({ reply }) => reply === inbox)).toHaveLength(hers.length)
  })
})
