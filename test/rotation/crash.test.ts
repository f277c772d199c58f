import type { NatsConnection } from '@nats-io/transport-node'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { hex } from '../../src/base/bytes.ts'
import { startRotationService } from '../../src/rotation/service.ts'
import { memoryRotationStore, type RotationStore } from '../../src/rotation/store.ts'
import { WireType } from '../../src/wire/preamble.ts'
import {
  decodePage,
  decodeStatement,
  decodeTick,
  encodeQuery,
  type Page,
  QueryKind,
} from '../../src/wire/statements.ts'
import { ManualClock } from '../support/clock.ts'
import { engine, newAuthority } from '../support/identities.ts'
import { TestRealm } from '../support/realm.ts'
import { World } from '../support/statements.ts'
import { until } from '../support/until.ts'

let clock: ManualClock
let realm: TestRealm
let broker: NatsConnection

beforeEach(() => {
  clock = new ManualClock()
})
afterEach(() => realm.stop())

async function startRealm(serverConfig = ''): Promise<void> {
  realm = await TestRealm.start({ clock, rotation: false, serverConfig })
  broker = await realm.connection()
}

/** A service whose process ends without a word: its connection is gone, and `close()` is never called. */
async function startCrashing(store: RotationStore) {
  const nc = await realm.connection()
  const service = await startRotationService(nc, {
    identity: realm.rotator,
    trust: realm.trust,
    clock,
    store,
  })
  return { service, nc, crash: () => nc.close() }
}

function query(kind: QueryKind, reply: string, cursor?: Uint8Array): void {
  const nonce = engine.randomBytes(16)
  broker.publish(`${realm.root}.query`, encodeQuery({ nonce, kind, cursor }), { reply })
}

async function ask(kind: QueryKind): Promise<Page[]> {
  const inbox = `${realm.root}.inbox.${hex(engine.randomBytes(8))}`
  const pages: Page[] = []
  broker.subscribe(inbox, {
    callback: (_error, { data }) => {
      const page = decodePage(new Uint8Array(data))
      pages.push(page)
      if (page.next !== undefined) query(kind, inbox, page.next)
    },
  })
  query(kind, inbox)
  await until('the last page has come', () => pages.length > 0 && pages.at(-1)?.next === undefined)
  return pages
}

describe('a rotation service that crashes', () => {
  it('has stored what it published: every epoch before anybody saw it, and more time than its ticks name', async () => {
    await startRealm()
    const store = memoryRotationStore()
    const seen = await realm.tap(`${realm.root}.tick`)
    const stored: number[] = []
    const { service, nc, crash } = await startCrashing(store)
    const publish = nc.publish.bind(nc)
    nc.publish = (subject, ...rest) => {
      if (subject === `${realm.root}.epoch`) stored.push(store.load().epochs.length)
      publish(subject, ...rest)
    }
    for (let i = 0; i < 3; i++) {
      clock.advance(1000)
      await service.rotate()
    }
    expect(stored).toEqual([2, 3, 4])
    await nc.flush()
    await crash()
    await until('its ticks have come', () => seen.length >= 4)
    const times = seen.map(({ data }) => decodeTick(decodeStatement(WireType.tick, data).structure).now)
    expect(store.load().tickedUntil).toBeGreaterThan(Math.max(...times))
  })

  it('has stored every revocation that it took in', async () => {
    await startRealm()
    const store = memoryRotationStore()
    const { crash } = await startCrashing(store)
    const bytes = new World({ like: realm }).revocation(realm.identity('alice'), { since: clock.now() })
    broker.publish(`${realm.root}.revoke`, bytes)
    expect((await ask(QueryKind.revocations))[0]?.statements).toEqual([bytes])
    await crash()
    expect(store.load().revocations).toEqual([bytes])
  })
})

describe('the answers of a rotation service', () => {
  it('go to no inbox of another realm, however long its name is', async () => {
    await startRealm()
    await realm.startService()
    const seen = await realm.tap('*.*.*.inbox.*')
    const other = `subrosa.v1.${newAuthority().publicKey}.inbox.0011223344556677`
    query(QueryKind.epochs, other)
    await ask(QueryKind.epochs)
    await until('the answer passed the tap', () => seen.length > 0)
    expect(seen.map(({ subject }) => subject)).not.toContain(other)
  })

  it('are cut into pages that the server takes', async () => {
    await startRealm('max_payload: 16384')
    const service = await realm.startService()
    for (let i = 0; i < 40; i++) await service.rotate()
    const pages = await ask(QueryKind.epochs)
    expect(pages.length).toBeGreaterThan(1)
    expect(pages.flatMap(({ statements }) => statements)).toHaveLength(41)
  })
})
