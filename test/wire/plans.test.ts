import { describe, expect, it } from 'vitest'
import { MAX_SUITES } from '../../src/base/limits.ts'
import { type Packable, pack } from '../../src/wire/msgpack.ts'
import {
  checkPlan,
  decodeEpoch,
  decodeNotice,
  decodePlan,
  decodeSignedPlan,
  encodeEpoch,
  encodeNotice,
  encodePlan,
  encodeSignedPlan,
  type Plan,
} from '../../src/wire/plans.ts'
import { encodeWire, WireType } from '../../src/wire/preamble.ts'
import { malformed } from './packable.ts'
import { epoch, laterSchedule, notice, plan, rotators, schedule, T0 } from './samples.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const bytes = (length: number) => new Uint8Array(length)
const many = <T>(count: number, item: T): readonly T[] => new Array<T>(count).fill(item)
const invalid: Error = expect.objectContaining({ name: 'SubrosaError', code: 'ERR_PLAN_INVALID' })

const of = (count: number, threshold: number) => ({ rotators: rotators(count), threshold })
const former = { version: 1, ...of(3, 2) }
const with1 = (changes: Parameters<typeof schedule>[0]) => ({ schedules: [schedule(changes)] })

describe('a plan', () => {
  it.each<[string, Partial<Plan>]>([
    ['of one rotation service', {}],
    ['of seven', of(7, 4)],
    ['that takes all of them', of(5, 5)],
    ['that names a former one', { version: 2, former }],
    ['that names one long before', { version: 900, former: { version: 3, ...of(7, 5) } }],
    ['of two schedules', { schedules: [schedule(), laterSchedule(2)] }],
    ['whose second schedule begins long after it', { schedules: [schedule(), laterSchedule(40_000)] }],
    ['whose epochs last a second', with1({ periodMs: 1000, leadMs: 1000, graceMs: 0 })],
    ['whose epochs last a day', with1({ periodMs: 12 * HOUR, leadMs: 12 * HOUR, graceMs: 15 * MINUTE })],
    ['of many suites', with1({ suites: many(MAX_SUITES, 255) })],
    ['that ends as soon as it is made', { made: T0, until: T0 + 1 }],
  ])('%s is read as it was written', (_, changes) => {
    expect(decodePlan(encodePlan(plan(changes)))).toEqual(plan(changes))
  })

  it.each<[string, Partial<Plan>]>([
    ['version 0', { version: 0 }],
    ['an end before it is made', { made: T0, until: T0 }],
    ['a threshold of half', of(2, 1)],
    ['a threshold of half of four', of(4, 2)],
    ['a threshold of none', of(1, 0)],
    ['a threshold of more than there are', of(3, 4)],
    ['rotation services that descend', { rotators: rotators(2).toReversed(), threshold: 2 }],
    ['a rotation service twice', { rotators: [...rotators(1), ...rotators(1)], threshold: 2 }],
    ['a former plan of its own version', { version: 2, former: { ...former, version: 2 } }],
    ['a former plan of a later version', { version: 2, former: { ...former, version: 3 } }],
    ['a former plan of version 0', { version: 2, former: { ...former, version: 0 } }],
    ['a former plan whose threshold is half', { version: 2, former: { version: 1, ...of(4, 2) } }],
    [
      'a former plan with a service twice',
      { version: 2, former: { ...former, rotators: many(3, 'U'.repeat(56)) } },
    ],
    ['a first number that leaves what every language counts', with1({ first: 2 ** 48 + 1 })],
    ['a lead below a second', with1({ leadMs: 999 })],
    ['a lead longer than the period', with1({ periodMs: 5 * MINUTE, leadMs: 5 * MINUTE + 1 })],
    ['a period and a lead of more than a day', with1({ periodMs: 12 * HOUR + 1, leadMs: 12 * HOUR })],
    ['a grace above 15 minutes', with1({ graceMs: 15 * MINUTE + 1 })],
    ['schedules that do not ascend', { schedules: [laterSchedule(40), schedule()] }],
    ['the same schedule twice', { schedules: [schedule(), schedule()] }],
    [
      'a second schedule between two epochs of the first',
      { schedules: [schedule(), laterSchedule(40, { originMs: laterSchedule(40).originMs + 1 })] },
    ],
    [
      'a second schedule that begins with another number',
      { schedules: [schedule(), { ...laterSchedule(40), first: 41 }] },
    ],
    [
      'a second schedule that begins with the first epoch of the first one',
      { schedules: [schedule(), laterSchedule(1, { salt: bytes(16) })] },
    ],
    [
      'three epochs at once where its schedules meet',
      { schedules: [schedule(), laterSchedule(40, { periodMs: 5 * MINUTE - 1, leadMs: MINUTE })] },
    ],
  ])('with %s is refused', (_, changes) => {
    expect(() => decodePlan(encodePlan(plan(changes)))).toThrow(invalid)
    expect(() => checkPlan(plan(changes))).toThrow(invalid)
  })

  it.each<[string, Partial<Plan>]>([
    ['no rotation service', { rotators: [], threshold: 1 }],
    ['eight', of(8, 5)],
    ['no schedule', { schedules: [] }],
    ['three schedules', { schedules: [schedule(), laterSchedule(2), laterSchedule(3)] }],
    ['no suite', with1({ suites: [] })],
    ['too many suites', with1({ suites: many(MAX_SUITES + 1, 1) })],
    ['a short salt', with1({ salt: bytes(15) })],
  ])('with %s is refused in the same way before it is written', (_, changes) => {
    expect(() => checkPlan(plan(changes))).toThrow(invalid)
    expect(() => decodePlan(encodePlan(plan(changes)))).toThrow(malformed)
  })

  it.each<[string, Partial<Plan>]>([
    ['a realm that is too short', { realm: 'A'.repeat(55) }],
    ['a rotator that is too long', { rotators: ['U'.repeat(57)] }],
    ['a short hash of revocations', { revocationsHash: bytes(31) }],
    ['a suite above one byte', with1({ suites: [256] })],
    ['a long salt', with1({ salt: bytes(17) })],
  ])('is malformed with %s', (_, changes) => {
    expect(() => decodePlan(encodePlan(plan(changes)))).toThrow(malformed)
  })

  it('is malformed with a field more or less, in itself, its schedule or its former plan', () => {
    const { realm, version, made, until, threshold, revocationsHash } = plan()
    const one = [1, T0, 2000, 1000, 0, [1], bytes(16)]
    const fields = (of_: Packable, former_: Packable): readonly Packable[] => [
      realm,
      version + 1,
      made,
      until,
      rotators(1),
      threshold,
      former_,
      of_,
      revocationsHash,
    ]
    const good = fields([one], [1, rotators(1), 1])
    expect(decodePlan(pack(good)).version).toBe(2)
    for (const bad of [
      good.slice(0, -1),
      [...good, 1],
      fields([one.slice(0, -1)], undefined),
      fields([[...one, 1]], undefined),
      fields([one], [1, rotators(1)]),
      fields([one], [1, rotators(1), 1, 1]),
    ])
      expect(() => decodePlan(pack(bad))).toThrow(malformed)
  })

  it('shares no memory with the bytes that it was read from', () => {
    const encoded = encodePlan(plan())
    const read = decodePlan(encoded)
    encoded.fill(0xff)
    expect(read).toEqual(plan())
  })

  it('travels with one signature, and names nobody beside it', () => {
    const signed = { structure: encodePlan(plan()), signature: bytes(64) }
    expect(decodeSignedPlan(encodeSignedPlan(signed))).toEqual(signed)
    const { structure, signature } = signed
    expect(() => decodeSignedPlan(encodeWire(WireType.plan, [structure, signature, 'a.b.c']))).toThrow(
      malformed,
    )
    expect(() => decodeSignedPlan(encodeWire(WireType.notice, [structure, signature, undefined]))).toThrow(
      malformed,
    )
  })
})

