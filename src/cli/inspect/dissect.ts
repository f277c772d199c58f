import { hex } from '../../base/bytes.ts'
import { SubrosaError } from '../../base/errors.ts'
import type { CryptoEngine } from '../../crypto/engine.ts'
import { KeyUse, keyId } from '../../envelope/keys.ts'
import { parseAnnouncement } from '../../keys/announcements.ts'
import { readNotice } from '../../keys/notices.ts'
import { readTick } from '../../keys/ticks.ts'
import { decodeSessionRequest } from '../../wire/handshake.ts'
import { malformed } from '../../wire/msgpack.ts'
import { decodePlan, decodeSignedPlan } from '../../wire/plans.ts'
import { WireType, wireType } from '../../wire/preamble.ts'
import { decodePage, QueryKind } from '../../wire/queries.ts'
import {
  decodeOrder,
  decodeRevocation,
  decodeStatement,
  type SignedStatement,
} from '../../wire/statements.ts'
import { whenShown } from '../terminal/times.ts'
import type { Anatomy } from './anatomy.ts'
import type { Judge, Verdict } from './judge.ts'
import { notSubrosa, readType } from './message-type.ts'
import { epochAnatomy, planAnatomy } from './plan.ts'
import { dissectQuery, kindName, placeShown } from './query.ts'
import { dissectSealed } from './sealed.ts'
import { dissectFrame, dissectRefusal } from './session.ts'
import { dissectToken } from './token.ts'

/** What a message is taken apart with. */
export interface Around {
  readonly engine: CryptoEngine
  /** Verifies signatures, where somebody says whom to trust. */
  readonly judge: Judge | undefined
}

/** A message in parts, and what is wrong with them. */
export interface Dissection {
  readonly anatomy: Anatomy
  /** Statements inside of the message that are malformed, and what was verified and does not hold. */
  readonly faults: readonly SubrosaError[]
}

const NAMES: Readonly<Record<number, string>> = {
  [WireType.sealed]: 'sealed message',
  [WireType.handshake]: 'handshake',
  [WireType.frame]: 'frame',
  [WireType.notice]: 'notice of an epoch',
  [WireType.tick]: 'tick',
  [WireType.revocation]: 'revocation',
  [WireType.announcement]: 'announcement',
  [WireType.query]: 'query',
  [WireType.page]: 'page',
  [WireType.sessionRequest]: 'session request',
  [WireType.order]: 'order for fresh keys',
  [WireType.plan]: 'plan',
  [WireType.refusal]: 'refusal of a session',
}

/** What pages bring, and what queries hand over. */
const STATEMENTS = [WireType.plan, WireType.revocation, WireType.announcement]

const NOT_VERIFIED: Anatomy = {
  verified: false,
  verification: 'NOT verified: nothing says whom to trust (--authority, --realm or --pins)',
}

/**
 * Says what a captured message is, without any key.
 *
 * @throws SubrosaError ERR_MALFORMED that says which part does not follow the format
 */
export function dissect(around: Around, bytes: Uint8Array): Dissection {
  const faults: SubrosaError[] = []
  return { anatomy: new Dissector(around, faults).message(bytes), faults }
}

class Dissector {
  readonly #around: Around
  readonly #faults: SubrosaError[]

  constructor(around: Around, faults: SubrosaError[]) {
    this.#around = around
    this.#faults = faults
  }

