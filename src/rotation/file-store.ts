import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { SubrosaError } from '../base/errors.ts'
import type { KeptPlan } from '../keys/plan-book.ts'
import { lockFile, writeDurably } from '../keys/state-folder.ts'
import { StatementFile } from './statement-file.ts'
import type { RotationStore } from './store.ts'

const PLAN = /^([1-9]\d{0,15})$/
const COMPLETE = /^([1-9]\d{0,15})\.complete$/

/**
 * A record in a folder, held by one process at a time. It is begun by {@link beginRecord}, and never otherwise: a service
 * without the record that it had has lost what it confirmed. SPEC, "The record".
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
  const revocations = recordOf(folder)
  const plans = join(folder, 'plans')
  const planPath = (version: number): string => join(plans, String(version))
  // What a crash takes from it comes again.
  const announcements = new StatementFile(join(folder, 'announcements'), () => {})
  return {
    load() {
      const held = revocations.read()
      if (held === undefined) return undefined
      const newest = highest(plans, PLAN)
      const plan = newest === 0 ? undefined : readPlan(planPath(newest))
      return { revocations: held, plan, completeUnder: highest(plans, COMPLETE) }
    },
    append: (added) => revocations.append(added),
    replace: (remaining) => revocations.replace(remaining),
    keepPlan(version, { plan, list }) {
      makeFolder(plans)
      new StatementFile(planPath(version)).replace([plan, ...list])
    },
    planOf: (version) => readPlan(planPath(version)),
    keepComplete: (version) => writeDurably(`${planPath(version)}.complete`, ''),
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
 * Begins the record of a new rotation service: an empty one. It is for an operator to say that it is new: under a plan that names
 * no former services an empty record counts at once, and a lost one would be forgotten. `subrosa rotator begin` calls it.
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
    recordOf(folder).begin()
  } finally {
    release()
  }
}

function recordOf(folder: string): StatementFile {
  return new StatementFile(join(folder, 'revocations'))
}

function lockFolder(folder: string): () => void {
  makeFolder(folder)
  let release: (() => void) | undefined
  try {
    release = lockFile(join(folder, 'lock'))
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

/** The highest version of which there is such a file; 0 where there is none. */
function highest(plans: string, pattern: RegExp): number {
  makeFolder(plans)
  return Math.max(0, ...readdirSync(plans).map((file) => Number(pattern.exec(file)?.[1] ?? 0)))
}

function readPlan(path: string): KeptPlan | undefined {
  const [plan, ...list] = new StatementFile(path).read() ?? []
  return plan && { plan, list }
}

function unusable(path: string, cause: unknown): SubrosaError {
  return new SubrosaError('ERR_STATE', `cannot use ${path}`, { cause })
}
