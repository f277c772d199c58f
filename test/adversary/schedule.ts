import fc from 'fast-check'
import type { SealMode } from '../../src/bus/messages/opened.ts'
import { type Fault, MESSAGE_FAULTS, PROTOCOL_AIMS } from './faults.ts'
import { MISDEEDS, type Misdeed } from './hostile-member.ts'
import { FLEETS, type Fleet } from './rotators.ts'

/** What happens in a schedule, one thing after the other. Numbers choose among what there is, counted round. */
export type Action =
  | {
      readonly kind: 'publish'
      readonly who: number
      readonly subject: number
      readonly mode: SealMode
      /** One reader alone, or `undefined` for all of them. */
      readonly to: number | undefined
      readonly bytes: number
      readonly hasHeaders: boolean
      readonly hasReply: boolean
      /** How long it may be under way. */
      readonly ttlMs: number | undefined
    }
  | {
      readonly kind: 'publish many'
      readonly who: number
      readonly subject: number
      readonly mode: Exclude<SealMode, 'channel'>
      readonly count: number
    }
  | {
      readonly kind: 'request'
      readonly who: number
      readonly tool: number
      readonly mode: SealMode
      /** Whether it takes more than one response. */
      readonly isMany: boolean
    }
  | { readonly kind: 'subscribe'; readonly who: number; readonly pattern: number; readonly isQueue: boolean }
  | { readonly kind: 'unsubscribe'; readonly who: number; readonly which: number }
  /** Fresh keys are ordered. */
  | { readonly kind: 'rotate' }
  /** A plan follows, by the same services. */
  | { readonly kind: 'renew' }
  /** A plan follows, with another service in the place of one. */
  | { readonly kind: 'replace'; readonly which: number }
  /** A member is revoked, and a newcomer takes its place. */
  | { readonly kind: 'revoke' }
  /** Members that are revoked, or will be, say something. */
  | { readonly kind: 'outcasts' }
  | { readonly kind: 'restart'; readonly who: number; readonly isCrash: boolean }
  | { readonly kind: 'wait'; readonly ms: number }

/** What only happens in a storm, beside what happens to messages by themselves. */
export type StormAction =
  | Action
  /** The line delivers again what went to an agent lately, to each of its subscriptions that it fits. */
  | { readonly kind: 'replay'; readonly who: number; readonly back: number; readonly count: number }
  /** The wall clock of an agent is wrong while some things happen; the line may replay to it what it got before. */
  | {
      readonly kind: 'wrong clock'
      readonly who: number
      readonly errorMs: number
      readonly meanwhile: readonly Action[]
      readonly replays: boolean
    }
  /** The machine of an agent sleeps while some things happen. */
  | {
      readonly kind: 'suspend'
      readonly who: number
      readonly ms: number
      readonly meanwhile: readonly Action[]
    }
  /** An agent ends a subscription and opens the same again; then the line replays to it what it got before. */
  | { readonly kind: 'resubscribe'; readonly who: number; readonly meanwhile: readonly Action[] }
  /** A member that keeps to nothing does what it must not: some things, one after the other. */
  | { readonly kind: 'hostile'; readonly misdeeds: readonly Misdeed[] }
  /** The connection of an agent breaks. */
  | { readonly kind: 'cut'; readonly who: number }
  /** A rotation service is killed, and started again with its record. */
  | { readonly kind: 'service restart'; readonly which: number; readonly meanwhile: readonly Action[] }
  /** A rotation service loses its record. A plan with another one follows as soon as that can be. */
  | { readonly kind: 'service lost'; readonly which: number }
  /** The wall clock of a rotation service is wrong while some things happen. */
  | {
      readonly kind: 'service clock'
      readonly which: number
      readonly errorMs: number
      readonly meanwhile: readonly Action[]
    }
  /** The machine of a rotation service sleeps while some things happen. */
  | {
      readonly kind: 'service suspend'
      readonly which: number
      readonly ms: number
      readonly meanwhile: readonly Action[]
    }
  /** While some things happen, what one half of all clients publishes is not seen by the other half, and no revocation by agents. */
  | { readonly kind: 'divide'; readonly halves: number; readonly meanwhile: readonly Action[] }

/** A calm spell, in which everything must arrive, and a storm. */
export interface Round {
  readonly calm: readonly Action[]
  readonly faults: readonly Fault[]
  readonly storm: readonly StormAction[]
}

/** A schedule in a realm with long epochs or short ones. */
export interface Schedule {
  readonly epochs: 'long' | 'short'
  readonly fleet: Fleet
  readonly rounds: readonly Round[]
}

const SECOND = 1000
const MINUTE = 60 * SECOND

const who = fc.nat(99)
const mode = fc.constantFrom<SealMode>('session', 'session', 'channel', 'message')

const publish: fc.Arbitrary<Action> = fc.record({
  kind: fc.constant('publish' as const),
  who,
  subject: fc.nat(99),
  mode,
  to: fc.option(fc.nat(99), { nil: undefined }),
  bytes: fc.constantFrom(0, 0, 10, 400, 5000),
  hasHeaders: fc.boolean(),
  hasReply: fc.boolean(),
  ttlMs: fc.constantFrom(undefined, undefined, 1500, 60 * SECOND),
})

const ofRealm: fc.Arbitrary<Action> = fc.oneof(
  fc.record({ kind: fc.constant('renew' as const) }),
  fc.record({ kind: fc.constant('replace' as const), which: fc.nat(99) }),
  fc.record({ kind: fc.constant('revoke' as const) }),
)

