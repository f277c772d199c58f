import { describe, expect, it } from 'vitest'
import { concat, hex } from '../../src/base/bytes.ts'
import {
  MAX_PAGE_BYTES_AT_ONCE,
  MAX_PAGE_BYTES_PER_ASKER_PER_SECOND,
  MAX_PAGE_BYTES_PER_SECOND,
  MAX_QUERIES_PER_ASKER_PER_SECOND,
  MAX_STATEMENTS_PER_PAGE as MOST,
} from '../../src/base/limits.ts'
import type { NatsLike } from '../../src/bus/nats-like.ts'
import { Buckets } from '../../src/keys/buckets.ts'
import type { Asker } from '../../src/keys/subjects.ts'
import { QueryDesk, type QuerySources } from '../../src/rotation/queries.ts'
import {
  decodePage,
  type Page,
  QueryKind,
  writeBuckets,
  writeHashes,
  writePlanCursor,
} from '../../src/wire/queries.ts'
import { ManualClock } from '../support/clock.ts'
import { engine } from '../support/identities.ts'

interface Sent {
  readonly inbox: string
  readonly page: Page
}

function desk(sources: Partial<QuerySources> = {}, maxPayload?: number) {
  const clock = new ManualClock()
  const sent: Sent[] = []
  const errors: unknown[] = []
  const taken: { readonly statement: Uint8Array; readonly name: string }[] = []
  const nc = {
    publish: (inbox: string, bytes: Uint8Array) => void sent.push({ inbox, page: decodePage(bytes) }),
    ...(maxPayload !== undefined && { info: { max_payload: maxPayload } }),
  } as Partial<NatsLike> as NatsLike
  const queries = new QueryDesk(nc, {
    clock,
    isServing: () => true,
    announcements: () => [],
    byHash: () => [],
    revocations: () => [],
    plan: () => undefined,
    buckets: () => new Buckets(engine),
    take: (statement, { name }) => void taken.push({ statement, name }),
    onError: (error) => errors.push(error),
    ...sources,
  })
  const ask = (kind: QueryKind, by: Asker, cursor?: Uint8Array): void =>
    queries.take({ nonce: engine.randomBytes(16), kind, cursor }, by)
  return { clock, sent, errors, taken, queries, ask }
}

let count = 0
function asker(name = 'alice'): Asker {
  const instance = (count++).toString(16).padStart(16, '0')
  return { name, instance, inbox: `inbox.${instance}` }
}

const statements = (many: number, bytes: number): readonly Uint8Array[] =>
  Array.from({ length: many }, (_, i) => new Uint8Array(bytes).fill(i % 256))

/** All that is listed of a kind, page by page. */
function all(
  { ask, sent }: ReturnType<typeof desk>,
  kind: QueryKind,
  from?: Uint8Array,
): readonly Uint8Array[] {
  const found: Uint8Array[] = []
  let cursor = from
  do {
    ask(kind, asker(), cursor)
    const page = sent.at(-1)?.page
    found.push(...(page?.statements ?? []))
    cursor = page?.next
  } while (cursor !== undefined)
  return found
}

