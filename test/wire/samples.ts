import { WireType } from '../../src/wire/preamble.ts'
import { packWraps, type SealedContent, type SealedHeader } from '../../src/wire/sealed.ts'
import type { Announcement, Epoch, Order, Revocation, Tick } from '../../src/wire/statements.ts'

const REALM = `A${'B'.repeat(55)}`
const IDENTITY = `U${'C'.repeat(55)}`

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

export function epoch(changes: Partial<Epoch> = {}): Epoch {
  return {
    realm: REALM,
    number: 7,
    prevHash: new Uint8Array(32).fill(1),
    notBefore: 1_800_000_000_000,
    notAfter: 1_800_003_600_000,
    graceMs: 300_000,
    suites: [1],
    revocations: [],
    ...changes,
  }
}

export function tick(changes: Partial<Tick> = {}): Tick {
  return {
    realm: REALM,
    number: 7,
    epochHash: new Uint8Array(32).fill(1),
    revocationsHash: new Uint8Array(32).fill(2),
    now: 1_800_000_000_000,
    nonces: [],
    ...changes,
  }
}

export function revocation(changes: Partial<Revocation> = {}): Revocation {
  return {
    realm: REALM,
    identity: IDENTITY,
    since: 1_800_000_000_000,
    until: 1_900_000_000_000,
    reason: 'lost',
    ...changes,
  }
}

export function order(changes: Partial<Order> = {}): Order {
  return { realm: REALM, number: 7, epochHash: new Uint8Array(32).fill(1), ...changes }
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
    notBefore: 1_800_000_000_000,
    notAfter: 1_800_003_600_000,
    storedMs: 0,
    seq: 1,
    token: 'header.claims.signature',
    ...changes,
  }
}
