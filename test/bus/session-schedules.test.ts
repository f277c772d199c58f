import type { Msg, NatsConnection } from '@nats-io/transport-node'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { hex } from '../../src/base/bytes.ts'
import { CLOCK_WINDOW_MS } from '../../src/base/limits.ts'
import type { PublishOptions, SecureConnection } from '../../src/bus/connection.ts'
import type { Identity } from '../../src/identity/identity.ts'
import { WireType, wireType } from '../../src/wire/preamble.ts'
import { ManualClock } from '../support/clock.ts'
import { pass, passing, passingUntil } from '../support/passing.ts'
import { type Tapped, TestRealm } from '../support/realm.ts'
import { MINUTE } from '../support/statements.ts'
import { type Fate, Tampering } from '../support/tampering.ts'
import { until } from '../support/until.ts'

const PATIENT = { timeout: 120_000 }
const SUBJECT = 'net.x'
/** Longer than a frame waits, and than a question that was in vain is remembered. */
const SETTLE_MS = 13_000
/** Payloads that go in one frame where they are published one by one. */
const MAX_JOINED = 64

/** How alice publishes; all but the last of these is for bob. */
const ways: readonly (PublishOptions & { readonly many?: boolean })[] = [
  {},
  { to: ['bob'] },
  { to: ['bob'], mode: 'channel' },
  { mode: 'message' },
  { many: true },
  { many: true, to: ['bob'] },
  { to: ['alice'] },
]

type Step =
  | { readonly kind: 'publish'; readonly way: number; readonly count: number }
  | { readonly kind: 'turn' }
  | { readonly kind: 'replay'; readonly which: number }
  | { readonly kind: 'release'; readonly isReversed: boolean }
type Change = 'none' | 'carol comes' | 'carol goes' | 'bob restarts' | 'rotation'

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('publish' as const),
      way: fc.nat(ways.length - 1),
      count: fc.integer({ min: 1, max: 3 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('turn' as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('replay' as const), which: fc.nat(1000) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('release' as const), isReversed: fc.boolean() }) },
)
const phase = fc.record({
  fates: fc.array(fc.constantFrom<Fate>('pass', 'pass', 'pass', 'drop', 'hold', 'twice'), {
    minLength: 1,
    maxLength: 20,
  }),
  steps: fc.array(step, { minLength: 1, maxLength: 25 }),
  change: fc.constantFrom<Change>('none', 'carol comes', 'carol goes', 'bob restarts', 'rotation'),
})

/** What one message of NATS holds. */
interface Sent {
  readonly texts: string[]
  /** As what is published right after it in the same turn can go in the same frame, where it can. */
  readonly joinable: number | undefined
  readonly sentAtMs: number
  /** The instance of bob's that it is for. */
  readonly bob: string | undefined
}

/** Alice and bob on a real server, a network between them, and what must become of everything. */
class Network {
  readonly clock = new ManualClock()
  readonly got: string[] = []
  readonly #expected = new Set<string>()
  readonly #sent: Sent[] = []
  /** Handshakes and messages that have come to the bob of now. */
  readonly #arrived = new Map<string, { readonly data: Uint8Array; readonly atMs: number }>()
  readonly #handshakes = new Set<string>()
  #realm!: TestRealm
  #alice!: SecureConnection
  #bob!: SecureConnection
  #carol: SecureConnection | undefined
  /** The same at every restart. */
  #identities!: { readonly bob: Identity; readonly carol: Identity }
  #line!: Tampering
  #broker!: NatsConnection
  /** Everything on the subject, and every handshake that went to an inbox. */
  #seen: Tapped[] = []
  /** What was published last in this turn of the event loop. */
  #last: Sent | undefined
  #texts = 0
  #fates: readonly Fate[] = ['pass']
  #fate = 0