const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 8, arbitrary: publish },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('publish many' as const),
      who,
      subject: fc.nat(99),
      mode: fc.constantFrom('session' as const, 'message' as const),
      count: fc.integer({ min: 2, max: 5 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('request' as const),
      who,
      tool: fc.nat(99),
      mode,
      isMany: fc.constantFrom(false, false, false, true),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('subscribe' as const),
      who,
      pattern: fc.nat(99),
      isQueue: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('unsubscribe' as const), who, which: fc.nat(99) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('rotate' as const) }) },
  { weight: 1, arbitrary: ofRealm },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('restart' as const), who, isCrash: fc.boolean() }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      ms: fc.constantFrom(10, SECOND, 5 * SECOND, 40 * SECOND),
    }),
  },
)

/** Time passes too: with a clock that is wrong, ticks come, timers run and epochs end. */
const meanwhileActions: fc.Arbitrary<Action> = fc.oneof(
  { weight: 3, arbitrary: publish },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      ms: fc.constantFrom(SECOND, 20 * SECOND, 100 * SECOND),
    }),
  },
)
const few = fc.array(meanwhileActions, { minLength: 1, maxLength: 5 })

/** What is worth doing while services are away, or hear others than agents do. */
const apartActions: fc.Arbitrary<Action> = fc.oneof(
  { weight: 2, arbitrary: publish },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('revoke' as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('outcasts' as const) }) },
  { weight: 1, arbitrary: ofRealm },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('wait' as const),
      ms: fc.constantFrom(SECOND, 20 * SECOND, 100 * SECOND),
    }),
  },
)
const fewApart = fc.array(apartActions, { minLength: 2, maxLength: 5 })
const which = fc.nat(99)

const stormAction: fc.Arbitrary<StormAction> = fc.oneof(
  { weight: 14, arbitrary: action },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('replay' as const),
      who,
      back: fc.nat(30),
      count: fc.integer({ min: 1, max: 20 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('wrong clock' as const),
      who,
      errorMs: fc.constantFrom(
        ...[0.5, 3, 10, 20, 21, 22, 60, 24 * 60].map((minutes) => minutes * MINUTE),
        ...[0.5, 3, 10, 60].map((minutes) => -minutes * MINUTE),
      ),
      meanwhile: few,
      replays: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('suspend' as const),
      who,
      // The longest one seldom: all others ask and answer meanwhile.
      ms: fc.constantFrom(
        ...[20, 20, 20, 95, 95, 95, 130, 130, 130].map((seconds) => seconds * SECOND),
        40 * MINUTE,
      ),
      meanwhile: few,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('resubscribe' as const), who, meanwhile: few }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('hostile' as const),
      misdeeds: fc.array(fc.constantFrom(...MISDEEDS), { minLength: 2, maxLength: 5 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('cut' as const), who }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('outcasts' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('service restart' as const),
      which,
      meanwhile: fewApart,
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('service lost' as const), which }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('service clock' as const),
      which,
      errorMs: fc.constantFrom(...[1, -1, 5, -5, 60, -60, 365 * 24 * 60].map((minutes) => minutes * MINUTE)),
      meanwhile: fewApart,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('service suspend' as const),
      which,
      ms: fc.constantFrom(20 * SECOND, 95 * SECOND, 5 * MINUTE),
      meanwhile: few,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('divide' as const),
      halves: fc.nat(2 ** 17 - 1),
      meanwhile: fewApart,
    }),
  },
)

const fault: fc.Arbitrary<Fault> = fc.record({
  kind: fc.constantFrom(...MESSAGE_FAULTS),
  aim: fc.oneof(
    { weight: 5, arbitrary: fc.constant('application' as const) },
    { weight: 3, arbitrary: fc.constant('everything' as const) },
    { weight: 3, arbitrary: fc.constant('protocol' as const) },
    { weight: 3, arbitrary: fc.constantFrom(...PROTOCOL_AIMS) },
  ),
  direction: fc.constantFrom('to server' as const, 'to client' as const, 'to client' as const),
  every: fc.integer({ min: 1, max: 4 }),
  amount: fc.nat(100_000),
})

const round: fc.Arbitrary<Round> = fc.record({
  calm: fc.array(action, { minLength: 1, maxLength: 8 }),
  faults: fc.array(fault, { minLength: 1, maxLength: 4 }),
  storm: fc.array(stormAction, { minLength: 3, maxLength: 20 }),
})

const rounds = fc.oneof(
  { weight: 3, arbitrary: fc.array(round, { minLength: 1, maxLength: 1 }) },
  { weight: 1, arbitrary: fc.array(round, { minLength: 2, maxLength: 2 }) },
)

/** Schedules of one or two rounds. Without a bias to small values: an empty schedule finds nothing. */
export const schedules: fc.Arbitrary<Schedule> = fc.noBias(
  fc.record({
    epochs: fc.constantFrom('short' as const, 'short' as const, 'long' as const),
    // One service takes half the time of three.
    fleet: fc.constantFrom<Fleet>(FLEETS[0], ...FLEETS),
    rounds,
  }),
)

/**
 * Schedules of a fleet in which the attacker divides the realm, and a member that was revoked speaks to one half. Where the
 * attacker runs one rotation service more than the fleet bears, it is heard sooner or later.
 */
export function dividing(fleet: Fleet): fc.Arbitrary<Schedule> {
  const meanwhile: readonly Action[] = [
    { kind: 'outcasts' },
    { kind: 'revoke' },
    { kind: 'wait', ms: 100 * SECOND },
    { kind: 'outcasts' },
  ]
  const divide = fc.record({
    kind: fc.constant('divide' as const),
    halves: fc.nat(2 ** 17 - 1),
    meanwhile: fc.constant(meanwhile),
  })
  const storm = fc.array(divide, { minLength: 3, maxLength: 3 })
  return fc.noBias(
    storm.map(
      (actions) => ({ epochs: 'long', fleet, rounds: [{ calm: [], faults: [], storm: actions }] }) as const,
    ),
  )
}
