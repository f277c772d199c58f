import { samePublic } from '../base/bytes.ts'
import { SubrosaError } from '../base/errors.ts'
import { engineFor } from '../crypto/engine.ts'
import { Trust } from '../identity/trust.ts'
import { isObject } from '../json/objects.ts'
import { parseStrictJson } from '../json/strict.ts'
import { type HeldPlan, listHash, verifyPlan } from '../keys/plan.ts'
import type { KeptPlan } from '../keys/plan-book.ts'
import { listFolder, readFileIfAny } from './files.ts'
import { planPath, realmLayout } from './layout.ts'
import type { Realm } from './realm.ts'
import { damaged } from './revocation-records.ts'

const FORMAT = 1
const FILE = /^([1-9]\d{0,15})\.json$/

/** A plan in a realm's folder. */
export interface PlanRecord {
  readonly plan: HeldPlan
  /** The plan and its list of revocations, as they travel. */
  readonly kept: KeptPlan
  /** The file that holds it. */
  readonly path: string
}

/**
 * The newest plan of a realm's folder, or `undefined` where there is none: then somebody has installed an agent with a
 * bundle from before the realm had one, or the folder was never finished.
 *
 * @throws SubrosaError ERR_SETUP when its file is damaged
 */
export async function findPlan(realm: Realm): Promise<PlanRecord | undefined> {
  const versions = (await listFolder(realmLayout(realm.dir).plans)).flatMap(
    (file) => FILE.exec(file)?.[1] ?? [],
  )
  if (versions.length === 0) return undefined
  const version = Math.max(...versions.map(Number))
  const path = planPath(realm.dir, version)
  const text = await readFileIfAny(path)
  const kept = text === undefined ? undefined : parsePlan(text)
  if (kept === undefined) throw damaged(path)
  const plan = verifyKeptPlan(realm.authority, kept, path)
  if (plan.version !== version) throw damaged(path)
  return { plan, kept, path }
}

/**
 * The newest plan of a realm's folder.
 *
 * @throws SubrosaError ERR_SETUP when there is none, or its file is damaged
 */
export async function newestPlan(realm: Realm): Promise<PlanRecord> {
  const found = await findPlan(realm)
  if (found !== undefined) return found
  throw new SubrosaError('ERR_SETUP', `there is no plan in ${realmLayout(realm.dir).plans}`, {
    hint: 'restore the folder from a backup; if subrosa init was interrupted, remove the folder and make the realm again',
  })
}

/** The text of a plan's file. */
export function formatPlan(kept: KeptPlan): string {
  return `${JSON.stringify({ format: FORMAT, ...formatKeptPlan(kept) }, null, 2)}\n`
}

/** A plan with its list as members of a JSON object. */
export function formatKeptPlan({ plan, list }: KeptPlan): {
  readonly plan: string
  readonly list: readonly string[]
} {
  return { plan: base64(plan), list: list.map(base64) }
}

/** Reads {@link formatKeptPlan}. @returns `undefined` for anything else */
export function parseKeptPlan(fields: unknown): KeptPlan | undefined {
  if (!isObject(fields)) return undefined
  const { plan, list } = fields
  if (typeof plan !== 'string' || !Array.isArray(list) || !list.every(isText)) return undefined
  return { plan: bytesOf(plan), list: list.map(bytesOf) }
}

/**
 * Verifies a plan that comes from a file: an authority must have signed it, and its list be whole. No clock is asked: whether
 * it has expired is for whoever acts on it.
 *
 * @param source what messages call the file
 * @throws SubrosaError ERR_PLAN_INVALID
 */
export function verifyKeptPlan(
  authority: readonly string[],
  { plan, list }: KeptPlan,
  source: string,
): HeldPlan {
  const engine = engineFor()
  const hint = 'restore the file from a backup, or ask whoever runs the realm for a new one'
  try {
    const held = verifyPlan(
      { engine, trust: new Trust(engine, { authority }) },
      plan,
      Number.MAX_SAFE_INTEGER,
    )
    if (samePublic(listHash(engine, list), held.revocationsHash)) return held
  } catch (error) {
    if (!(error instanceof SubrosaError)) throw error
    throw new SubrosaError('ERR_PLAN_INVALID', `the plan in ${source} does not hold: ${error.message}`, {
      hint,
    })
  }
  throw new SubrosaError('ERR_PLAN_INVALID', `the list of revocations in ${source} is not that of its plan`, {
    hint,
  })
}

function parsePlan(text: string): KeptPlan | undefined {
  const fields = parseStrictJson(text)
  return isObject(fields) && fields['format'] === FORMAT ? parseKeptPlan(fields) : undefined
}

function isText(value: unknown): value is string {
  return typeof value === 'string'
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}

function bytesOf(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'base64'))
}
