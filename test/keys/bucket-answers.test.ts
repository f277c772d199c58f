import { describe, expect, it } from 'vitest'
import { fromHex, hex } from '../../src/base/bytes.ts'
import {
  BUCKET_COUNT,
  Buckets,
  bucketOf,
  readBucketHashes,
  readListing,
  rootOf,
} from '../../src/keys/buckets.ts'
import { decodePage, decodeQuery, QueryKind, readBuckets } from '../../src/wire/queries.ts'
import { engines, readVectors } from '../crypto/vectors.ts'

const file = readVectors<{
  readonly queries: readonly { readonly wire: string }[]
  readonly pages: readonly { readonly wire: string }[]
  readonly directory: {
    readonly hashes: readonly string[]
    readonly empty: string
    readonly buckets: readonly {
      readonly index: number
      readonly hashes: readonly string[]
      readonly hash: string
    }[]
    readonly root: string
  }
}>('subrosa/queries.json')
const { hashes, empty, buckets: filled, root } = file.directory

/** The page that answers a query for buckets: of all of them, or of some. */
function bucketPage(isOfAll: boolean) {
  const queries = file.queries.map(({ wire }) => decodeQuery(fromHex(wire)))
  const asked = queries.find(
    ({ kind, cursor }) => kind === QueryKind.buckets && (cursor === undefined) === isOfAll,
  )
  const pages = file.pages.map(({ wire }) => decodePage(fromHex(wire)))
  const page = pages.find(({ nonce }) => asked !== undefined && hex(nonce) === hex(asked.nonce))
  if (asked === undefined || page === undefined) throw new Error('no page of buckets')
  return { asked: readBuckets(asked.cursor), statements: page.statements }
}

describe.each(engines)('the known answer of a directory on $name', (engine) => {
  it.each([
    { order: 'as they came', added: hashes },
    { order: 'backwards', added: hashes.toReversed() },
  ])('has these buckets and this root with its hashes $order', ({ added }) => {
    const held = new Buckets(engine)
    for (const hash of added) held.add(fromHex(hash))
    expect(hex(held.root())).toBe(root)
    for (const { index, hashes: inside, hash } of filled) {
      expect(held.hashes(index).map((one) => hex(one))).toEqual(inside)
      expect(hex(held.hashOf(index))).toBe(hash)
    }
    const others = Array.from({ length: BUCKET_COUNT }, (_, i) => i).filter(
      (i) => !filled.some(({ index }) => index === i),
    )
    expect(new Set(others.map((i) => hex(held.hashOf(i))))).toEqual(new Set([empty]))
  })

  it('has two hashes in one bucket, and each in the bucket of its first byte', () => {
    expect(filled.some(({ hashes: inside }) => inside.length === 2)).toBe(true)
    for (const { index, hashes: inside } of filled)
      expect(inside.map((hash) => bucketOf(fromHex(hash)))).toEqual(inside.map(() => index))
  })

  it('hands on the hashes of all buckets in one statement', () => {
    const [statement = new Uint8Array(0), ...others] = bucketPage(true).statements
    expect(others).toEqual([])
    const all = readBucketHashes(statement)
    expect(hex(rootOf(engine, all))).toBe(root)
    const held = new Buckets(engine)
    for (const hash of hashes) held.add(fromHex(hash))
    expect(hex(all)).toBe(hex(held.hashesOfAll()))
  })
})

it('lists each bucket that was asked for completely, in a statement of its own', () => {
  const { asked = [], statements } = bucketPage(false)
  expect(statements.length).toBe(asked.length)
  for (const [i, bucket] of asked.entries()) {
    const statement = statements[i] ?? new Uint8Array(0)
    const inside = filled.find(({ index }) => index === bucket)?.hashes
    expect(readListing(bucket, statement).map((hash) => hex(hash))).toEqual(inside)
  }
})
