import type { NatsConnection } from '@nats-io/transport-node'
import { hex } from '../../src/base/bytes.ts'
import { OBSERVER_NAME } from '../../src/identity/token.ts'
import { type ProtocolSubjects, protocolSubjects, rid } from '../../src/keys/subjects.ts'
import { type ParsedTick, readTick } from '../../src/keys/ticks.ts'
import { WireType, wireType } from '../../src/wire/preamble.ts'
import { decodePage, encodeQuery, type Page, QueryKind } from '../../src/wire/queries.ts'
import type { Tick } from '../../src/wire/ticks.ts'
import { engine } from '../support/identities.ts'
import type { TestRealm } from '../support/realm.ts'
import { until } from '../support/until.ts'

/** Who asks. */
export interface AskingOptions {
  readonly name?: string
  readonly instance?: Uint8Array
}

/** Somebody who asks rotation services from one inbox, and keeps everything that comes. */
export class Asking {
  readonly nc: NatsConnection
  readonly subjects: ProtocolSubjects
  readonly name: string
  readonly instance: Uint8Array
  readonly ticks: ParsedTick[] = []
  readonly pages: Page[] = []
  /** Broadcasts. */
  readonly heard: Tick[] = []

  static async start(realm: TestRealm, options: AskingOptions = {}): Promise<Asking> {
    const asking = new Asking(await realm.connection(), realm, options)
    await asking.nc.flush()
    return asking
  }

  private constructor(nc: NatsConnection, realm: TestRealm, options: AskingOptions) {
    const { name = OBSERVER_NAME, instance = engine.randomBytes(8) } = options
    this.nc = nc
    this.name = name
    this.instance = instance
    this.subjects = protocolSubjects(engine, realm.authority.publicKey)
    nc.subscribe(this.inbox, { callback: (_error, { data }) => this.#take(new Uint8Array(data)) })
    nc.subscribe(this.subjects.tick, {
      callback: (_error, { data }) => {
        this.heard.push(readTick(engine, new Uint8Array(data)).tick)
      },
    })
  }

  get inbox(): string {
    return this.subjects.inbox(this.name, this.instance)
  }

  /** Pings all services. @returns the nonce */
  ping(nonce: Uint8Array = engine.randomBytes(16), reply = this.inbox): Uint8Array {
    const bytes = encodeQuery({ nonce, kind: QueryKind.tick, cursor: undefined })
    this.nc.publish(this.subjects.ping(this.name, this.instance), bytes, { reply })
    return nonce
  }

  /** Pings, and waits for as many ticks to come. */
  async tick(count = 1): Promise<readonly Tick[]> {
    const before = this.ticks.length
    this.ping()
    await until('all have answered', () => this.ticks.length >= before + count)
    return this.ticks.slice(before).map(({ tick }) => tick)
  }

  /** Asks one service, by its key, or those on another name. @returns the nonce */
  query(to: string, kind: QueryKind, cursor?: Uint8Array, reply = this.inbox): Uint8Array {
    const nonce = engine.randomBytes(16)
    const name = to.startsWith('U') ? rid(engine, to) : to
    const bytes = encodeQuery({ nonce, kind, cursor })
    this.nc.publish(this.subjects.query(name, this.name, this.instance), bytes, { reply })
    return nonce
  }

  /** Asks, and waits for the page. */
  async page(to: string, kind: QueryKind, cursor?: Uint8Array): Promise<Page> {
    const nonce = hex(this.query(to, kind, cursor))
    const find = (): Page | undefined => this.pages.find((page) => hex(page.nonce) === nonce)
    await until('the page has come', () => find() !== undefined)
    const found = find()
    if (found === undefined) throw new Error('no page')
    return found
  }

  /** Everything of a kind, of all pages. */
  async all(to: string, kind: QueryKind): Promise<readonly Uint8Array[]> {
    const statements: Uint8Array[] = []
    let cursor: Uint8Array | undefined
    do {
      const page = await this.page(to, kind, cursor)
      statements.push(...page.statements)
      cursor = page.next
    } while (cursor !== undefined)
    return statements
  }

  #take(bytes: Uint8Array): void {
    if (wireType(bytes) === WireType.tick) this.ticks.push(readTick(engine, bytes))
    else if (wireType(bytes) === WireType.page) this.pages.push(decodePage(bytes))
  }
}
