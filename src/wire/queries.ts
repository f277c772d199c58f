import { concat, copy } from '../base/bytes.ts'
import {
  MAX_BUCKETS_PER_QUERY,
  MAX_HASHES_PER_QUERY,
  MAX_STATEMENT_BYTES,
  MAX_STATEMENTS_PER_PAGE,
} from '../base/limits.ts'
import { HASH_BYTES } from './fields.ts'
import { type FieldReader, malformed, unpack } from './msgpack.ts'
import { encodeWire, WireType, wireBody } from './preamble.ts'

/** Of the random bytes by which an answer is known. */
export const NONCE_BYTES = 16
/** Of a place in pages: big-endian. */
export const CURSOR_BYTES = 8
/** What a query has besides its cursor. */
const QUERY_OVERHEAD_BYTES = 64

/** What a query asks for. SPEC, "Queries and pages". */
export const QueryKind = {
  /** A tick that proves the nonce. */
  tick: 0,
  /** Every announcement in use, from a place on. */
  announcements: 2,
  /** The revocations that the newest tick of this service names, from a place on. */
  revocations: 3,
  /** Announcements by their hashes, those that the service holds. */
  byHash: 4,
  /** A plan, and then its list, from a place on. */
  plan: 5,
  /** The hashes of all buckets of the directory; or what is in some of them. */
  buckets: 6,
  /** Nothing: it hands one statement over. */
  handOver: 7,
} as const

export type QueryKind = (typeof QueryKind)[keyof typeof QueryKind]

/** How long the cursor of a query may be at most, by its kind. */
const MAX_CURSOR_BYTES: Readonly<Record<QueryKind, number>> = {
  [QueryKind.tick]: 0,
  [QueryKind.announcements]: CURSOR_BYTES,
  [QueryKind.revocations]: CURSOR_BYTES,
  [QueryKind.byHash]: MAX_HASHES_PER_QUERY * HASH_BYTES,
  [QueryKind.plan]: 2 * CURSOR_BYTES,
  [QueryKind.buckets]: MAX_BUCKETS_PER_QUERY,
  [QueryKind.handOver]: MAX_STATEMENT_BYTES,
}

/** A question to one rotation service. */
export interface Query {
  /** Random, 16 bytes: the tick that answers proves it, the page repeats it. */
  readonly nonce: Uint8Array
  readonly kind: QueryKind
  readonly cursor: Uint8Array | undefined
}

/** Which query a page answers. */
export type PageHead = Pick<Query, 'nonce' | 'kind'>

/** One page of an answer: whole statements, and the cursor with which the next page is asked for. */
export interface Page extends PageHead {
  readonly statements: readonly Uint8Array[]
  readonly next: Uint8Array | undefined
}

/** Where a query for a plan begins: the plan itself stands before the first place of its list. */
export interface PlanPlace {
  /** `undefined` is the newest one. */
  readonly version: number | undefined
  /** How many statements of its list were given already; 0 gives the plan too. */
  readonly place: number
}

/** The wire message of a query. */
export function encodeQuery({ nonce, kind, cursor }: Query): Uint8Array {
  return encodeWire(WireType.query, [nonce, kind, cursor])
}

/** Reads a query. @throws SubrosaError ERR_MALFORMED, for a cursor that is too long for its kind too */
export function decodeQuery(bytes: Uint8Array): Query {
  const body = wireBody(bytes, WireType.query, MAX_STATEMENT_BYTES + QUERY_OVERHEAD_BYTES, 'query')
  const fields = unpack(body, 'query', ['nonce', 'kind', 'cursor'])
  const nonce = copy(fields.bytes(NONCE_BYTES))
  const kind = readKind(fields)
  const cursor = fields.optional((reader) => copy(reader.bytesUpTo(MAX_CURSOR_BYTES[kind])))
  if (kind === QueryKind.tick && cursor !== undefined) throw fields.malformed()
  fields.end()
  return { nonce, kind, cursor }
}

/** The wire message of a page. */
export function encodePage({ nonce, kind, statements, next }: Page): Uint8Array {
  return encodeWire(WireType.page, [nonce, kind, statements, next])
}

/** Reads a page. Its statements are views into `bytes`. @throws SubrosaError ERR_MALFORMED */
export function decodePage(bytes: Uint8Array): Page {
  const fields = pageFields(bytes)
  return restOfPage(fields, pageHead(fields))
}

