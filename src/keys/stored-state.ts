import { MAX_STATE_BYTES, MAX_STATE_REVOCATION_BYTES } from '../base/limits.ts'
import { isAgentName } from '../identity/token.ts'
import { isObject } from '../json/objects.ts'
import { decodePlan, decodeSignedPlan } from '../wire/plans.ts'
import type { NameOwner } from './name-owners.ts'
import type { KeptPlan } from './plan-book.ts'
import type { FormerInstance } from './state.ts'

const FORMAT = 2
const END = ']}'
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/
const INSTANCE = /^[0-9a-f]{16}$/

/** What the file of one slot says. */
export interface StoredState {
  readonly plan: KeptPlan | undefined
  readonly instances: readonly FormerInstance[]
  readonly owners: ReadonlyMap<string, NameOwner>
  /** Wire messages, the most important first. Those beside the plan may be among them. */
  readonly revocations: readonly Uint8Array[]
}

/** A state as text, and what of it found no room there. */
export interface FormattedState {
  readonly text: string
  readonly revocationsLeftOut: number
  readonly ownersLeftOut: number
}

/**
 * Writes a state as JSON of at most {@link MAX_STATE_BYTES}: the plan with its list as a whole, then revocations in their order as
 * far as {@link MAX_STATE_REVOCATION_BYTES}, then owners.
 *
 * @returns `undefined` where not even the plan has room
 */
export function formatState({
  plan,
  instances,
  owners,
  revocations,
}: StoredState): FormattedState | undefined {
  const beside = plan?.list.map(toBase64)
  const planText = JSON.stringify(plan === undefined ? null : { wire: toBase64(plan.plan), list: beside })
  const isBeside = new Set(beside)
  const others = revocations.map(toBase64).filter((text) => !isBeside.has(text))
  const kept = fitting(others, MAX_STATE_REVOCATION_BYTES - planText.length)
  const head = [
    `{"format":${FORMAT}`,
    `"plan":${planText}`,
    `"instances":${JSON.stringify(instances)}`,
    `"revocations":[${kept.join()}]`,
    '"owners":[',
  ].join()
  const rows = [...owners].map(ownerRow)
  const keptRows = fitting(rows, MAX_STATE_BYTES - head.length - END.length)
  const text = `${head}${keptRows.join()}${END}`
  if (text.length > MAX_STATE_BYTES) return undefined
  return {
    text,
    revocationsLeftOut: others.length - kept.length,
    ownersLeftOut: rows.length - keptRows.length,
  }
}

/** Reads what {@link formatState} has written. @returns `undefined` for anything else */
export function parseState(text: string): StoredState | undefined {
  try {
    const parsed: unknown = JSON.parse(text)
    if (!isObject(parsed) || parsed['format'] !== FORMAT) return undefined
    const { instances } = parsed
    if (!Array.isArray(instances) || !instances.every(isFormer)) return undefined
    const owners = parseOwners(parsed['owners'])
    const revocations = parseWires(parsed['revocations'])
    if (owners === undefined || revocations === undefined) return undefined
    const plan = parsed['plan'] === null ? undefined : parsePlan(parsed['plan'])
    if (plan === undefined && parsed['plan'] !== null) return undefined
    return { plan, instances, owners, revocations }
  } catch {
    return undefined
  }
}

/** The version of a plan that was kept. @throws SubrosaError ERR_MALFORMED, ERR_PLAN_INVALID */
export function versionOf({ plan }: KeptPlan): number {
  return decodePlan(decodeSignedPlan(plan).structure).version
}

/** Values as JSON, as many from the first one on as have room with a comma after each. All of it is ASCII. */
function fitting(values: readonly unknown[], maxLength: number): readonly string[] {
  const texts: string[] = []
  let length = 0
  for (const value of values) {
    const text = JSON.stringify(value)
    length += text.length + 1
    if (length > maxLength) break
    texts.push(text)
  }
  return texts
}

function ownerRow([name, owner]: readonly [string, NameOwner]): readonly unknown[] {
  const { identity, since, issuedAt, isRotator, isOver, former } = owner
  return [name, identity, since, issuedAt, isRotator, isOver, former]
}

function parseOwners(rows: unknown): ReadonlyMap<string, NameOwner> | undefined {
  if (!Array.isArray(rows)) return undefined
  const owners = new Map<string, NameOwner>()
  for (const row of rows) {
    const [name, identity, since, issuedAt, isRotator, isOver, former] = Array.isArray(row) ? row : []
    if (typeof name !== 'string' || !isAgentName(name) || typeof identity !== 'string') return undefined
    if (![since, issuedAt].every(Number.isSafeInteger)) return undefined
    if (typeof isRotator !== 'boolean' || typeof isOver !== 'boolean') return undefined
    if (!Array.isArray(former) || !former.every((other) => typeof other === 'string')) return undefined
    owners.set(name, { identity, since, issuedAt, isRotator, isOver, former })
  }
  return owners
}

function parsePlan(fields: unknown): KeptPlan | undefined {
  if (!isObject(fields)) return undefined
  const [plan] = parseWires([fields['wire']]) ?? []
  const list = parseWires(fields['list'])
  if (plan === undefined || list === undefined) return undefined
  // One that has no version would be no guard.
  versionOf({ plan, list })
  return { plan, list }
}

function parseWires(texts: unknown): readonly Uint8Array[] | undefined {
  if (!Array.isArray(texts)) return undefined
  if (!texts.every((text) => typeof text === 'string' && BASE64.test(text))) return undefined
  return texts.map((text: string) => new Uint8Array(Buffer.from(text, 'base64')))
}

function isFormer(value: unknown): value is FormerInstance {
  return isObject(value) && typeof value['instance'] === 'string' && INSTANCE.test(value['instance'])
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64')
}
