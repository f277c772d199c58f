import { type CryptoEngine, engineFor } from '../../../dist/crypto/engine.js'
import {
  encodeIdentityFile,
  generateIdentityKey,
  type Identity,
  parseIdentityFile,
} from '../../../dist/identity/identity.js'
import { generateSigningKey } from '../../../dist/identity/signing-key.js'
import { issueToken } from '../../../dist/identity/token.js'
import { Trust } from '../../../dist/identity/trust.js'
import { deriveEpoch, numberAt } from '../../../dist/keys/epochs.js'
import { Keyring } from '../../../dist/keys/keyring.js'
import { listHash, signPlan } from '../../../dist/keys/plan.js'
import type { KeptPlan } from '../../../dist/keys/plan-book.js'
import { signRevocation } from '../../../dist/keys/revocations.js'
import { firstSchedule } from '../../../dist/keys/schedules.js'
import { type ProtocolSubjects, protocolSubjects } from '../../../dist/keys/subjects.js'
import { WireType, wireType } from '../../../dist/wire/preamble.js'
import { INSTANCE_BYTES } from '../../../dist/wire/statements.js'
import { verifyingOnce } from './verdicts.ts'

/** The subject that every agent may read. */
export const SUBJECT = 'freshness.all'

const MINUTE_MS = 60_000
const DAY_MS = 24 * 60 * MINUTE_MS
const NOT_ALLOWED = { allow: [], deny: [] }

/** A realm under an authority, with its first plan: nobody is in it yet. */
export interface Realm {
  /** Of all agents: see {@link verifyingOnce}. */
  readonly engine: CryptoEngine
  /** Of all agents: a token that one of them has verified is known to the others. */
  readonly trust: Trust
  readonly subjects: ProtocolSubjects
  readonly plan: KeptPlan
  /** How many rotation services must answer. */
  readonly threshold: number
  readonly rotators: readonly Identity[]
  identity(name: string): Identity
  /** What an instance of this identity announces that does nothing else, for the epoch of this time. */
  announced(identity: Identity, nowMs: number): { readonly subject: string; readonly bytes: Uint8Array }
  /** The authority revokes an identity from now on. */
  revoke(identity: Identity, nowMs: number): Uint8Array
  /** As what a message of the protocol is counted. */
  kindOf(subject: string, payload: Uint8Array): Kind
}

/** What messages of the protocol are for, as far as they are told apart here. */
export type Kind = 'pings' | 'answers' | 'broadcasts' | 'revocations' | 'directory' | 'others'

/** Makes a realm with so many rotation services, of which more than half must answer, and epochs as they are by default. */
export function makeRealm(services: number, nowMs: number): Realm {
  const engine = verifyingOnce(engineFor())
  const { key: authority } = generateSigningKey(engine, 'A')
  const subjects = protocolSubjects(engine, authority.publicKey)
  const issuedAtMs = nowMs - MINUTE_MS

  const identity = (name: string, mayAll = true): Identity => {
    const { seed, publicKey } = generateIdentityKey(engine)
    const allowed = mayAll ? { allow: [SUBJECT], deny: [] } : NOT_ALLOWED
    const token = issueToken(
      engine,
      {
        realm: authority.publicKey,
        name,
        identity: publicKey,
        roles: [],
        permissions: { pub: allowed, sub: allowed },
        plan: 1,
        expiresAtMs: nowMs + DAY_MS,
      },
      { signer: authority, issuedAtMs },
    )
    return parseIdentityFile(engine, encodeIdentityFile(token, seed))
  }

  const rotators = Array.from({ length: services }, (_, i) => identity(`rotator-${i + 1}`, false))
  const threshold = Math.floor(services / 2) + 1
  const terms = { realm: authority.publicKey, schedules: [firstSchedule(engine, nowMs, {})] }
  const plan = signPlan(authority, {
    ...terms,
    version: 1,
    made: nowMs,
    until: nowMs + 90 * DAY_MS,
    rotators: rotators.map(({ publicKey }) => publicKey).sort(),
    threshold,
    former: undefined,
    revocationsHash: listHash(engine, []),
  })
  return {
    engine,
    trust: new Trust(engine, { authority: [authority.publicKey] }),
    subjects,
    plan: { plan, list: [] },
    threshold,
    rotators,
    identity: (name) => identity(name),
    announced(of, at) {
      const keyring = new Keyring(engine, of, engine.randomBytes(INSTANCE_BYTES))
      const epoch = deriveEpoch(engine, terms, numberAt(terms, at))
      const { bytes } = keyring.announce(epoch, { notBeforeMs: at, lateMs: 0 })
      return { subject: subjects.announce(of.name, keyring.instance), bytes }
    },
    revoke: (revoked, at) =>
      signRevocation(authority, {
        realm: authority.publicKey,
        identity: revoked.publicKey,
        since: at,
        until: at + DAY_MS,
        reason: 'lost',
        past: 0,
      }),
    kindOf: (subject, payload) => kindOf(subject.slice(subjects.root.length + 1), payload),
  }
}

/** @param place below the root of the protocol's subjects */
function kindOf(place: string, payload: Uint8Array): Kind {
  const [room] = place.split('.', 1)
  switch (room) {
    case 'ping':
      return 'pings'
    case 'tick':
      return 'broadcasts'
    case 'revoke':
      return 'revocations'
    case 'announce':
    case 'query':
      return 'directory'
    case 'inbox':
      return wireType(payload) === WireType.tick ? 'answers' : 'directory'
    default:
      return 'others'
  }
}
