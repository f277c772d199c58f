import { appendFileSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { SubrosaError } from '../base/errors.ts'
import type { KeptPlan } from '../keys/plan-book.ts'
import { lockFile, writeDurably } from '../keys/state-folder.ts'
import { StatementFile } from './statement-file.ts'
import type { RotationRecord, RotationStore } from './store.ts'

const FORMAT = 1
const PLAN_FILE = /^([1-9]\d{0,15})\.json$/

/**
 * A record in a folder, held by one process at a time. It is begun by {@link beginRecord}, and never otherwise: a service
 * without the record that it had has lost what it confirmed. SPEC, "The rotation service".
 *
 * @throws SubrosaError ERR_STATE when another process holds it, or the folder cannot be used
 *
 * @example
 * ```ts
 * const store = fileRotationStore('/var/lib/subrosa')
 * ```
 */
export function fileRotationStore(folder: string): RotationStore {
  const release = lockFolder(folder)
  const revocations = new StatementFile(recordPath(folder))
  const plansPath = join(folder, 'plans')
  const planPath = (version: number): string => join(plansPath, `${version}.json`)
  const completePath = join(folder, 'complete.json')
  const announcementsPath = join(folder, 'announcements')
  return {
    load(): RotationRecord | undefined {
      const held = revocations.read()
      if (held === undefined) return undefined
      const newest = newestOf(plansPath)
      const plan = newest === undefined ? undefined : readPlan(planPath(newest))
      return { revocations: held, plan, completeUnder: readComplete(completePath) }
    },
    append: (added) => revocations.append(added),
    replace: (remaining) => revocations.replace(remaining),
    keepPlan(version, { plan, list }) {
      makeFolder(plansPath)
      const text = JSON.stringify({ format: FORMAT, plan: encode(plan), list: list.map(encode) })
      writeDurably(planPath(version), text)
    },
    planOf: (version) => readPlan(planPath(version)),
    keepComplete: (version) => writeDurably(completePath, JSON.stringify({ format: FORMAT, version })),
    loadAnnouncements: () => readLines(announcementsPath),
    addAnnouncement: (bytes) => appendFileSync(announcementsPath, `${encode(bytes)}\n`, { mode: 0o600 }),
    setAnnouncements: (all) =>
      writeDurably(announcementsPath, all.map((bytes) => `${encode(bytes)}\n`).join('')),
    close: release,
  }
}

/**
 * Begins the record of a rotation service that has never run: an empty one. It is for an operator to say that, since a
 * service that had a record and has lost it must not begin again under the same plan. `subrosa rotator begin` calls it.
 *
 * @throws SubrosaError ERR_STATE when there is a record, another process holds the folder, or it cannot be written
 *
 * @example
 * ```ts
 * beginRecord('/var/lib/subrosa')
 * ```
 */
export function beginRecord(folder: string): void {
  const release = lockFolder(folder)
  try {
    new StatementFile(recordPath(folder)).begin()
  } finally {
    release()
  }
}

function recordPath(folder: string): string {
  return join(folder, 'revocations')
}

function lockFolder(folder: string): () => void {
  makeFolder(folder)
  let release: (() => void) | undefined
  try {
    release = lockFile(join(folder, 'lock'))
  } catch (cause) {
    throw cause instanceof SubrosaError
      ? cause
      : new SubrosaError('ERR_STATE', `cannot use ${folder}`, { cause })
  }
  if (release !== undefined) {
    return () => {
      // Once: the number of its file may be another one's by the second time.
      release?.()
      release = undefined
    }
  }
  throw new SubrosaError('ERR_STATE', `another rotation service runs on ${folder}`, {
    hint: 'two services on one record would contradict each other: stop the other one first, or give each its own folder with --state',
  })
}

function makeFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 })
  } catch (cause) {
    throw new SubrosaError('ERR_STATE', `cannot use ${path}`, { cause })
  }
}

function newestOf(plansPath: string): number | undefined {
  makeFolder(plansPath)
  const versions = readdirSync(plansPath).flatMap((file) => PLAN_FILE.exec(file)?.[1] ?? [])
  return versions.length === 0 ? undefined : Math.max(...versions.map(Number))
}

function readPlan(path: string): KeptPlan | undefined {
  const text = readText(path)
  if (text === undefined) return undefined
  const { plan, list } = parse(path, text)
  if (!Array.isArray(list)) throw damaged(path)
  return { plan: decode(path, plan), list: list.map((one) => decode(path, one)) }
}

function readComplete(path: string): number {
  const text = readText(path)
  if (text === undefined) return 0
  const { version } = parse(path, text)
  if (typeof version !== 'number') throw damaged(path)
  return version
}

function parse(path: string, text: string): { readonly [field: string]: unknown } {
  try {
    const parsed: unknown = JSON.parse(text)
    if (typeof parsed === 'object' && parsed !== null && 'format' in parsed && parsed.format === FORMAT)
      return { ...parsed }
  } catch {
    // Reported below, without the text.
  }
  throw damaged(path)
}

function damaged(path: string): SubrosaError {
  return new SubrosaError('ERR_STATE', `${path} is damaged`, {
    hint: 'the record is lost: give the realm a plan with another rotation service in its place: subrosa plan replace-rotator',
  })
}

function readLines(path: string): readonly Uint8Array[] {
  const lines = readText(path)?.split('\n') ?? []
  // The last line is empty, or cut short by a crash.
  return lines.slice(0, -1).map((line) => decode(path, line))
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

function decode(path: string, text: unknown): Uint8Array {
  if (typeof text !== 'string') throw damaged(path)
  return new Uint8Array(Buffer.from(text, 'base64'))
}
