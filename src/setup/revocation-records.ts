import { join } from 'node:path'
import { SubrosaError } from '../base/errors.ts'
import { engineFor } from '../crypto/engine.ts'
import { Trust } from '../identity/trust.ts'
import { RevocationSet } from '../keys/revocations.ts'
import { listFolder, readFileIfAny } from './files.ts'
import { realmLayout } from './layout.ts'
import type { Realm } from './realm.ts'

const FORMAT = 1
const EXTENSION = '.json'

/** A revocation that the authority signed. Times are milliseconds since 1970. */
export interface RevocationRecord {
  readonly name: string
  readonly identity: string
  readonly since: number
  readonly until: number
  readonly reason: string
  /** The signed statement, as it is published. */
  readonly statement: Uint8Array
  /** The file that holds it. */
  readonly path: string
}

/**
 * The revocations that a realm's folder holds and that are in force at a time.
 *
 * @throws SubrosaError ERR_SETUP when a file is damaged
 */
export async function listRevocations(realm: Realm, nowMs: number): Promise<readonly RevocationRecord[]> {
  const folder = realmLayout(realm.dir).revocations
  const records: RevocationRecord[] = []
  for (const file of await listFolder(folder)) {
    const record = file.endsWith(EXTENSION) ? await readRevocation(join(folder, file)) : undefined
    if (record !== undefined && record.until > nowMs) records.push(record)
  }
  return records
}

/**
 * The same as a set, as an agent would hold it.
 *
 * @throws as {@link listRevocations}
 */
export async function recordedRevocations(realm: Realm, nowMs: number): Promise<RevocationSet> {
  const engine = engineFor()
  const set = new RevocationSet({ engine, trust: new Trust(engine, { authority: realm.authority }) })
  for (const { statement } of await listRevocations(realm, nowMs)) set.take(statement, nowMs)
  return set
}

/** The text of a revocation's file. */
export function formatRevocation(record: RevocationRecord): string {
  const { name, identity, since, until, reason } = record
  const statement = Buffer.from(record.statement).toString('base64')
  return `${JSON.stringify({ format: FORMAT, name, identity, since, until, reason, statement }, null, 2)}\n`
}

/** The revocation in a file, or `undefined` where there is none. @throws SubrosaError ERR_SETUP when it is damaged */
export async function readRevocation(path: string): Promise<RevocationRecord | undefined> {
  const text = await readFileIfAny(path)
  if (text === undefined) return undefined
  const record = parseRevocation(path, text)
  if (record === undefined) throw damaged(path)
  return record
}

/** The error for a file of the realm's folder that does not hold what it should. */
export function damaged(path: string): SubrosaError {
  return new SubrosaError('ERR_SETUP', `${path} is damaged`, { hint: 'restore it from a backup' })
}

function parseRevocation(path: string, text: string): RevocationRecord | undefined {
  try {
    const fields = JSON.parse(text) as Record<string, unknown>
    const { format, name, identity, since, until, reason, statement } = fields
    if (format !== FORMAT || typeof name !== 'string' || typeof identity !== 'string') return undefined
    if (typeof since !== 'number' || typeof until !== 'number' || typeof reason !== 'string') return undefined
    if (typeof statement !== 'string') return undefined
    const bytes = new Uint8Array(Buffer.from(statement, 'base64'))
    return { name, identity, since, until, reason, statement: bytes, path }
  } catch {
    return undefined
  }
}