describe('a page', () => {
  it('has a bounded number of statements, and says where the next one begins', () => {
    const list = statements(2.5 * MOST, 10)
    const one = desk({ revocations: () => list })
    expect(all(one, QueryKind.revocations).map(hex)).toEqual(list.map(hex))
    expect(one.sent.map(({ page }) => page.statements.length)).toEqual([MOST, MOST, MOST / 2])
  })

  it('is no longer than what the server takes, and has one statement at least', () => {
    const list = statements(20, 1000)
    const one = desk({ revocations: () => list }, 4096 + 2500)
    expect(all(one, QueryKind.revocations)).toHaveLength(20)
    expect(one.sent.every(({ page }) => page.statements.length === 2)).toBe(true)
    const narrow = desk({ revocations: () => list }, 4096 + 10)
    expect(all(narrow, QueryKind.revocations)).toHaveLength(20)
  })

  it('of the plan has the plan first, and then its list, of which the rest is asked for by its place', () => {
    const list = statements(2.5 * MOST, 10)
    const plan = Uint8Array.of(1, 2, 3)
    const asked: (number | undefined)[] = []
    const one = desk({
      plan: (version) => {
        asked.push(version)
        return version === 8 ? undefined : { version: 7, plan, list }
      },
    })
    expect(all(one, QueryKind.plan).map(hex)).toEqual([plan, ...list].map(hex))
    expect(asked).toEqual([undefined, 7, 7])
    expect(all(one, QueryKind.plan, writePlanCursor(7, 240)).map(hex)).toEqual(list.slice(240).map(hex))
    expect(all(one, QueryKind.plan, writePlanCursor(8))).toEqual([])
  })

  it('of buckets has the hashes of all of them in one statement, or one statement for each that is asked for', () => {
    const buckets = new Buckets(engine)
    const hashes = Array.from({ length: 3 }, (_, i) => new Uint8Array(32).fill(7).fill(9 - i, 1))
    for (const hash of hashes) buckets.add(hash)
    const one = desk({ buckets: () => buckets })
    expect(all(one, QueryKind.buckets)).toEqual([buckets.hashesOfAll()])
    const listed = all(one, QueryKind.buckets, writeBuckets([7, 3]))
    expect(listed.map(hex)).toEqual([hex(concat(...hashes.toReversed())), ''])
  })

  it('of announcements by their hashes has those that are there', () => {
    const hashes = statements(2, 32)
    const one = desk({ byHash: (wanted) => wanted.map((hash) => hash.slice(0, 2)) })
    expect(all(one, QueryKind.byHash, writeHashes(hashes))).toEqual(hashes.map((hash) => hash.slice(0, 2)))
  })

  it('of the directory is empty where the service is not complete; plan and revocations are handed over', () => {
    const one = desk({
      isServing: () => false,
      announcements: () => [{ order: 0, bytes: Uint8Array.of(1) }],
      byHash: () => [Uint8Array.of(1)],
      revocations: () => [Uint8Array.of(1)],
      plan: () => ({ version: 1, plan: Uint8Array.of(1), list: [] }),
    })
    expect(all(one, QueryKind.announcements)).toEqual([])
    expect(all(one, QueryKind.byHash, writeHashes(statements(1, 32)))).toEqual([])
    expect(all(one, QueryKind.buckets)).toEqual([])
    expect(all(one, QueryKind.revocations)).toHaveLength(1)
    expect(all(one, QueryKind.plan)).toHaveLength(1)
  })

  it('repeats the nonce and the kind of its question', () => {
    const { queries, sent } = desk()
    const nonce = engine.randomBytes(16)
    queries.take({ nonce, kind: QueryKind.announcements, cursor: undefined }, asker())
    expect(sent[0]?.page).toMatchObject({ nonce, kind: QueryKind.announcements })
  })
})

