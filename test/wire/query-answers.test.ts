import { describe, expect, it } from 'vitest'
import { fromHex, hex } from '../../src/base/bytes.ts'
import { askerOf, protocolSubjects, rid } from '../../src/keys/subjects.ts'
import {
  decodeAnswer,
  decodePage,
  decodeQuery,
  encodePage,
  encodeQuery,
  QueryKind,
  readBuckets,
  readCursor,
  readHashes,
  readPlanCursor,
  writeBuckets,
  writeCursor,
  writeHashes,
  writePlanCursor,
} from '../../src/wire/queries.ts'
import { engines, readVectors } from '../crypto/vectors.ts'
import { engine } from '../support/identities.ts'

interface QueryVector {
  readonly name: string
  readonly subject: string
  readonly reply: string
  readonly fields: { readonly nonce: string; readonly kind: QueryKind; readonly cursor: string | null }
  readonly wire: string
}

interface PageVector {
  readonly answers: string
  readonly fields: {
    readonly nonce: string
    readonly kind: QueryKind
    readonly statements: readonly string[]
    readonly next: string | null
  }
  readonly wire: string
}

const { rids, queries, pages } = readVectors<{
  readonly rids: readonly { readonly rotator: string; readonly rid: string }[]
  readonly queries: readonly QueryVector[]
  readonly pages: readonly PageVector[]
}>('subrosa/queries.json')
const { realm } = readVectors<{ readonly realm: string }>('subrosa/statements.json')

it('has a query of every kind, and pages of those that are answered by one', () => {
  const kinds = Object.values(QueryKind)
  expect(new Set(queries.map(({ fields: { kind } }) => kind))).toEqual(new Set(kinds))
  const { tick, handOver } = QueryKind
  expect(new Set(pages.map(({ fields: { kind } }) => kind))).toEqual(
    new Set(kinds.filter((kind) => kind !== tick && kind !== handOver)),
  )
})

describe.each(queries)('the known answer "$name"', ({ subject, reply, fields, wire }) => {
  const cursor = fields.cursor === null ? undefined : fromHex(fields.cursor)

  it('is read from the wire and written to it', () => {
    const query = decodeQuery(fromHex(wire))
    expect(query).toEqual({ nonce: fromHex(fields.nonce), kind: fields.kind, cursor })
    expect(hex(encodeQuery(query))).toBe(wire)
  })

  it('has a cursor of its kind', () => {
    const again: Readonly<Record<QueryKind, () => Uint8Array | undefined>> = {
      [QueryKind.tick]: () => undefined,
      [QueryKind.announcements]: () => cursor && writeCursor(readCursor(cursor)),
      [QueryKind.revocations]: () => cursor && writeCursor(readCursor(cursor)),
      [QueryKind.byHash]: () => writeHashes(readHashes(cursor)),
      [QueryKind.plan]: () => {
        const { version, place } = readPlanCursor(cursor)
        return version === undefined ? undefined : writePlanCursor(version, place)
      },
      [QueryKind.buckets]: () => {
        const buckets = readBuckets(cursor)
        return buckets && writeBuckets(buckets)
      },
      [QueryKind.handOver]: () => cursor,
    }
    expect(again[fields.kind]()).toEqual(cursor)
  })

  it('is published on the subject of its asker, whose inbox is the reply subject', () => {
    const subjects = protocolSubjects(engine, realm)
    const asker = askerOf(subjects, subject)
    expect(asker?.inbox).toBe(reply)
    const { name = '', instance = '' } = asker ?? {}
    const [to] = rids
    const expected =
      fields.kind === QueryKind.tick
        ? subjects.ping(name, fromHex(instance))
        : subjects.query(to?.rid ?? '', name, fromHex(instance))
    expect(subject).toBe(expected)
  })
})

it.each(engines)('names rotation services in subjects on $name as the known answers do', (engine) => {
  expect(rids.map(({ rotator }) => rid(engine, rotator))).toEqual(rids.map((vector) => vector.rid))
})

describe.each(pages)('the page that answers "$answers"', ({ answers, fields, wire }) => {
  const asked = queries.find(({ name }) => name === answers)

  it('is read from the wire and written to it', () => {
    const page = decodePage(fromHex(wire))
    expect(page).toEqual({
      nonce: fromHex(fields.nonce),
      kind: fields.kind,
      statements: fields.statements.map(fromHex),
      next: fields.next === null ? undefined : fromHex(fields.next),
    })
    expect(hex(encodePage(page))).toBe(wire)
  })

  it('is an answer to that query, and to no other one', () => {
    const answersTo = (query: QueryVector) =>
      decodeAnswer(
        fromHex(wire),
        ({ nonce, kind }) => hex(nonce) === query.fields.nonce && kind === query.fields.kind,
      ) !== undefined
    expect(queries.filter(answersTo)).toEqual([asked])
  })
})
