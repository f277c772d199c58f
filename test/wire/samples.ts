import { type EpochTerms, encodeEpoch, type Notice, type Plan, type Schedule } from '../../src/wire/plans.ts'
import { WireType } from '../../src/wire/preamble.ts'
import { packWraps, type SealedContent, type SealedHeader } from '../../src/wire/sealed.ts'
import type { Announcement, Order, Revocation } from '../../src/wire/statements.ts'
import type { Tick } from '../../src/wire/ticks.ts'

const REALM = `A${'B'.repeat(55)}`
const IDENTITY = `U${'C'.repeat(55)}`
const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE
/** When samples take place. */
export const T0 = 1_800_000_000_000

/** So many keys in ascending order, as text that looks like public keys. */
export function rotators(count: number): readonly string[] {
  return Array.from({ length: count }, (_, i) => `U${String.fromCharCode(65 + i).repeat(55)}`)
}

/** A header whose recipients and bytes are all different, changed by `changes`. */
export function header(changes: Partial<SealedHeader> & { readonly recipients?: number } = {}): SealedHeader {
  const { recipients = 1, ...fields } = changes
  const wraps = Array.from({ length: recipients }, (_, i) => ({
    kid: new Uint8Array(16).fill(i + 1),
    wrap: new Uint8Array(48).fill(i + 101),
  }))
  return {
    type: WireType.sealed,
    suite: 1,
    epoch: 7,
    mid: new Uint8Array(16).fill(3),
    enc: new Uint8Array(32).fill(4),
    packedWraps: packWraps(wraps),
    ...fields,
  }
}

export function content(changes: Partial<SealedContent> = {}): SealedContent {
  return {
    sender: new Uint8Array(32).fill(6),
    seq: 1,
    subject: 'orders.new',
    reply: undefined,
    inReplyTo: undefined,
    ttlMs: 0,
    headers: [],
    clearHeaders: [],
    payload: new Uint8Array(20).fill(8),
    ...changes,
  }
}

export function schedule(changes: Partial<Schedule> = {}): Schedule {
  return {
    first: 1,
    originMs: T0,
    periodMs: 55 * MINUTE,
    leadMs: 5 * MINUTE,
    graceMs: 5 * MINUTE,
    suites: [1],
    salt: new Uint8Array(16).fill(9),
    ...changes,
  }
}

/** One that begins with the epoch of this number of {@link schedule}, and has other times. */
export function laterSchedule(first: number, changes: Partial<Schedule> = {}): Schedule {
  const { originMs, periodMs } = schedule()
  const times = { periodMs: 20 * MINUTE, leadMs: MINUTE, graceMs: MINUTE }
  return schedule({ first, originMs: originMs + (first - 1) * periodMs, ...times, ...changes })
}

export function plan(changes: Partial<Plan> = {}): Plan {
  return {
    realm: REALM,
    version: 1,
    made: T0 - MINUTE,
    until: T0 + 90 * DAY,
    rotators: rotators(1),
    threshold: 1,
    former: undefined,
    schedules: [schedule()],
    revocationsHash: new Uint8Array(32).fill(8),
    ...changes,
  }
}

export function epoch(changes: Partial<EpochTerms> = {}): EpochTerms {
  return {
    realm: REALM,
    number: 7,
    notBefore: T0,
    notAfter: T0 + 60 * MINUTE,
    graceMs: 5 * MINUTE,
    suites: [1],
    salt: new Uint8Array(16).fill(9),
    ...changes,
  }
}

export function notice(changes: Partial<Notice> = {}): Notice {
  return { epoch: encodeEpoch(epoch()), planVersion: 3, rotator: IDENTITY, ...changes }
}

export function tick(changes: Partial<Tick> = {}): Tick {
  return {
    realm: REALM,
    planVersion: 3,
    rotator: IDENTITY,
    standing: 1,
    process: new Uint8Array(8).fill(1),
    now: T0,
    revocationsHash: new Uint8Array(32).fill(2),
    directoryRoot: new Uint8Array(32).fill(3),
    storageRoot: new Uint8Array(32),
    leaves: 5,
    nonceRoot: new Uint8Array(32).fill(4),
    ...changes,
  }
}

export function revocation(changes: Partial<Revocation> = {}): Revocation {
  return {
    realm: REALM,
    identity: IDENTITY,
    since: T0,
    until: T0 + 30 * DAY,
    reason: 'lost',
    past: 0,
    ...changes,
  }
}

export function order(changes: Partial<Order> = {}): Order {
  return { realm: REALM, number: 7, epochHash: new Uint8Array(32).fill(1), at: T0, ...changes }
}

export function announcement(changes: Partial<Announcement> = {}): Announcement {
  return {
    realm: REALM,
    agent: 'billing',
    instance: new Uint8Array(8).fill(1),
    epoch: 7,
    epochHash: new Uint8Array(32).fill(2),
    identity: IDENTITY,
    messageKey: new Uint8Array(32).fill(3),
    keys: [{ suite: 1, use: 0, publicKey: new Uint8Array(32).fill(4) }],
    notBefore: T0,
    notAfter: T0 + 60 * MINUTE,
    storedMs: 0,
    seq: 1,
    token: 'header.claims.signature',
    ...changes,
  }
}