describe('a question', () => {
  it('that is malformed is refused, and nothing is answered', () => {
    const { ask, sent, errors } = desk()
    ask(QueryKind.byHash, asker(), new Uint8Array(3))
    ask(QueryKind.plan, asker(), new Uint8Array(3))
    expect(errors).toHaveLength(2)
    expect(sent).toEqual([])
  })

  it('that hands something over is answered with an empty page once that is taken', () => {
    const { ask, sent, taken } = desk()
    ask(QueryKind.handOver, asker('bob'), Uint8Array.of(7))
    expect(taken).toEqual([{ statement: Uint8Array.of(7), name: 'bob' }])
    expect(sent.map(({ page }) => page)).toMatchObject([
      { kind: QueryKind.handOver, statements: [], next: undefined },
    ])
  })

  it('that hands over what is refused is not answered', () => {
    const error = new Error('refused')
    const { ask, sent, errors } = desk({
      take: () => {
        throw error
      },
    })
    ask(QueryKind.handOver, asker('bob'), Uint8Array.of(7))
    expect(errors).toEqual([error])
    expect(sent).toEqual([])
  })

  it('is answered 50 times a second to all instances of a name, and waits a little above that', () => {
    const { ask, sent, clock } = desk()
    for (let i = 0; i < 60; i++) ask(QueryKind.announcements, asker())
    expect(sent).toHaveLength(MAX_QUERIES_PER_ASKER_PER_SECOND)
    clock.advance(200)
    expect(sent).toHaveLength(60)
    // In its own name another one has its own budget.
    for (let i = 0; i < 60; i++) ask(QueryKind.announcements, asker())
    const before = sent.length
    ask(QueryKind.announcements, asker('bob'))
    expect(sent).toHaveLength(before + 1)
  })

  it('with made-up instances brings a name no more than with one, and keeps out nobody', () => {
    const { ask, sent, clock } = desk({ revocations: () => statements(1, 60_000) })
    const inboxes: string[] = []
    for (let ms = 0; ms < 20_000; ms += 4) {
      ask(QueryKind.revocations, asker('mallory'))
      if (ms % 1000 === 0) {
        const alice = asker('alice')
        inboxes.push(alice.inbox)
        ask(QueryKind.revocations, alice)
      }
      clock.advance(4)
    }
    const answered = new Set(sent.map(({ inbox }) => inbox))
    expect(inboxes.filter((inbox) => !answered.has(inbox))).toEqual([])
    const mallorys = (sent.length - inboxes.length) * 60_000
    expect(mallorys).toBeLessThan(1.1 * (MAX_PAGE_BYTES_AT_ONCE + 20 * MAX_PAGE_BYTES_PER_ASKER_PER_SECOND))
  })

  it('is answered behind those that wait, and not in front of them', () => {
    const { ask, sent, clock } = desk({ revocations: () => statements(16, 62_000) })
    for (let i = 0; i < 100; i++) ask(QueryKind.revocations, asker(`name-${i}`))
    const first = asker('first')
    ask(QueryKind.revocations, first)
    const later: string[] = []
    // Some of them come right when there is something to give again.
    for (let i = 0; i < 1000; i++) {
      const one = asker(`later-${i}`)
      later.push(one.inbox)
      ask(QueryKind.revocations, one)
      clock.advance(1)
    }
    const order = sent.map(({ inbox }) => inbox)
    const place = order.indexOf(first.inbox)
    expect(place).toBeGreaterThan(0)
    expect(order.slice(0, place).filter((inbox) => later.includes(inbox))).toEqual([])
  })

  it('of a name has the budget of that name, however many other names have asked', () => {
    const { ask, sent } = desk()
    const askAll = (): number => {
      const before = sent.length
      for (let i = 0; i < MAX_QUERIES_PER_ASKER_PER_SECOND; i++)
        ask(QueryKind.announcements, asker('mallory'))
      return sent.length - before
    }
    for (let i = 0; i < 16_380; i++) ask(QueryKind.announcements, asker(`name-${i}`))
    expect(askAll()).toBe(MAX_QUERIES_PER_ASKER_PER_SECOND)
    // Those that were answered longest ago give way, and not all of them.
    for (let i = 0; i < 100; i++) ask(QueryKind.announcements, asker(`other-${i}`))
    expect(askAll()).toBe(0)
  })

  it('is ignored where too many of one name wait', () => {
    const { ask, sent, clock } = desk()
    const one = asker()
    for (let i = 0; i < 10_000; i++) ask(QueryKind.announcements, one)
    clock.advance(60_000)
    expect(sent.length).toBeLessThan(200)
  })

  it('brings a name 8 MiB at once, and 2 MiB a second from then on', () => {
    const { ask, sent, clock } = desk({ revocations: () => statements(16, 62_000) })
    const bytes = (): number =>
      sent.reduce((sum, { page }) => sum + page.statements.reduce((all, { length }) => all + length, 0), 0)
    const goOn = (seconds: number): void => {
      for (let i = 0; i < seconds * 20; i++) {
        ask(QueryKind.revocations, asker())
        clock.advance(50)
      }
    }
    goOn(1)
    expect(bytes()).toBeGreaterThan(MAX_PAGE_BYTES_AT_ONCE)
    expect(bytes()).toBeLessThan(1.1 * (MAX_PAGE_BYTES_AT_ONCE + 2 * MAX_PAGE_BYTES_PER_ASKER_PER_SECOND))
    goOn(20)
    const before = bytes()
    goOn(10)
    expect((bytes() - before) / 10).toBeLessThan(1.2 * MAX_PAGE_BYTES_PER_ASKER_PER_SECOND)
    expect((bytes() - before) / 10).toBeGreaterThan(0.8 * MAX_PAGE_BYTES_PER_ASKER_PER_SECOND)
  })

  it('brings all askers together 64 MiB a second', () => {
    const { ask, sent, clock } = desk({ revocations: () => statements(16, 62_000) })
    const most = MAX_PAGE_BYTES_PER_SECOND / (16 * 62_000)
    for (let i = 0; i < 400; i++) ask(QueryKind.revocations, asker(`name-${i}`))
    expect(sent.length).toBeLessThan(1.1 * most)
    for (let i = 0; i < 50; i++) clock.advance(20)
    expect(sent.length).toBeLessThan(2.2 * most)
    expect(sent.length).toBeGreaterThan(1.8 * most)
  })

  it('of one name that asks for all that there is keeps out nobody else', () => {
    const { ask, sent, clock } = desk({ revocations: () => statements(16, 62_000) })
    const mallory = Array.from({ length: 400 }, () => asker('mallory'))
    const alice = asker('alice')
    let asked = 0
    for (let i = 0; i < 200; i++) {
      for (const one of mallory.slice(0, 20)) ask(QueryKind.revocations, { ...one, instance: `${asked++}` })
      clock.advance(20)
    }
    // Her line is full.
    for (const one of mallory) ask(QueryKind.revocations, { ...one, instance: `${asked++}` })
    ask(QueryKind.revocations, alice)
    clock.advance(100)
    expect(sent.filter(({ inbox }) => inbox === alice.inbox)).toHaveLength(1)
  })

  it('is answered no more once the desk is closed', () => {
    const { ask, sent, clock, queries } = desk()
    const one = asker()
    for (let i = 0; i < 60; i++) ask(QueryKind.announcements, one)
    queries.close()
    clock.advance(10_000)
    expect(sent).toHaveLength(MAX_QUERIES_PER_ASKER_PER_SECOND)
  })
})
