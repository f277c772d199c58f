import { randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { SubrosaError } from '../base/errors.ts'
import type { KeptPlan } from '../keys/plan-book.ts'
import { lockFile } from '../keys/state-folder.ts'
import { StatementFile } from '../keys/statement-file.ts'
import type { RotationStore } from './store.ts'

const LOCK = 'lock'
const PLANS = 'plans'
const REVOCATIONS = 'revocations'
const RECORD_BYTES = 16
const PLAN = /^([1-9]\d{0,15})$/
const COMPLETE = /^([1-9]\d{0,15})\.complete$/

/**
 * A record in a folder, held by one process at a time. It is begun by {@link beginRecord}, and never otherwise: a service
 * without the record that it had has lost what it confirmed. What another record has left in the folder is not believed. SPEC,
 * "The record".
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
  try {
    return openStore(folder, release)
  } catch (error) {
    release()
    throw error
  }
}

function openStore(folder: string, release: () => void): RotationStore {
  const path = join(folder, REVOCATIONS)
  // Without a record nothing that is there is of this one.
  const record = StatementFile.recordOf(path) ?? newRecord()
  const revocations = new StatementFile(path, record)
  const plans = join(folder, PLANS)
  const planFile = (version: number | string): StatementFile =>
    new StatementFile(join(plans, String(version)), record)
  const marker = (version: number): StatementFile => planFile(`${version}.complete`)
  const planOf = (version: number): KeptPlan | undefined => {
    const [plan, ...list] = planFile(version).read() ?? []
    return plan && { plan, list }
  }
  // What a crash takes from it comes again.
  const announcements = new StatementFile(join(folder, 'announcements'), record, { sync: () => {} })
  return {
    load() {
      const held = revocations.read()
      if (held === undefined) return undefined
      const newest = versions(plans, PLAN).find((version) => planOf(version) !== undefined)
      const completeUnder = versions(plans, COMPLETE).find((version) => marker(version).read() !== undefined)
      return {
        revocations: held,
        plan: newest === undefined ? undefined : planOf(newest),
        completeUnder: completeUnder ?? 0,
      }
    },
    append: (added) => revocations.append(added),
    replace: (remaining) => revocations.replace(remaining),
    keepPlan: (version, { plan, list }) => planFile(version).replace([plan, ...list]),
    planOf,
    keepComplete: (version) => marker(version).replace([]),
    loadAnnouncements() {
      try {
        const held = announcements.read()
        if (held !== undefined) return held
      } catch {
        // Damaged: it begins anew.
      }
      announcements.replace([])
      return []
    },
    addAnnouncement: (bytes) => announcements.append([bytes]),
    setAnnouncements: (all) => announcements.replace(all),
    close: release,
  }
}

/**
 * Begins the record of a new rotation service: an empty one, in a folder with nothing in it but what a beginning that was cut short has
 * left. It is for an operator to say that it is
 * new: under a plan that names no former services an empty record counts at once, and a lost one would be forgotten. `subrosa
 * rotator begin` calls it.
 *
 * @throws SubrosaError ERR_STATE when there is anything in the folder, another process holds it, or it cannot be written
 *
 * @example
 * ```ts
 * beginRecord('/var/lib/subrosa')
 * ```
 */
export function beginRecord(folder: string): void {
  const release = lockFolder(folder)
  try {
    if (filesIn(folder).some((file) => !isLeftOver(folder, file))) throw notEmpty(folder)
    // First: what makes it a record brings both to the disk.
    makeFolder(join(folder, PLANS))
    new StatementFile(join(folder, REVOCATIONS), newRecord()).replace([])
  } finally {
    release()
  }
}

function newRecord(): string {
  return randomBytes(RECORD_BYTES).toString('hex')
}

function lockFolder(folder: string): () => void {
  makeFolder(folder)
  let release: (() => void) | undefined
  try {
    release = lockFile(join(folder, LOCK))
  } catch (cause) {
    throw cause instanceof SubrosaError ? cause : unusable(folder, cause)
  }
  if (release === undefined) {
    throw new SubrosaError('ERR_STATE', `another rotation service runs on ${folder}`, {
      hint: 'two services on one record would contradict each other: stop the other one first, or give each its own folder with --state',
    })
  }
  return () => {
    // Once: the number of its file may be another one's by the second time.
    release?.()
    release = undefined
  }
}

function makeFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 })
  } catch (cause) {
    throw unusable(path, cause)
  }
}

/** The versions of which there are such files, the highest one first. */
function versions(plans: string, pattern: RegExp): readonly number[] {
  const found = filesIn(plans).map((file) => Number(pattern.exec(file)?.[1] ?? 0))
  return found.filter((version) => version > 0).sort((a, b) => b - a)
}

function filesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
  } catch (cause) {
    throw unusable(folder, cause)
  }
}

/** Whether it says nothing of a record that was there: a beginning that was cut short leaves no more. */
function isLeftOver(folder: string, file: string): boolean {
  return (
    file === LOCK ||
    file === `${REVOCATIONS}.new` ||
    (file === PLANS && filesIn(join(folder, PLANS)).length === 0)
  )
}

function notEmpty(folder: string): SubrosaError {
  return new SubrosaError('ERR_STATE', `there is something in ${folder} already`, {
    hint: 'start the service with its record: subrosa rotator. A new one begins in an empty folder: name another one with --state. Where a part of the record was lost, replace the service in the plan: subrosa plan replace-rotator',
  })
}

function unusable(path: string, cause: unknown): SubrosaError {
  return new SubrosaError('ERR_STATE', `cannot use ${path}`, { cause })
}
