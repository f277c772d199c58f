import { hex } from '../../base/bytes.ts'
import { SubrosaError } from '../../base/errors.ts'
import type { CryptoEngine } from '../../crypto/engine.ts'
import { KeyUse, keyId } from '../../envelope/keys.ts'
import { parseAnnouncement } from '../../keys/announcements.ts'
import { decodeSessionRequest } from '../../wire/handshake.ts'
import { malformed } from '../../wire/msgpack.ts'
import { MAGIC, VERSION, WireType, wireType } from '../../wire/preamble.ts'
import {
  decodeEpoch,
  decodeOrder,
  decodePage,
  decodeQuery,
  decodeRevocation,
  decodeStatement,
  decodeTick,
  QueryKind,
  type SignedStatement,
} from '../../wire/statements.ts'
import { whenShown } from '../terminal/times.ts'
import type { Anatomy } from './anatomy.ts'
import type { Judge, Verdict } from './judge.ts'
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
  [WireType.epoch]: 'epoch',
  [WireType.tick]: 'tick',
  [WireType.revocation]: 'revocation',
  [WireType.announcement]: 'announcement',
  [WireType.query]: 'query',
  [WireType.page]: 'page',
  [WireType.sessionRequest]: 'session request',
  [WireType.order]: 'order to rotate',
  [WireType.refusal]: 'refusal of a session',
}

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
      case WireType.epoch:
        return { ...head, ...this.#epoch(bytes) }
      case WireType.tick:
        return { ...head, ...this.#tick(bytes) }
      case WireType.revocation:
        return { ...head, ...this.#revocation(bytes) }
      case WireType.announcement:
        return { ...head, ...this.#announcement(bytes) }
      case WireType.order:
        return { ...head, ...this.#order(bytes) }
      case WireType.query:
        return { ...head, ...dissectQuery(bytes) }
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

  #epoch(bytes: Uint8Array): Anatomy {
    const statement = decodeStatement(WireType.epoch, bytes)
    const epoch = decodeEpoch(statement.structure)
    const { realm, number, prevHash, notBefore, notAfter, graceMs, suites, revocations } = epoch
    return {
      ...this.#verdict(this.#around.judge?.epoch(bytes, epoch)),
      realm,
      number,
      hash: this.#hash(statement),
      previousHash: hex(prevHash),
      notBefore: whenShown(notBefore),
      notAfter: whenShown(notAfter),
      graceMs,
      suites,
      revocations: revocations.map((revocation) => this.#nested(revocation, [WireType.revocation])),
      ...signedBy(statement),
    }
  }

  #tick(bytes: Uint8Array): Anatomy {
    const statement = decodeStatement(WireType.tick, bytes)
    const tick = decodeTick(statement.structure)
    const { realm, number, epochHash, revocationsHash, now, nonces } = tick
    return {
      ...this.#verdict(this.#around.judge?.tick(bytes, tick)),
      realm,
      epoch: number,
      epochHash: hex(epochHash),
      revocationsHash: hex(revocationsHash),
      now: whenShown(now),
      nonces: nonces.map(hex),
      ...signedBy(statement),
    }
  }

  #revocation(bytes: Uint8Array): Anatomy {
    const statement = decodeStatement(WireType.revocation, bytes)
    const revocation = decodeRevocation(statement.structure)
    const { realm, identity, since, until, reason } = revocation
    return {
      ...this.#verdict(this.#around.judge?.revocation(bytes, revocation)),
      realm,
      hash: this.#hash(statement),
      identity,
      since: whenShown(since),
      until: whenShown(until),
      reason,
      ...signedBy(statement),
    }
  }

  #order(bytes: Uint8Array): Anatomy {
    const statement = decodeStatement(WireType.order, bytes)
    const { realm, number, epochHash } = decodeOrder(statement.structure)
    return {
      ...this.#verdict(this.#around.judge?.order(bytes, statement)),
      realm,
      afterEpoch: number,
      epochHash: hex(epochHash),
      ...signedBy(statement),
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
        this.#nested(statement, [WireType.epoch, WireType.revocation, WireType.announcement]),
      ),
      next: next === undefined ? 'this is the last page' : hex(next),
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
    const { asOf, fault } = verdict
    const when = asOf === undefined ? '' : `, as of ${whenShown(asOf)}`
    if (fault === undefined) {
      const verification = `it holds${when}; whether its signer is revoked is not known here`
      return { verified: true, verification }
    }
    this.#faults.push(fault)
    return { verified: false, verification: `it does NOT hold${when}: ${fault.message}` }
  }

  #hash({ structure }: SignedStatement): string {
    return hex(this.#around.engine.sha256(structure))
  }
}

/** @throws SubrosaError ERR_MALFORMED for what is no message of this version of the protocol */
function readType(bytes: Uint8Array): number {
  const type = wireType(bytes)
  if (type !== undefined) return type
  const [magic, version, unknown] = bytes
  if (magic === undefined) throw notSubrosa('it is empty')
  if (magic !== MAGIC)
    throw notSubrosa(`it begins with the byte ${byteShown(magic)}, and not with ${byteShown(MAGIC)}`)
  if (version === undefined || unknown === undefined) throw notSubrosa('it ends within its first three bytes')
  throw version === VERSION
    ? notSubrosa(`its type ${unknown} is not known here`)
    : notSubrosa(`its version ${version} is not known here`)
}

function notSubrosa(why: string): SubrosaError {
  return new SubrosaError('ERR_MALFORMED', `this is no message of subrosa: ${why}`, {
    hint: 'give the payload of one message as it travels, or as hex or base64',
  })
}

function byteShown(byte: number): string {
  return `0x${hex(Uint8Array.of(byte))}`
}

function dissectQuery(bytes: Uint8Array): Anatomy {
  const { nonce, kind, cursor } = decodeQuery(bytes)
  return {
    kind: kindName(kind),
    nonce: hex(nonce),
    cursor: cursor === undefined ? 'none' : hex(cursor),
  }
}

function kindName(kind: QueryKind): string {
  const name = Object.entries(QueryKind).find(([, value]) => value === kind)?.[0] ?? ''
  return `${kind} (${name})`
}

function signedBy({ signature, token }: SignedStatement): Anatomy {
  return {
    signature: hex(signature),
    ...(token === undefined ? { signedBy: 'an authority, it says' } : { token: dissectToken(token) }),
  }
}
