import { describe, expect, it } from 'vitest'
import { concat, fromHex, hex } from '../../src/base/bytes.ts'
import { labels } from '../../src/crypto/labels.ts'
import { KeyUse, keyId } from '../../src/envelope/keys.ts'
import { decodeNkey, encodeNkey } from '../../src/identity/nkey.ts'
import { decodeNotice, encodeNotice } from '../../src/wire/plans.ts'
import { WireType } from '../../src/wire/preamble.ts'
import {
  type Announcement,
  decodeAnnouncement,
  decodeOrder,
  decodeRevocation,
  decodeSignedAnnouncement,
  decodeStatement,
  encodeAnnouncement,
  encodeOrder,
  encodeRevocation,
  encodeSignedAnnouncement,
  encodeStatement,
} from '../../src/wire/statements.ts'
import { engines, readVectors } from '../crypto/vectors.ts'

interface StatementVector {
  readonly name: string
  readonly type: 3 | 5 | 10
  readonly fields: Readonly<Record<string, unknown>>
  readonly structure: string
  readonly hash: string
  readonly signer: string
  readonly signed: string
  readonly signature: string
  readonly token: string | null
  readonly wire: string
}

interface AnnouncementFields {
  readonly realm: string
  readonly agent: string
  readonly instance: string
  readonly epoch: number
  readonly epoch_hash: string
  readonly identity: string
  readonly mpk: string
  readonly keys: readonly (readonly [number, number, string])[]
  readonly not_before: number
  readonly not_after: number
  readonly stored_ms: number
  readonly seq: number
  readonly token: string
}

interface AnnouncementVector {
  readonly name: string
  readonly fields: AnnouncementFields
  readonly structure: string
  readonly hash: string
  readonly live_kid?: string
  readonly stored_kid?: string
  readonly signed: string
  readonly signature: string
  readonly message_key?: { readonly seed: string; readonly public: string }
  readonly proved?: string
  readonly proof: string | null
  readonly wire: string
}

interface Statements {
  readonly authority: { readonly seed: string; readonly public: string }
  readonly identities: readonly { readonly name: string; readonly seed: string; readonly public: string }[]
  readonly statements: readonly StatementVector[]
  readonly announcements: readonly AnnouncementVector[]
}

const file = readVectors<Statements>('subrosa/statements.json')

/** For each type its label, and decoding and encoding of its structure. */
const kinds = {
  [WireType.notice]: {
    label: labels.notice,
    again: (structure: Uint8Array) => encodeNotice(decodeNotice(structure)),
    fields: (structure: Uint8Array) => decodeNotice(structure),
  },
  [WireType.revocation]: {
    label: labels.revocation,
    again: (structure: Uint8Array) => encodeRevocation(decodeRevocation(structure)),
    fields: (structure: Uint8Array) => decodeRevocation(structure),
  },
  [WireType.order]: {
    label: labels.order,
    again: (structure: Uint8Array) => encodeOrder(decodeOrder(structure)),
    fields: (structure: Uint8Array) => decodeOrder(structure),
  },
}

describe('the known answers of statements', () => {
  it('cover revocations, notices, orders, announcements and a retirement', () => {
    expect(file.statements.map(({ type }) => type)).toEqual([5, 5, 3, 3, 10, 10])
    expect(file.statements.map(({ token }) => token !== null)).toEqual([
      false,
      true,
      false,
      false,
      false,
      false,
    ])
    expect(file.announcements.map(({ fields }) => fields.keys.length)).toEqual([2, 2, 2, 2, 0])
  })
})

