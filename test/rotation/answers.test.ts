import { describe, expect, it } from 'vitest'
import { hex } from '../../src/base/bytes.ts'
import { MAX_PINGS_OF_NAME_PER_SECOND, MAX_PINGS_WAITING, MAX_TICK_LEAVES } from '../../src/base/limits.ts'
import type { NatsLike } from '../../src/bus/nats-like.ts'
import { encodeNkey } from '../../src/identity/nkey.ts'
import { SigningKey } from '../../src/identity/signing-key.ts'
import type { Asker } from '../../src/keys/subjects.ts'
import { type ParsedTick, provesNonce, readTick, verifyTick } from '../../src/keys/ticks.ts'
import { Answers, type TickBody } from '../../src/rotation/answers.ts'
import { ManualClock } from '../support/clock.ts'
import { engine, newAuthority } from '../support/identities.ts'

const keys = engine.ed25519KeyPair()
const rotator = encodeNkey('U', keys.publicKey)
const realm = newAuthority().publicKey
const zeros = new Uint8Array(32)

interface Sent {
  readonly subject: string
  readonly parsed: ParsedTick
}

/** A desk that answers on a line of its own, and what it has signed and sent. */
function desk() {
  const clock = new ManualClock()
  const sent: Sent[] = []
  let signatures = 0
  let isSilent = false
  const nc = {
    publish: (subject: string, bytes: Uint8Array) =>
      void sent.push({ subject, parsed: readTick(engine, bytes) }),
    isClosed: () => false,
  } as Partial<NatsLike> as NatsLike
  const key = new SigningKey(engine, 'U', keys)
  const body: TickBody = {
    realm,
    planVersion: 1,
    rotator,
    standing: 1,
    process: new Uint8Array(8),
    now: clock.now(),
    revocationsHash: zeros,
    directoryRoot: zeros,
    storageRoot: zeros,
  }
  const answers = new Answers(nc, {
    engine,
    identity: {
      publicKey: rotator,
      sign: (message) => {
        signatures++
        return key.sign(message)
      },
    },
    clock,
    subject: 'tick',
    tick: () => (isSilent ? undefined : { ...body, now: clock.now() }),
    onError: (error) => {
      throw error
    },
  })
  return {
    clock,
    sent,
    answers,
    signatures: () => signatures,
    silence: (wanted: boolean) => {
      isSilent = wanted
    },
  }
}

let count = 0
/** Somebody who has not asked before. */
function asker(name: string): Asker {
  const instance = (count++).toString(16).padStart(16, '0')
  return { name, instance, inbox: `inbox.${instance}` }
}

const nonce = (): Uint8Array => engine.randomBytes(16)

