import { beforeEach, describe, expect, it } from 'vitest'
import { hex } from '../../../src/base/bytes.ts'
import { type HashAnswer, HashLookups } from '../../../src/bus/realm/hash-lookups.ts'
import type { Fetch } from '../../../src/bus/realm/page-fetches.ts'
import { QueryKind, readHashes } from '../../../src/wire/queries.ts'
import { engine } from '../../support/identities.ts'

let fetches: Fetch[]
let rotators: string[]
let held: Set<string>
let lookups: HashLookups

beforeEach(() => {
  fetches = []
  rotators = ['A', 'B']
  held = new Set()
  lookups = new HashLookups({
    fetches: {
      begin: (fetch) => {
        fetches.push(fetch)
        return true
      },
      isUnderWay: ({ rotator }) => fetches.some((fetch) => fetch.rotator === rotator),
    },
    rotators: () => rotators,
    hashOf: (statement) => (statement.length === 32 ? statement : undefined),
    isHeld: (hash) => held.has(hash),
    // A statement is its own hash here.
    onStatement: (statement) => held.add(hex(statement)),
  })
})

const hashes = (count: number): Uint8Array[] => Array.from({ length: count }, () => engine.randomBytes(32))

/** The service of a fetch answers with these of what it was asked for. */
function answer(fetch: Fetch, has: (hash: Uint8Array) => boolean = () => true, isWhole = true): void {
  fetches.splice(fetches.indexOf(fetch), 1)
  fetch.onPage(readHashes(fetch.cursor).filter(has))
  fetch.onEnd(isWhole)
}

const askedOf = (rotator: string): Fetch => {
  const fetch = fetches.find((one) => one.rotator === rotator)
  if (fetch === undefined) throw new Error(`nothing is asked of ${rotator}`)
  return fetch
}
const sizes = (): readonly number[] => fetches.map(({ cursor }) => readHashes(cursor).length)

describe('an announcement that somebody waits for', () => {
  it('is asked of one service, and of the next one where that does not have it', () => {
    const [hash = new Uint8Array(32)] = hashes(1)
    expect(lookups.want(hash)).toBe(true)
    expect(fetches.map(({ rotator, kind }) => [rotator, kind])).toEqual([['A', QueryKind.byHash]])
    answer(askedOf('A'), () => false)
    expect(fetches.map(({ rotator }) => rotator)).toEqual(['B'])
    answer(askedOf('B'))
    expect([held.has(hex(hash)), fetches]).toEqual([true, []])
  })

  it('is given up when nobody has it, and may be asked for again', () => {
    const [hash = new Uint8Array(32)] = hashes(1)
    lookups.want(hash)
    answer(askedOf('A'), () => false)
    answer(askedOf('B'), () => false)
    expect(fetches).toEqual([])
    lookups.want(hash)
    expect(fetches).toHaveLength(1)
  })

  it('goes with others, 64 in one query, each service one at a time', () => {
    for (const hash of hashes(150)) lookups.want(hash)
    // The first two went by themselves.
    expect(sizes()).toEqual([1, 1])
    answer(askedOf('A'))
    expect(sizes()).toEqual([1, 64])
    answer(askedOf('B'))
    answer(askedOf('A'))
    expect(sizes()).toEqual([64, 20])
    answer(askedOf('A'))
    answer(askedOf('B'))
    expect(held.size).toBe(150)
  })

  it('is asked for once, however many wait for it', () => {
    rotators = ['A']
    lookups.want(new Uint8Array(32))
    const [hash = new Uint8Array(32)] = hashes(1)
    expect([lookups.want(hash), lookups.want(hash)]).toEqual([true, true])
    answer(askedOf('A'))
    expect(sizes()).toEqual([1])
  })

  it('finds no room where too many are wanted, and nobody to ask where nobody answers', () => {
    rotators = ['A']
    expect(hashes(1026).map((hash) => lookups.want(hash))).toEqual([
      ...Array.from({ length: 1025 }, () => true),
      false,
    ])
    rotators = []
    expect(
      new HashLookups({
        fetches: { begin: () => true, isUnderWay: () => false },
        rotators: () => rotators,
        hashOf: (statement) => statement,
        isHeld: () => false,
        onStatement: () => {},
      }).want(new Uint8Array(32)),
    ).toBe(false)
  })
})

describe('what one service is asked for', () => {
  let answers: HashAnswer[]
  beforeEach(() => {
    answers = []
  })

  function ask(count: number, rotator = 'A', isWanted?: () => boolean): void {
    lookups.ask({
      rotator,
      hashes: hashes(count),
      ...(isWanted !== undefined && { isWanted }),
      onStatements: (statements) => {
        for (const statement of statements) held.add(hex(statement))
      },
      onEnd: (result) => answers.push(result),
    })
  }

  it('is asked for 64 at a time', () => {
    ask(130)
    for (const size of [64, 64, 2]) {
      expect(sizes()).toEqual([size])
      answer(askedOf('A'))
    }
    expect([answers, held.size]).toEqual([['given'], 130])
    ask(0)
    expect(answers).toEqual(['given', 'given'])
  })

  it('is asked for no more of it where it has nothing, or does not answer', () => {
    ask(130)
    answer(askedOf('A'), () => false)
    ask(130)
    answer(askedOf('A'), () => true, false)
    expect([answers, fetches]).toEqual([['lacking', 'silent'], []])
  })

  it('brings nothing but what was asked for: a service that sends other things is asked for no more', () => {
    ask(130)
    const [fetch] = fetches.splice(0)
    const [asked = new Uint8Array(0)] = readHashes(fetch?.cursor)
    const other = engine.randomBytes(32)
    expect(fetch?.onPage([other, asked, asked, new Uint8Array(5)])).toBe(true)
    expect([...held]).toEqual([hex(asked)])
    // What has come already is not asked for any more.
    expect(fetch?.onPage([asked, other])).toBe(false)
    fetch?.onEnd(false)
    expect([held.size, answers, fetches]).toEqual([1, ['silent'], []])
  })

  it('is asked for no more of it when nobody wants it any more', () => {
    let isWanted = true
    ask(130, 'A', () => isWanted)
    answer(askedOf('A'))
    isWanted = false
    answer(askedOf('A'))
    expect([answers, fetches, held.size]).toEqual([['given'], [], 128])
  })

  it('waits for what somebody waits for, and is not forgotten', () => {
    rotators = ['A']
    ask(130)
    const [hash = new Uint8Array(32)] = hashes(1)
    lookups.want(hash)
    answer(askedOf('A'))
    expect(readHashes(askedOf('A').cursor)).toEqual([hash])
    answer(askedOf('A'))
    expect(sizes()).toEqual([64])
    answer(askedOf('A'))
    answer(askedOf('A'))
    expect(answers).toEqual(['given'])
  })

  it('has its turn after other questions to the same service, and beside those to others', () => {
    ask(10)
    ask(20)
    ask(30, 'B')
    expect(sizes()).toEqual([10, 30])
    answer(askedOf('A'))
    expect(sizes()).toEqual([30, 20])
  })
})
