import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { SecureConnection } from '../../../src/bus/connection.ts'
import type { SecureMessage } from '../../../src/bus/messages/message.ts'
import type { SealMode } from '../../../src/bus/messages/opened.ts'
import { TestRealm } from '../../support/realm.ts'
import { until } from '../../support/until.ts'

const modes: readonly SealMode[] = ['message', 'session', 'channel']
/** Below and above what is copied, and what Node takes from the memory that it shares out. */
const sizes = [20, 1000, 3000, 5000, 40_000]

/** A text of this size that stands in no other one. */
function marked(mark: string, size: number): string {
  return `${mark} `.repeat(Math.ceil(size / (mark.length + 1))).slice(0, size)
}

describe.each(modes)('the memory of a payload of mode %s', (mode) => {
  let realm: TestRealm
  let alice: SecureConnection
  let bob: SecureConnection
  let got: SecureMessage[]

  beforeAll(async () => {
    realm = await TestRealm.start()
    alice = await realm.agent('alice')
    bob = await realm.agent('bob')
    await alice.waitForAudience('texts.20')
    bob.subscribe('texts.*', { callback: (_error, m) => got.push(m) })
    await bob.flush()
  })
  afterAll(() => realm.stop())

  it.each(sizes)('of %i bytes holds nothing of another message', async (size) => {
    got = []
    const texts = Array.from({ length: 12 }, (_, i) => marked(`payload-${size}-${i}-of-${mode}`, size))
    for (const text of texts) {
      alice.publish(`texts.${size}`, text, { mode, to: ['bob'] })
      // Each in a NATS message of its own.
      await alice.flush()
    }
    await until('all have come', () => got.length === texts.length)
    expect(got.map((m) => m.string())).toEqual(texts)
    for (const [i, { data }] of got.entries()) {
      const memory = Buffer.from(data.buffer).toString('latin1')
      const others = texts.filter((text, j) => j !== i && memory.includes(text.slice(0, 20)))
      expect(others).toEqual([])
    }
  })

  it('holds nothing of the others that were published with it', async () => {
    got = []
    const texts = ['first', 'second', 'third'].map((name) => marked(`${name}-with-others-of-${mode}`, 200))
    alice.publishMany('texts.many', texts, { mode, to: ['bob'] })
    await until('all have come', () => got.length === texts.length)
    for (const [i, { data }] of got.entries()) {
      const memory = Buffer.from(data.buffer).toString('latin1')
      expect(texts.filter((text) => memory.includes(text.slice(0, 20)))).toEqual([texts[i]])
    }
  })

  it('may be the application’s to fill again, once it is published: it was copied', async () => {
    got = []
    const payload = new TextEncoder().encode(marked('once', 200))
    const text = new TextDecoder().decode(payload)
    alice.publish('texts.again', payload, { mode, to: ['bob'] })
    payload.fill(0)
    await until('it has come', () => got.length === 1)
    expect(got[0]?.string()).toBe(text)
  })
})
