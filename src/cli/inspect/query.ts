import { hex } from '../../base/bytes.ts'
import {
  decodeQuery,
  QueryKind,
  readBuckets,
  readCursor,
  readHashes,
  readPlanCursor,
} from '../../wire/queries.ts'
import type { Anatomy, Shown } from './anatomy.ts'

/**
 * What a query asks for.
 *
 * @param nested takes the statement apart that a query hands over
 * @throws SubrosaError ERR_MALFORMED
 */
export function dissectQuery(bytes: Uint8Array, nested: (statement: Uint8Array) => Anatomy): Anatomy {
  const { nonce, kind, cursor } = decodeQuery(bytes)
  return { kind: kindName(kind), nonce: hex(nonce), ...cursorAnatomy(kind, cursor, nested) }
}

/** A kind of query, by its number and what it is called. */
export function kindName(kind: QueryKind): string {
  const name = Object.entries(QueryKind).find(([, value]) => value === kind)?.[0] ?? ''
  return `${kind} (${name})`
}

/** Where the next page begins, of a query of this kind. @throws SubrosaError ERR_MALFORMED */
export function placeShown(kind: QueryKind, cursor: Uint8Array): Shown {
  if (kind !== QueryKind.plan) return readCursor(cursor)
  const { version, place } = readPlanCursor(cursor)
  return `plan ${version ?? 'the newest'}, place ${place} of its list`
}

function cursorAnatomy(
  kind: QueryKind,
  cursor: Uint8Array | undefined,
  nested: (statement: Uint8Array) => Anatomy,
): Anatomy {
  switch (kind) {
    case QueryKind.tick:
      return {}
    case QueryKind.byHash:
      return { hashes: readHashes(cursor).map(hex) }
    case QueryKind.buckets: {
      const buckets = readBuckets(cursor)
      return buckets === undefined ? { asks: 'the hashes of all buckets' } : { buckets }
    }
    case QueryKind.handOver:
      return { handsOver: cursor === undefined ? 'nothing' : nested(cursor) }
    default:
      return { from: cursor === undefined ? 'the beginning' : placeShown(kind, cursor) }
  }
}