  message(bytes: Uint8Array): Anatomy {
    const type = readType(bytes)
    const head = { type: NAMES[type] ?? String(type), version: bytes[1], bytes: bytes.length }
    switch (type) {
      case WireType.sealed:
      case WireType.handshake:
        return { ...head, ...dissectSealed(bytes) }
      case WireType.notice:
        return { ...head, ...this.#notice(bytes) }
      case WireType.plan:
        return { ...head, ...this.#plan(bytes) }
      case WireType.tick:
        return { ...head, ...this.#tick(bytes) }
      case WireType.revocation:
        return { ...head, ...this.#revocation(bytes) }
      case WireType.announcement:
        return { ...head, ...this.#announcement(bytes) }
      case WireType.order:
        return { ...head, ...this.#order(bytes) }
      case WireType.query:
        return { ...head, ...dissectQuery(bytes, (statement) => this.#nested(statement, STATEMENTS)) }
      case WireType.page:
        return { ...head, ...this.#page(bytes) }
      case WireType.frame:
        return { ...head, ...dissectFrame(bytes) }
      case WireType.sessionRequest:
        return { ...head, session: hex(decodeSessionRequest(bytes)) }
      case WireType.refusal:
        return { ...head, ...dissectRefusal(bytes) }
      default:
        throw notSubrosa(`its type ${type} is not known here`)
    }
  }

  #notice(bytes: Uint8Array): Anatomy {
    const parsed = readNotice(this.#around.engine, bytes)
    const { notice, terms, epochHash, signed } = parsed
    return {
      ...this.#verdict(this.#around.judge?.notice(parsed)),
      ...epochAnatomy(terms, epochHash),
      planVersion: notice.planVersion,
      rotator: notice.rotator,
      signature: hex(signed.signature),
    }
  }

  #plan(bytes: Uint8Array): Anatomy {
    const signed = decodeSignedPlan(bytes)
    const plan = decodePlan(signed.structure)
    return {
      ...this.#verdict(this.#around.judge?.plan(bytes, plan)),
      ...planAnatomy(plan),
      hash: this.#hash(signed),
      signature: hex(signed.signature),
      signedBy: 'an authority, it says',
    }
  }

  #tick(bytes: Uint8Array): Anatomy {
    const parsed = readTick(this.#around.engine, bytes)
    const { tick, signed } = parsed
    const { realm, planVersion, rotator, standing, process, now, revocationsHash } = tick
    const { directoryRoot, storageRoot, leaves, nonceRoot } = tick
    return {
      ...this.#verdict(this.#around.judge?.tick(parsed)),
      realm,
      planVersion,
      rotator,
      standing: standing === 1 ? '1: it counts' : '0: it hands over what it holds, and does not count',
      process: hex(process),
      now: whenShown(now),
      revocationsHash: hex(revocationsHash),
      directoryRoot: hex(directoryRoot),
      storageRoot: hex(storageRoot),
      answers: leaves === 0 ? 'nobody: a broadcast, which makes nobody fresh' : `${leaves} questions`,
      nonceRoot: hex(nonceRoot),
      ...(signed.nonce !== undefined && { nonce: hex(signed.nonce) }),
      ...(signed.index !== undefined && { place: signed.index }),
      ...(signed.path !== undefined && { path: hex(signed.path) }),
      signature: hex(signed.signature),
    }
  }

  #revocation(bytes: Uint8Array): Anatomy {
    const statement = decodeStatement(WireType.revocation, bytes)
    const revocation = decodeRevocation(statement.structure)
    const { realm, identity, since, until, reason, past } = revocation
    return {
      ...this.#verdict(this.#around.judge?.revocation(bytes, revocation)),
      realm,
      hash: this.#hash(statement),
      identity,
      since: whenShown(since),
      until: whenShown(until),
      reason,
      past: past === 0 ? '0: nothing that it has stored is believed' : '1: what it stored before stays good',
      ...signedBy(statement),
    }
  }

  #order(bytes: Uint8Array): Anatomy {
    const statement = decodeStatement(WireType.order, bytes)
    const order = decodeOrder(statement.structure)
    return {
      ...this.#verdict(this.#around.judge?.order(bytes, order)),
      realm: order.realm,
      epoch: order.number,
      epochHash: hex(order.epochHash),
      at: whenShown(order.at),
      signature: hex(statement.signature),
      signedBy: 'an authority or a rotation service, it says',
    }
  }

  #announcement(bytes: Uint8Array): Anatomy {
    const { engine, judge } = this.#around
    const parsed = parseAnnouncement(engine, bytes)
    const { announcement, signed, hash } = parsed
    const { realm, agent, instance, epoch, epochHash, identity, messageKey, keys } = announcement
    const { notBefore, notAfter, storedMs, seq, token } = announcement
    return {
      ...this.#verdict(judge?.announcement(parsed)),
      ...(keys.length === 0 && { retires: 'the instance: it announces no keys' }),
      realm,
      hash: hex(hash),
      agent,
      instance: hex(instance),
      epoch,
      epochHash: hex(epochHash),
      identity,
      ...(messageKey.length > 0 && { messageKey: hex(messageKey) }),
      keys: keys.map(({ suite, use, publicKey }) => {
        const known = Object.values(KeyUse).find((value) => value === use)
        return {
          suite,
          use: use === KeyUse.live ? 'live' : use === KeyUse.stored ? 'stored' : `${use}, not known here`,
          publicKey: hex(publicKey),
          ...(known !== undefined && {
            kid: hex(keyId(engine, { suite, use: known, announcementHash: hash })),
          }),
        }
      }),
      notBefore: whenShown(notBefore),
      notAfter: whenShown(notAfter),
      storedMs,
      seq,
      signature: hex(signed.signature),
      ...(signed.proof !== undefined && { proof: hex(signed.proof) }),
      token: dissectToken(token),
    }
  }

  #page(bytes: Uint8Array): Anatomy {
    const { nonce, kind, statements, next } = decodePage(bytes)
    return {
      nonce: hex(nonce),
      kind: kindName(kind),
      statements: statements.map((statement) =>
        kind === QueryKind.buckets ? { bytes: statement.length } : this.#nested(statement, STATEMENTS),
      ),
      next: next === undefined ? 'this is the last page' : placeShown(kind, next),
    }
  }

  /** A statement inside of another message. Only those that belong there are taken apart: nothing nests for ever. */
  #nested(bytes: Uint8Array, types: readonly number[]): Anatomy {
    try {
      const type = wireType(bytes)
      if (type !== undefined && types.includes(type)) return this.message(bytes)
      throw malformed('statement', `no ${types.map((wanted) => NAMES[wanted]).join(', ')}`)
    } catch (error) {
      if (!(error instanceof SubrosaError)) throw error
      this.#faults.push(error)
      return { malformed: error.message, bytes: bytes.length }
    }
  }

  #verdict(verdict: Verdict | undefined): Anatomy {
    if (verdict === undefined) return NOT_VERIFIED
    const { asOf, fault, unknown } = verdict
    if (unknown !== undefined) return { verified: false, verification: `NOT verified: ${unknown}` }
    const when = asOf === undefined ? '' : `, as of ${whenShown(asOf)}`
    if (fault === undefined) {
      const verification = `it holds${when}; whether its signer is revoked is not known here`
      return { verified: true, verification }
    }
    this.#faults.push(fault)
    return { verified: false, verification: `it does NOT hold${when}: ${fault.message}` }
  }

  #hash({ structure }: Pick<SignedStatement, 'structure'>): string {
    return hex(this.#around.engine.sha256(structure))
  }
}

function signedBy({ signature, token }: SignedStatement): Anatomy {
  return {
    signature: hex(signature),
    ...(token === undefined ? { signedBy: 'an authority, it says' } : { token: dissectToken(token) }),
  }
}