/**
 * Reads a page that was asked for. Of any other one no more is read than what shows that: anybody can send pages.
 *
 * @returns the page; `undefined` where it answers nothing
 * @throws SubrosaError ERR_MALFORMED
 */
export function decodeAnswer(bytes: Uint8Array, isAsked: (head: PageHead) => boolean): Page | undefined {
  const fields = pageFields(bytes)
  const head = pageHead(fields)
  return isAsked(head) ? restOfPage(fields, head) : undefined
}

/** Where a page of numbered statements starts: eight bytes, big-endian. Anything else means the beginning. */
export function readCursor(cursor: Uint8Array | undefined): number {
  return cursor === undefined || cursor.length !== CURSOR_BYTES ? 0 : readPlace(cursor, 0)
}

/** The cursor of a page that starts at this place. */
export function writeCursor(place: number): Uint8Array {
  const cursor = new Uint8Array(CURSOR_BYTES)
  new DataView(cursor.buffer).setBigUint64(0, BigInt(place))
  return cursor
}

/** Which plan a query of kind 5 asks for, and from where. @throws SubrosaError ERR_MALFORMED */
export function readPlanCursor(cursor: Uint8Array | undefined): PlanPlace {
  if (cursor === undefined) return { version: undefined, place: 0 }
  if (cursor.length !== CURSOR_BYTES && cursor.length !== 2 * CURSOR_BYTES) throw malformed('query', 'cursor')
  const version = readPlace(cursor, 0)
  return { version, place: cursor.length === CURSOR_BYTES ? 0 : readPlace(cursor, CURSOR_BYTES) }
}

/** The cursor of a query for a plan of a version; from `place` on where it is not 0. */
export function writePlanCursor(version: number, place = 0): Uint8Array {
  return place === 0 ? writeCursor(version) : concat(writeCursor(version), writeCursor(place))
}

/** The hashes that a query of kind 4 asks for, as views into the cursor. @throws SubrosaError ERR_MALFORMED */
export function readHashes(cursor: Uint8Array | undefined): readonly Uint8Array[] {
  const length = cursor?.length ?? 0
  if (cursor === undefined || length === 0 || length % HASH_BYTES !== 0) throw malformed('query', 'cursor')
  return Array.from({ length: length / HASH_BYTES }, (_, i) =>
    cursor.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES),
  )
}

/** The cursor of a query for announcements by their hashes: up to 64. */
export function writeHashes(hashes: readonly Uint8Array[]): Uint8Array {
  return concat(...hashes)
}

/**
 * The buckets of which a query of kind 6 asks for the hashes within; `undefined` where it asks for those of all buckets.
 *
 * @throws SubrosaError ERR_MALFORMED
 */
export function readBuckets(cursor: Uint8Array | undefined): readonly number[] | undefined {
  if (cursor?.length === 0) throw malformed('query', 'cursor')
  return cursor === undefined ? undefined : [...cursor]
}

/** The cursor of a query for what is in these buckets: 1 to 16. */
export function writeBuckets(buckets: readonly number[]): Uint8Array {
  return Uint8Array.from(buckets)
}

function pageFields(bytes: Uint8Array): FieldReader {
  const maxBytes = QUERY_OVERHEAD_BYTES + MAX_STATEMENTS_PER_PAGE * MAX_STATEMENT_BYTES
  const body = wireBody(bytes, WireType.page, maxBytes, 'page')
  return unpack(body, 'page', ['nonce', 'kind', 'statements', 'next'])
}

function pageHead(fields: FieldReader): PageHead {
  return { nonce: copy(fields.bytes(NONCE_BYTES)), kind: readKind(fields) }
}

function restOfPage(fields: FieldReader, head: PageHead): Page {
  const page: Page = {
    ...head,
    statements: fields.list(MAX_STATEMENTS_PER_PAGE, (reader) => reader.bytesUpTo(MAX_STATEMENT_BYTES)),
    next: fields.optional((reader) => copy(reader.bytesUpTo(MAX_CURSOR_BYTES[head.kind]))),
  }
  fields.end()
  return page
}

function readKind(fields: FieldReader): QueryKind {
  const value = fields.uint(255)
  const kind = Object.values(QueryKind).find((known) => known === value)
  if (kind === undefined) throw fields.malformed()
  return kind
}

function readPlace(cursor: Uint8Array, start: number): number {
  return Number(new DataView(cursor.buffer, cursor.byteOffset + start).getBigUint64(0))
}
