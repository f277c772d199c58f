import { Timers } from '../../../dist/base/timers.js'
import type { NatsMessage } from '../../../dist/bus/nats-like.js'
import { FreshnessWatch } from '../../../dist/bus/realm/freshness-watch.js'
import { PageFetches } from '../../../dist/bus/realm/page-fetches.js'
import { Pings } from '../../../dist/bus/realm/pings.js'
import { RealmRevocations } from '../../../dist/bus/realm/realm-revocations.js'
import { type AnsweredTick, TickJudge } from '../../../dist/bus/realm/tick-judge.js'
import { publishSafely, subscribeSafely } from '../../../dist/bus/safely.js'
import { verifyPlan } from '../../../dist/keys/plan.js'
import { memoryState } from '../../../dist/keys/state.js'
import { rid } from '../../../dist/keys/subjects.js'
import { WireType, wireType } from '../../../dist/wire/preamble.js'
import { encodeQuery, type Query, QueryKind } from '../../../dist/wire/queries.js'
import { INSTANCE_BYTES } from '../../../dist/wire/statements.js'
import { type Agent, AgentNotes, type AgentOptions, agentContext } from './agent.ts'

/**
 * The parts of an agent that make it fresh: its pings, what judges ticks, its revocations, and what counts and watches. They are
 * the very parts that a whole agent has, and are told of each other as there. It has no identity, no keys and no directory: a root
 * of a directory is never news to it.
 */
export function startCounting(options: AgentOptions): Agent {
  const { realm, nc, name, onFault } = options
  const notes = new AgentNotes(options.clock)
  const context = agentContext(options)
  const { engine, clock, subjects, trust, feed, onError, reject } = context
  const plan = verifyPlan({ engine, trust }, realm.plan.plan, clock.now())
  const timers = new Timers(clock, onFault)
  const instance = engine.randomBytes(INSTANCE_BYTES)
  const inbox = subjects.inbox(name, instance)
  let isJoined = false

  const publish = (subject: string, bytes: Uint8Array, reply?: string): void =>
    void publishSafely(nc, subject, { bytes, onError, ...(reply === undefined ? {} : { reply }) })
  const ask = (subject: string, query: Query): void => publish(subject, encodeQuery(query), inbox)

  const pings = new Pings({
    engine,
    clock,
    timers,
    send: (nonce) => ask(subjects.ping(name, instance), { nonce, kind: QueryKind.tick, cursor: undefined }),
  })
  const freshness = new FreshnessWatch({
    clock,
    feed,
    timers,
    onLost: () => {
      notes.wasAlwaysFresh = false
      pings.now()
    },
  })
  const fetches = new PageFetches({
    engine,
    clock,
    timers,
    ask: (rotator, query) => ask(subjects.query(rid(engine, rotator), name, instance), query),
  })
  const revocations: RealmRevocations = new RealmRevocations({
    ...context,
    state: memoryState(),
    timers,
    fetches: () => fetches,
    publish: (bytes) => publish(subjects.revoke, bytes),
    stands: (answered) => judge.stands(answered),
    onHeld: (answered) => count(answered),
    onRevoked: (news) => {
      for (const { revocation } of news) notes.acted(revocation.identity)
    },
  })
  const judge: TickJudge = new TickJudge({
    ...context,
    revocations: revocations.set,
    plan: () => plan,
    open: () => pings.open(),
    newestOf: (rotator) => freshness.newestOf(rotator),
    isKnownRoot: () => true,
  })

  function count({ tick, askedAtLateMs }: AnsweredTick): void {
    const freshFrom = freshness.count(tick.rotator, askedAtLateMs)
    revocations.counted(tick)
    if (freshFrom === undefined || freshness.isStale) return
    if (!isJoined) pings.joined()
    isJoined = true
    pings.answered(freshFrom)
  }

  function takeInbox({ data }: NatsMessage): void {
    if (wireType(data) === WireType.page) {
      fetches.take(data)
      return revocations.act()
    }
    if (wireType(data) !== WireType.tick) return
    freshness.look()
    const answer = judge.answer(data)
    if (answer?.verdict === 'counts') revocations.offer(answer)
  }

  function takeHint({ data }: NatsMessage): void {
    freshness.look()
    const tick = judge.hint(data)
    if (tick !== undefined && revocations.hinted(tick)) pings.hinted()
  }

  const follow = (subject: string, take: (message: NatsMessage) => void) =>
    subscribeSafely(nc, subject, { take, reject, onError: onFault, onRefused: onFault })
  follow(subjects.tick, takeHint)
  follow(subjects.revoke, ({ data }) => revocations.take(data))
  follow(inbox, takeInbox)
  freshness.adopt(plan)
  revocations.adopt(plan)
  pings.now()
  return {
    isFresh: () => !freshness.isStale,
    get wasAlwaysFresh() {
      return notes.wasAlwaysFresh
    },
    actedAt: (of) => notes.actedAt(of),
    audience: () => undefined,
    close() {
      timers.close()
      revocations.close()
      nc.close()
    },
  }
}
