import { describe, expect, it } from 'vitest'
import { LISTED_AFTER_MS, SILENT_INSTANCE_MS } from '../../src/base/limits.ts'
import { Buckets } from '../../src/keys/buckets.ts'
import type { Directory } from '../../src/keys/directory.ts'
import { Listing } from '../../src/rotation/listing.ts'
import { ManualClock } from '../support/clock.ts'
import { engine } from '../support/identities.ts'

interface Entry {
  readonly name: string
  readonly instance: string
  readonly hash: Uint8Array
}

/** A list of whatever a test puts into the directory. */
function listing() {
  const clock = new ManualClock()
  const entries: Entry[] = []
  const directory: Pick<Directory, 'listed'> = {
    listed({ heldForMs, isSilent }) {
      expect(heldForMs).toBe(LISTED_AFTER_MS)
      const buckets = new Buckets(engine)
      for (const { name, instance, hash } of entries) if (!isSilent(name, instance)) buckets.add(hash)
      return buckets
    },
  }
  const list = new Listing({ clock, directory })
  const add = (name: string, instance: string): Entry => {
    const entry = { name, instance, hash: engine.randomBytes(32) }
    entries.push(entry)
    return entry
  }
  const ping = ({ name, instance }: Entry): void => list.heard({ name, instance, inbox: '' })
  const lists = ({ hash }: Entry): boolean =>
    list
      .buckets()
      .hashes(hash[0] ?? 0)
      .includes(hash)
  /** As ticks do, again and again. */
  const pass = (ms: number, pinging: readonly Entry[] = []): void => {
    for (let left = ms; left > 0; left -= 5000) {
      clock.advance(Math.min(left, 5000))
      for (const entry of pinging) ping(entry)
      list.root()
    }
  }
  return { clock, list, entries, add, ping, lists, pass }
}

describe('the list of a rotation service', () => {
  it('changes every 15 s at most', () => {
    const { list, add, clock } = listing()
    const first = list.root()
    const alice = add('alice', 'a')
    clock.advance(LISTED_AFTER_MS - 1)
    expect(list.root()).toBe(first)
    expect(list.buckets().hashes(alice.hash[0] ?? 0)).toEqual([])
    clock.advance(1)
    expect(list.root()).not.toEqual(first)
  })

  it('leaves out an instance of which nothing was heard for 200 s, and has it again when it is heard', () => {
    const { add, lists, pass, ping } = listing()
    const [alice, bob] = [add('alice', 'a'), add('bob', 'b')]
    pass(SILENT_INSTANCE_MS, [alice])
    expect([lists(alice), lists(bob)]).toEqual([true, true])
    pass(2 * LISTED_AFTER_MS, [alice])
    expect([lists(alice), lists(bob)]).toEqual([true, false])
    ping(bob)
    pass(LISTED_AFTER_MS)
    expect(lists(bob)).toBe(true)
  })

  it('has all that a service holds which has just begun: it has heard of nobody', () => {
    const { add, lists, pass } = listing()
    const alice = add('alice', 'a')
    pass(LISTED_AFTER_MS)
    expect(lists(alice)).toBe(true)
  })

  it('does not take the ping of another name for that of an instance', () => {
    const { list, add, lists, pass } = listing()
    const bob = add('bob', 'b')
    pass(LISTED_AFTER_MS)
    for (let i = 0; i < 20; i++) {
      pass(LISTED_AFTER_MS)
      list.heard({ name: 'mallory', instance: 'b', inbox: '' })
    }
    expect(lists(bob)).toBe(false)
  })

  it('remembers no instances of which nothing is held, however many ping', () => {
    const { list, add, lists, pass } = listing()
    for (let i = 0; i < 100_000; i++) list.heard({ name: 'mallory', instance: `${i}`, inbox: '' })
    const late = add('late', '7')
    // What was heard before it was announced counts for nothing: it has as long as any other one.
    pass(LISTED_AFTER_MS)
    expect(lists(late)).toBe(true)
    pass(SILENT_INSTANCE_MS + LISTED_AFTER_MS)
    expect(lists(late)).toBe(false)
  })
})
