import { describe, expect, it } from 'vitest'
import { concat, fromHex, hex } from '../../src/base/bytes.ts'
import { labels } from '../../src/crypto/labels.ts'
import { merkleTree } from '../../src/crypto/merkle.ts'
import { decodeNkey } from '../../src/identity/nkey.ts'
import { nonceLeaf, provesNonce, readTick, verifyTick } from '../../src/keys/ticks.ts'
import { decodeTick, encodeSignedTick, encodeTick, type Tick } from '../../src/wire/ticks.ts'
import { engines, readVectors } from '../crypto/vectors.ts'
import { planVector } from './plan-vectors.ts'

interface TickVector {
  readonly name: string
  readonly fields: {
    readonly realm: string
    readonly plan_version: number
    readonly rotator: string
    readonly standing: 0 | 1
    readonly process: string
    readonly now: number
    readonly revocations_hash: string
    readonly directory_root: string
    readonly storage_root: string
    readonly leaves: number
    readonly nonce_root: string
  }
  readonly structure: string
  readonly hash: string
  readonly signer: string
  readonly signed: string
  readonly signature: string
  readonly answers: readonly {
    readonly nonce: string
    readonly leaf: string
    readonly index: number
    readonly path: string
    readonly wire: string
  }[]
  readonly broadcast: string | null
}

interface BadTick {
  readonly name: string
  readonly reason: string
  readonly nonce: string
  readonly wire: string
}

const { ticks } = readVectors<{ readonly ticks: readonly TickVector[] }>('subrosa/ticks.json')
const { ticks: badTicks } = readVectors<{ readonly ticks: readonly BadTick[] }>('subrosa/negative.json')
const { fields: plan } = planVector('a plan with three services, of which two, and two schedules')

it('has ticks for one, five and 4096 nonces, one that hands over, and a broadcast', () => {
  expect(ticks.map(({ fields: { leaves, standing } }) => [leaves, standing])).toEqual([
    [1, 1],
    [5, 1],
    [4096, 1],
    [2, 0],
    [0, 1],
  ])
})

describe.each(ticks)('the known answer "$name"', (vector) => {
  const { structure, hash, signer, signed, signature, answers, broadcast } = vector
  const wires = [...answers.map(({ wire }) => wire), ...(broadcast === null ? [] : [broadcast])]

  it('has the fields that it says', () => {
    expect(decodeTick(fromHex(structure))).toEqual(tickOf(vector))
    expect(hex(encodeTick(tickOf(vector)))).toBe(structure)
  })

  it.each(engines)('is read, verified and written again on $name', (engine) => {
    expect(hex(concat(labels.tick, fromHex(structure)))).toBe(signed)
    expect(engine.verify(decodeNkey('U', signer), fromHex(signed), fromHex(signature))).toBe(true)
    for (const wire of wires) {
      const parsed = readTick(engine, fromHex(wire))
      expect(hex(parsed.hash)).toBe(hash)
      expect(verifyTick({ engine, plan }, parsed)).toBe(true)
      expect(hex(encodeSignedTick(parsed.signed))).toBe(wire)
    }
    expect(wires.length).toBeGreaterThan(0)
  })

  it.each(engines)('proves each nonce that it answers on $name, and no other one', (engine) => {
    for (const { nonce, leaf, wire } of answers) {
      const parsed = readTick(engine, fromHex(wire))
      expect(hex(nonceLeaf(engine, fromHex(nonce)))).toBe(leaf)
      expect(provesNonce(engine, parsed, fromHex(nonce))).toBe(true)
      for (const other of answers.filter((answer) => answer.nonce !== nonce))
        expect(provesNonce(engine, parsed, fromHex(other.nonce))).toBe(false)
    }
    if (broadcast !== null)
      expect(provesNonce(engine, readTick(engine, fromHex(broadcast)), new Uint8Array(16))).toBe(false)
  })
})

const whole = ticks.filter(({ fields: { leaves }, answers }) => leaves > 0 && leaves === answers.length)

describe.each(whole)('the known answer "$name", of which every nonce is there', ({ fields, answers }) => {
  it.each(engines)('is made from its nonces on $name', (engine) => {
    const leaves = answers.map(({ nonce }) => nonceLeaf(engine, fromHex(nonce)))
    const tree = merkleTree(engine, leaves)
    expect(hex(tree.root)).toBe(fields.nonce_root)
    for (const { index, path } of answers) {
      const target = new Uint8Array(384)
      expect(hex(target.subarray(0, tree.writePath(index, target, 0)))).toBe(path)
    }
  })
})

describe.each(engines)('a tick that counts for nobody on $name', (engine) => {
  it.each(badTicks)('is one with $name', ({ reason, nonce, wire }) => {
    const parsed = readTick(engine, fromHex(wire))
    const isProved = provesNonce(engine, parsed, fromHex(nonce))
    const isSigned = verifyTick({ engine, plan }, parsed)
    const isOfVersion = parsed.tick.planVersion === plan.version
    expect({ isProved, isSigned, isOfVersion }).toEqual({
      isProved: reason !== 'nonce',
      isSigned: reason !== 'signature' && reason !== 'service',
      isOfVersion: reason !== 'version',
    })
  })
})

it('has ticks that count for nobody, for each reason', () => {
  expect(new Set(badTicks.map(({ reason }) => reason))).toEqual(
    new Set(['nonce', 'service', 'signature', 'version']),
  )
})

function tickOf({ fields }: TickVector): Tick {
  const { realm, rotator, standing, now, leaves } = fields
  return {
    ...{ realm, planVersion: fields.plan_version, rotator, standing, now, leaves },
    process: fromHex(fields.process),
    revocationsHash: fromHex(fields.revocations_hash),
    directoryRoot: fromHex(fields.directory_root),
    storageRoot: fromHex(fields.storage_root),
    nonceRoot: fromHex(fields.nonce_root),
  }
}