describe('pings', () => {
  it('are answered at once, and those of the next tenth of a second with one signature together', () => {
    const { clock, sent, answers, signatures } = desk()
    const first = asker('alice')
    answers.answer(nonce(), first)
    expect(sent.map(({ subject }) => subject)).toEqual([first.inbox])
    const asked = Array.from({ length: 1000 }, (_, i) => ({ nonce: nonce(), asker: asker(`bob-${i % 10}`) }))
    for (const one of asked) answers.answer(one.nonce, one.asker)
    clock.advance(99)
    expect(signatures()).toBe(1)
    clock.advance(1)
    expect(signatures()).toBe(2)
    expect(sent).toHaveLength(1001)
    for (const { nonce: own, asker: of } of asked) {
      const answer = sent.find(({ subject }) => subject === of.inbox)
      expect(answer !== undefined && provesNonce(engine, answer.parsed, own)).toBe(true)
    }
    const [, one] = sent
    expect(
      one !== undefined && verifyTick({ engine, plan: { realm, rotators: [rotator] } }, one.parsed),
    ).toBe(true)
  })

  it('cost ten signatures a second, however many come', () => {
    const { clock, answers, signatures } = desk()
    for (let at = 0; at < 1000; at += 5) {
      answers.answer(nonce(), asker('alice'))
      clock.advance(5)
    }
    expect(signatures()).toBeGreaterThanOrEqual(9)
    expect(signatures()).toBeLessThanOrEqual(11)
  })

  it('are 4,096 in one tick, and names take turns', () => {
    const { clock, sent, answers } = desk()
    answers.answer(nonce(), asker('first'))
    for (let i = 0; i < MAX_TICK_LEAVES + 100; i++) answers.answer(nonce(), asker(`mallory-${i % 16}`))
    const honest = asker('alice')
    answers.answer(nonce(), honest)
    clock.advance(100)
    // Behind one of each, and not behind all of one.
    expect(sent).toHaveLength(1 + MAX_TICK_LEAVES)
    expect(sent.some(({ subject }) => subject === honest.inbox)).toBe(true)
    expect(sent.at(-1)?.parsed.tick.leaves).toBe(MAX_TICK_LEAVES)
    clock.advance(100)
    expect(sent).toHaveLength(2 + MAX_TICK_LEAVES + 100)
  })

  it('are kept in a bounded number, whoever sends them', () => {
    const { clock, sent, answers } = desk()
    answers.answer(nonce(), asker('first'))
    for (let second = 0; second < 2; second++) {
      for (let i = 0; i < MAX_PINGS_WAITING; i++) answers.answer(nonce(), asker(`name-${i % 128}`))
    }
    for (let i = 0; i < 64; i++) clock.advance(100)
    expect(sent.length).toBeLessThanOrEqual(1 + MAX_PINGS_WAITING)
  })

  it('are answered four times a second to one asker', () => {
    const { clock, sent, answers } = desk()
    const one = asker('alice')
    for (let i = 0; i < 20; i++) answers.answer(nonce(), one)
    clock.advance(500)
    expect(sent).toHaveLength(4)
    clock.advance(500)
    answers.answer(nonce(), one)
    expect(sent).toHaveLength(5)
    // Who asks in the name of its instance is another one.
    answers.answer(nonce(), { ...one, name: 'bob' })
    clock.advance(100)
    expect(sent).toHaveLength(6)
  })

  it('with made-up instances are answered no more often than those of one name may be', () => {
    const { clock, sent, answers } = desk()
    for (let i = 0; i < 10_000; i++) {
      answers.answer(nonce(), asker('mallory'))
      if (i % 10 === 9) clock.advance(1)
    }
    expect(sent.length).toBeLessThanOrEqual(2 * MAX_PINGS_OF_NAME_PER_SECOND)
    const alice = asker('alice')
    answers.answer(nonce(), alice)
    clock.advance(100)
    expect(sent.some(({ subject }) => subject === alice.inbox)).toBe(true)
  })

  it('have a time that is that of the signature', () => {
    const { clock, sent, answers } = desk()
    answers.answer(nonce(), asker('alice'))
    answers.answer(nonce(), asker('alice'))
    clock.advance(100)
    expect((sent[1]?.parsed.tick.now ?? 0) - (sent[0]?.parsed.tick.now ?? 0)).toBe(100)
  })

  it('are not answered by a service that has nothing to say, now or later', () => {
    const { clock, sent, answers, silence } = desk()
    silence(true)
    answers.answer(nonce(), asker('alice'))
    silence(false)
    clock.advance(1000)
    expect(sent).toEqual([])
    answers.answer(nonce(), asker('alice'))
    expect(sent).toHaveLength(1)
  })
})

describe('a broadcast', () => {
  it('answers nobody: it has no place and no path', () => {
    const { clock, sent, answers } = desk()
    answers.broadcast()
    answers.broadcast()
    clock.advance(0)
    const [one] = sent
    expect(sent).toHaveLength(1)
    expect(one?.subject).toBe('tick')
    expect(one?.parsed.tick).toMatchObject({ leaves: 0, nonceRoot: zeros })
    expect(one?.parsed.signed).toMatchObject({ index: undefined, path: undefined })
  })

  it('is once in a tenth of a second, whatever happens', () => {
    const { clock, sent, answers } = desk()
    for (let i = 0; i < 100; i++) {
      answers.broadcast()
      clock.advance(10)
    }
    expect(sent.length).toBeGreaterThan(5)
    expect(sent.length).toBeLessThanOrEqual(11)
  })

  it('holds up those who ask by a tenth of a second at most', () => {
    const { clock, sent, answers } = desk()
    answers.broadcast()
    const one = asker('alice')
    answers.answer(nonce(), one)
    clock.advance(100)
    expect(sent.map(({ subject }) => subject)).toEqual(['tick', one.inbox])
    expect(hex(sent[1]?.parsed.tick.nonceRoot ?? zeros)).not.toBe(hex(zeros))
  })
})