  async start(): Promise<void> {
    this.#realm = await TestRealm.start({
      clock: this.clock,
      schedule: { periodMs: 20 * MINUTE, leadMs: MINUTE },
    })
    this.#identities = { bob: this.#realm.identity('bob'), carol: this.#realm.identity('carol') }
    this.#broker = await this.#realm.connection()
    this.#line = new Tampering(await this.#realm.connection())
    this.#line.decide = (message) => this.#decide(message)
    this.#seen = await this.#realm.tap('>')
    this.#alice = await passing(this.clock, this.#realm.agent('alice', {}, PATIENT))
    await this.#startBob()
  }

  stop(): Promise<void> {
    return this.#realm.stop()
  }

  async run({
    fates,
    steps,
    change,
  }: {
    fates: readonly Fate[]
    steps: readonly Step[]
    change: Change
  }): Promise<void> {
    this.#fates = fates
    for (const one of steps) await this.#step(one)
    await this.#settle()
    await this.#change(change)
  }

  async #step(one: Step): Promise<void> {
    if (one.kind === 'publish') this.#publish(one)
    else if (one.kind === 'release')
      this.#line.release((held) => (one.isReversed ? [...held].reverse() : held))
    else if (one.kind === 'turn') await this.#quiet()
    else {
      const wires = this.#seen.filter(
        ({ subject, data }) => subject === SUBJECT && wireType(data) !== undefined,
      )
      const wire = wires[one.which % Math.max(1, wires.length)]
      if (wire !== undefined) this.#broker.publish(SUBJECT, wire.data)
    }
  }

  #publish({ way, count }: { readonly way: number; readonly count: number }): void {
    const { many = false, ...options } = ways[way] ?? {}
    const isForBob = options.to === undefined || options.to.includes('bob')
    const texts = Array.from({ length: count }, () => String(this.#texts++))
    // To one instance alone, and not in a message: these go in one frame where nothing comes between.
    const joinable = options.to !== undefined && !many ? way : undefined
    const log = (group: readonly string[]): void => {
      const last = this.#last
      if (joinable !== undefined && last?.joinable === joinable && last.texts.length < MAX_JOINED) {
        last.texts.push(...group)
        return
      }
      this.#last = {
        texts: [...group],
        joinable,
        sentAtMs: this.clock.now(),
        bob: isForBob ? this.#bob.instance : undefined,
      }
      this.#sent.push(this.#last)
    }
    if (many) {
      this.#alice.publishMany(SUBJECT, texts, options)
      log(texts)
      return
    }
    for (const text of texts) {
      this.#alice.publish(SUBJECT, text, options)
      log([text])
    }
  }

  /** What becomes of a message on its way to bob. Statements, and what he asks, always pass. */
  #decide(message: Msg): Fate {
    const type = wireType(message.data)
    if (type !== WireType.sealed && type !== WireType.handshake && type !== WireType.frame) return 'pass'
    const fate = this.#fates[this.#fate++ % this.#fates.length] ?? 'pass'
    // What is held arrives when it is released: held things are released before anything is judged.
    if (fate !== 'drop') this.#note(message)
    return fate
  }

  #note({ data }: Msg): void {
    const copy = new Uint8Array(data)
    const key = hex(copy)
    if (wireType(data) === WireType.handshake) this.#handshakes.add(key)
    else this.#arrived.set(key, { data: copy, atMs: this.clock.now() })
  }

  /** Lets everything that is under way arrive, and judges. */
  async #settle(): Promise<void> {
    await this.#quiet()
    this.#line.release()
    await this.#quiet()
    this.#line.release()
    await this.#quiet()
    this.#expect()
    await until('everything that can come has come', () => this.got.length >= this.#expected.size)
    expect([...this.got].sort()).toEqual([...this.#expected].sort())
    // What waits is given up, and what was asked in vain forgotten. What is asked for meanwhile does not come.
    this.#fates = ['drop']
    await pass(this.clock, SETTLE_MS, 500)
    this.#arrived.clear()
  }

  /** Questions and answers go to and fro: a few rounds are enough for what is asked twice at most. */
  async #quiet(): Promise<void> {
    this.#last = undefined
    for (let round = 0; round < 3; round++) {
      await this.#alice.flush()
      await this.#broker.flush()
      await this.#line.connection.flush()
    }
    await this.#realm.settled()
  }

  /** Adds what must have been delivered by now: what arrived in time, for this bob, whose handshake arrived too. */
  #expect(): void {
    const isHeld = (wire: string): boolean => this.#arrived.has(wire)
    const { messages, handshakeOf } = this.#wires()
    for (const [i, data] of messages.entries()) {
      const sent = this.#sent[i]
      if (sent === undefined) throw new Error('something was seen that nobody published')
      const wire = hex(data)
      const arrival = this.#arrived.get(wire)
      if (!isHeld(wire) || arrival === undefined || sent.bob !== this.#bob.instance) continue
      if (arrival.atMs - sent.sentAtMs > CLOCK_WINDOW_MS) continue
      const handshake = handshakeOf.get(hex(data.subarray(3, 19)))
      const isReadable =
        wireType(data) === WireType.sealed || (handshake !== undefined && this.#handshakes.has(handshake))
      if (isReadable) for (const text of sent.texts) this.#expected.add(text)
    }
  }

  /** What alice published, in order and once, and which handshake goes with which session: the first with the first. */
  #wires(): { messages: readonly Uint8Array[]; handshakeOf: ReadonlyMap<string, string> } {
    const messages = new Map<string, Uint8Array>()
    const handshakes = new Set<string>()
    const sids = new Set<string>()
    for (const { subject, data } of this.#seen) {
      const type = wireType(data)
      if (type === WireType.handshake && !subject.includes('.handshake.')) handshakes.add(hex(data))
      if (subject !== SUBJECT || (type !== WireType.frame && type !== WireType.sealed)) continue
      messages.set(hex(data), data)
      if (type === WireType.frame) sids.add(hex(data.subarray(3, 19)))
    }
    const inOrder = [...handshakes]
    const handshakeOf = new Map([...sids].map((sid, i) => [sid, inOrder[i] ?? '']))
    return { messages: [...messages.values()], handshakeOf }
  }

  async #change(change: Change): Promise<void> {
    this.#fates = ['pass']
    if (change === 'carol comes' && this.#carol === undefined) {
      this.#carol = await passing(this.clock, this.#realm.agent(this.#identities.carol, {}, PATIENT))
      await this.#known('carol', true)
    }
    if (change === 'carol goes' && this.#carol !== undefined) {
      await this.#carol.close()
      this.#carol = undefined
      await this.#known('carol', false)
    }
    if (change === 'bob restarts') {
      await this.#bob.close()
      await this.#known('bob', false)
      this.#arrived.clear()
      this.#handshakes.clear()
      await this.#startBob()
    }
    if (change === 'rotation') {
      const next = this.#alice.epoch + 1
      const all = [this.#alice, this.#bob, ...(this.#carol === undefined ? [] : [this.#carol])]
      while (all.some(({ epoch }) => epoch < next)) await this.#realm.pass(30_000, 30_000)
      await this.#quiet()
    }
  }

  async #startBob(): Promise<void> {
    this.#bob = await passing(
      this.clock,
      this.#realm.agent(this.#identities.bob, {}, { ...PATIENT, over: this.#line.connection }),
    )
    this.#bob.subscribe(SUBJECT, {
      callback: (_error, m) => {
        expect([m.sender.name, m.subject]).toEqual(['alice', SUBJECT])
        this.got.push(m.string())
      },
    })
    await this.#line.connection.flush()
    await this.#known('bob', true)
  }

  async #known(name: string, isThere: boolean): Promise<void> {
    const isKnown = (): boolean => this.#alice.audience(SUBJECT).some((member) => member.name === name)
    await passingUntil(this.clock, `${name} is known or gone`, () => isKnown() === isThere)
  }
}

describe('a network that loses, repeats, holds back and reorders, under sessions,', () => {
  const network = new Network()
  beforeAll(() => network.start())
  afterAll(() => network.stop())

  it('never makes a message arrive twice or forged, and everything that arrives with its handshake is delivered', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(phase, { minLength: 1, maxLength: 3 }), async (phases) => {
        for (const one of phases) await network.run(one)
      }),
      { numRuns: 40, endOnFailure: true },
    )
    // It was no idle test.
    expect(network.got.length).toBeGreaterThan(100)
  }, 60_000)
})
