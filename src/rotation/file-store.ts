import { appendFileSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { SubrosaError } from '../base/errors.ts'
import { lockFile, writeDurably } from '../keys/state-folder.ts'
import { EMPTY_RECORD, type RotationRecord, type RotationStore } from './store.ts'

const FORMAT = 1
/** The record of a replica: software that knows nothing of replicas refuses it, and would fork the realm. */
const SHARED_FORMAT = 2

/**
 * A record in a folder, held by one process at a time. SPEC, "The rotation service".
 *
 * @throws SubrosaError ERR_STATE when another process holds it, or it cannot be used or is damaged
 *
 * @example
 * ```ts
 * const store = fileRotationStore('/var/lib/subrosa')
 * ```
 */
export function fileRotationStore(folder: string): RotationStore {
  const release = lockFolder(folder)
  if (release === undefined) {
    throw new SubrosaError('ERR_STATE', `another rotation service runs on ${folder}`, {
      hint: 'two services on one record would fork the realm: stop the other one first, or give each replica a folder of its own with --state',
    })
  }
  const recordPath = join(folder, 'rotation.json')
  const announcementsPath = join(folder, 'announcements')
  return {
    load: () => readRecord(recordPath),
    save: (record) => writeDurably(recordPath, formatRecord(record)),
    loadAnnouncements: () => readLines(announcementsPath),
    addAnnouncement: (bytes) => appendFileSync(announcementsPath, `${encode(bytes)}\n`, { mode: 0o600 }),
    setAnnouncements: (all) =>
      writeDurably(announcementsPath, all.map((bytes) => `${encode(bytes)}\n`).join('')),
    close: release,
  }
}

function lockFolder(folder: string): (() => void) | undefined {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    return lockFile(join(folder, 'lock'))
  } catch (cause) {
    if (cause instanceof SubrosaError) throw cause
    throw new SubrosaError('ERR_STATE', `cannot use ${folder}`, { cause })
  }
}

function formatRecord({ epochs, revocations, tickedUntil, pending, isShared }: RotationRecord): string {
  return JSON.stringify({
    format: isShared ? SHARED_FORMAT : FORMAT,
    tickedUntil,
    epochs: epochs.map(encode),
    revocations: revocations.map(encode),
    ...(pending && { pending: encode(pending) }),
  })
}

function readRecord(path: string): RotationRecord {
  const text = readText(path)
  if (text === undefined) return EMPTY_RECORD
  try {
    const { format, epochs, revocations, tickedUntil, pending } = JSON.parse(text) as Record<string, unknown>
    if (
      (format === FORMAT || format === SHARED_FORMAT) &&
      Array.isArray(epochs) &&
      Array.isArray(revocations) &&
      typeof tickedUntil === 'number'
    ) {
      return {
        epochs: epochs.map(decode),
        revocations: revocations.map(decode),
        tickedUntil,
        ...(pending !== undefined && { pending: decode(pending) }),
        ...(format === SHARED_FORMAT && { isShared: true }),
      }
    }
  } catch {
    // Reported below, without the text.
  }
  throw new SubrosaError('ERR_STATE', `${path} is damaged`, {
    hint: 'restore it from a backup no older than the newest epoch, or re-anchor the realm with the authority',
  })
}

function readLines(path: string): readonly Uint8Array[] {
  const lines = readText(path)?.split('\n') ?? []
  // The last line is empty, or cut short by a crash.
  return lines.slice(0, -1).map(decode)
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined
    throw new SubrosaError('ERR_STATE', `cannot read ${path}`, { cause })
  }
}

function encode(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}

function decode(text: unknown): Uint8Array {
  if (typeof text !== 'string') throw new TypeError('not a statement')
  return new Uint8Array(Buffer.from(text, 'base64'))
}