describe('an epoch', () => {
  it('is read as it was written', () => {
    for (const written of [epoch(), epoch({ suites: many(MAX_SUITES, 1), graceMs: 0 })])
      expect(decodeEpoch(encodeEpoch(written))).toEqual(written)
  })

  it.each<[string, Parameters<typeof epoch>[0]]>([
    ['a realm that is too short', { realm: 'A'.repeat(55) }],
    ['no suite', { suites: [] }],
    ['too many suites', { suites: many(MAX_SUITES + 1, 1) }],
    ['a suite above one byte', { suites: [256] }],
    ['a short salt', { salt: bytes(15) }],
    ['a long salt', { salt: bytes(17) }],
  ])('is refused with %s', (_, changes) => {
    expect(() => decodeEpoch(encodeEpoch(epoch(changes)))).toThrow(malformed)
  })
})

describe('a notice', () => {
  it('is read as it was written', () => {
    expect(decodeNotice(encodeNotice(notice()))).toEqual(notice())
  })

  it('is refused with a rotator that is too short, and with a field more or less', () => {
    expect(() => decodeNotice(encodeNotice(notice({ rotator: 'U'.repeat(55) })))).toThrow(malformed)
    const { epoch: bytesOfEpoch, planVersion, rotator } = notice()
    expect(() => decodeNotice(pack([bytesOfEpoch, planVersion]))).toThrow(malformed)
    expect(() => decodeNotice(pack([bytesOfEpoch, planVersion, rotator, 1]))).toThrow(malformed)
  })
})