describe.each(file.statements)('the known answer "$name"', (vector) => {
  const kind = kinds[vector.type]
  const structure = fromHex(vector.structure)

  it('has the fields that it says', () => {
    expect(Object.values(kind.fields(structure)).map(plain)).toEqual(Object.values(vector.fields).map(plain))
    expect(hex(kind.again(structure))).toBe(vector.structure)
  })

  it('is read from the wire and written to it', () => {
    const statement = decodeStatement(vector.type, fromHex(vector.wire))
    expect(hex(statement.structure)).toBe(vector.structure)
    expect(hex(statement.signature)).toBe(vector.signature)
    expect(statement.token ?? null).toBe(vector.token)
    expect(hex(encodeStatement(vector.type, statement))).toBe(vector.wire)
  })

  it.each(engines)('is hashed, signed and verified on $name', (engine) => {
    expect(hex(engine.sha256(structure))).toBe(vector.hash)
    const signed = concat(kind.label, structure)
    expect(hex(signed)).toBe(vector.signed)
    const keys = engine.ed25519KeyPair(fromHex(seedOf(vector.signer)))
    expect(hex(engine.sign(keys.secretKey, signed))).toBe(vector.signature)
    const [letter] = vector.signer
    const publicKey = decodeNkey(letter === 'A' ? 'A' : 'U', vector.signer)
    expect(engine.verify(publicKey, signed, fromHex(vector.signature))).toBe(true)
    for (const { label } of Object.values(kinds)) {
      if (label === kind.label) continue
      expect(engine.verify(publicKey, concat(label, structure), fromHex(vector.signature))).toBe(false)
    }
  })
})

describe.each(file.announcements)('the known answer "$name"', (vector) => {
  const structure = fromHex(vector.structure)

  it('has the fields that it says', () => {
    expect(decodeAnnouncement(structure)).toEqual(announcementOf(vector.fields))
    expect(hex(encodeAnnouncement(announcementOf(vector.fields)))).toBe(vector.structure)
  })

  it('is read from the wire and written to it', () => {
    const signed = decodeSignedAnnouncement(fromHex(vector.wire))
    expect(hex(signed.structure)).toBe(vector.structure)
    expect(hex(signed.signature)).toBe(vector.signature)
    expect(signed.proof === undefined ? null : hex(signed.proof)).toBe(vector.proof)
    expect(hex(encodeSignedAnnouncement(signed))).toBe(vector.wire)
  })

  it.each(engines)('is hashed, signed and proved on $name', (engine) => {
    const hash = engine.sha256(structure)
    expect(hex(hash)).toBe(vector.hash)
    const identity = engine.ed25519KeyPair(fromHex(seedOf(vector.fields.identity)))
    expect(encodeNkey('U', identity.publicKey)).toBe(vector.fields.identity)
    const signed = concat(labels.announcement, structure)
    expect(hex(signed)).toBe(vector.signed)
    expect(hex(engine.sign(identity.secretKey, signed))).toBe(vector.signature)
    if (vector.message_key === undefined) return
    const message = engine.ed25519KeyPair(fromHex(vector.message_key.seed))
    expect(hex(message.publicKey)).toBe(vector.fields.mpk)
    const proved = concat(labels.possession, hash)
    expect(hex(proved)).toBe(vector.proved)
    expect(hex(engine.sign(message.secretKey, proved))).toBe(vector.proof)
    const kid = (use: KeyUse) => hex(keyId(engine, { suite: 1, use, announcementHash: hash }))
    expect([kid(KeyUse.live), kid(KeyUse.stored)]).toEqual([vector.live_kid, vector.stored_kid])
  })
})

function seedOf(nkey: string): string {
  const found = [file.authority, ...file.identities].find((key) => key.public === nkey)
  if (found === undefined) throw new Error(`no seed of ${nkey}`)
  return found.seed
}

/** A value as JSON has it: bytes in hexadecimal. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return hex(value)
  return Array.isArray(value) ? value.map(plain) : value
}

function announcementOf(fields: AnnouncementFields): Announcement {
  return {
    realm: fields.realm,
    agent: fields.agent,
    instance: fromHex(fields.instance),
    epoch: fields.epoch,
    epochHash: fromHex(fields.epoch_hash),
    identity: fields.identity,
    messageKey: fromHex(fields.mpk),
    keys: fields.keys.map(([suite, use, publicKey]) => ({ suite, use, publicKey: fromHex(publicKey) })),
    notBefore: fields.not_before,
    notAfter: fields.not_after,
    storedMs: fields.stored_ms,
    seq: fields.seq,
    token: fields.token,
  }
}
