import { createHash } from 'node:crypto'
import { covers } from '../../src/base/subject.ts'
import type { HostileLine } from '../support/hostile-line/hostile-line.ts'
import type { LineConnection } from '../support/hostile-line/line-connection.ts'
import {
  type Direction,
  isMessage,
  type MsgOp,
  type NatsOp,
  type PubOp,
} from '../support/hostile-line/nats-op.ts'
import {
  alter,
  type Crossing,
  delay,
  drop,
  flipByte,
  type MessageCrossing,
  moveToSid,
  pass,
  repeat,
  type Verdicts,
} from '../support/hostile-line/verdicts.ts'
import { AGENTS, ROTATOR } from './cast.ts'
import type { Fault, FaultAim, FaultKind } from './faults.ts'
import { count, type Tally } from './tally.ts'

const MAX_DELAY_MS = 150_000
/** How far back the line looks for something to repeat: by its clock, since the order of what it records is not its own. */
const RECENT_MS = 60_000

/** Header blocks that nobody has sent. */
const ODD_HEADERS = [
  'NATS/1.0\r\nX-Injected: 1\r\n\r\n',
  'NATS/1.0\r\nNats-Msg-Id: injected\r\n\r\n',
  'NATS/1.0 503 No Responders\r\n\r\n',
  'no headers at all\r\n\r\n',
]

/** The subjects of one schedule. */
export interface Grounds {
  /** What the subjects of its applications begin with. */
  readonly prefix: string
  /** What the protocol's subjects begin with. */
  readonly root: string
  /** Clients that work with the broker: it keeps nothing from them, and nothing of theirs from others. */
  readonly accomplices: ReadonlySet<string>
}

/** A hostile broker at work: its rule for what crosses the line while faults last. */
export class Storm {
  readonly #line: HostileLine
  readonly #grounds: Grounds
  readonly #faults: readonly Fault[]
  readonly #tally: Tally
  /** How many messages of a connection a fault was for, so far. */
  readonly #met = new Map<string, number>()
  /** What goes on only after the next one of its connection and direction. */
  readonly #overtaken = new Map<string, NatsOp[]>()

  constructor(
    line: HostileLine,
    parts: {
      readonly grounds: Grounds
      readonly faults: readonly Fault[]
      readonly tally: Tally
    },
  ) {
    this.#line = line
    this.#grounds = parts.grounds
    this.#faults = parts.faults
    this.#tally = parts.tally
  }

  /** What becomes of an operation. */
  judge(crossing: Crossing): Verdicts {
    const { op } = crossing
    if (!isMessage(op)) return pass(crossing)
    const message = { ...crossing, op }
    const overtaken = this.#takeOvertaken(crossing)
    const verdicts = this.#judgeMessage(message)
    return overtaken.length === 0 ? verdicts : [...verdicts, ...overtaken.map((late) => ({ op: late }))]
  }

  /** It is over: what was held back goes on. */
  end(): void {
    for (const connection of this.#line.connections) {
      for (const direction of ['to server', 'to client'] as const)
        for (const op of this.#takeOvertaken({ connection, direction }))
          this.#line.inject(connection, direction, op)
    }
    this.#line.releaseDelayed()
  }

  #judgeMessage(message: MessageCrossing): Verdicts {
    for (const [i, fault] of this.#faults.entries()) {
      if (!this.#isFor(fault, message)) continue
      const key = `${i} ${message.connection.number}`
      const met = this.#met.get(key) ?? 0
      this.#met.set(key, met + 1)
      const verdicts = met % fault.every === 0 ? this.#apply(fault, message, met) : undefined
      if (verdicts === undefined) continue
      this.#count(fault.kind, message)
      return verdicts
    }
    return pass(message)
  }

  #count(kind: FaultKind, { direction, op }: MessageCrossing): void {
    count(this.#tally.faults, kind)
    count(this.#tally.aims, `${kind}: ${direction}`)
    count(this.#tally.aims, `${kind}: ${this.#sortOf(op.subject)}`)
  }

  /** What a message is: an application's, or of a sort of the protocol's. */
  #sortOf(subject: string): string {
    const { root } = this.#grounds
    return subject.startsWith(`${root}.`)
      ? (subject.slice(root.length + 1).split('.')[0] ?? '')
      : 'application'
  }

  #isFor({ kind, aim, direction }: Fault, { op, direction: way }: MessageCrossing): boolean {
    // Only deliveries have a sid, and only of a delivery it is known who published it.
    const wanted = kind === 'move to another sid' || kind === 'partition' ? 'to client' : direction
    return way === wanted && this.#isAimedAt(aim, op.subject)
  }

  #isAimedAt(aim: FaultAim, subject: string): boolean {
    const { root } = this.#grounds
    const isOfProtocol = subject.startsWith(`${root}.`)
    if (aim === 'everything') return true
    if (aim === 'protocol') return isOfProtocol
    if (aim === 'application') return !isOfProtocol
    return subject.startsWith(`${root}.${aim}`)
  }

  /** @returns `undefined` where the fault cannot happen to this message */
  #apply(fault: Fault, message: MessageCrossing, met: number): Verdicts | undefined {
    const { op } = message
    const amount = fault.amount + met
    switch (fault.kind) {
      case 'drop':
        return drop()
      case 'delay':
        return delay(message, 1 + ((amount * 37) % MAX_DELAY_MS))
      case 'duplicate':
        return repeat(message, 2 + (amount % 2))
      case 'reorder':
        return this.#overtake(message)
      case 'replay':
        return this.#withOld(message, amount)
      case 'inject junk':
        return [...pass(message), { op: { ...op, headers: undefined, payload: junk(op.payload, amount) } }]
      case 'inject copied key ids':
        return [...pass(message), { op: { ...op, payload: copiedBeginning(op.payload, amount) } }]
      case 'alter payload':
        return alter(message, { payload: flipByte(op.payload, amount) })
      case 'alter headers':
        return alter(message, { headers: Buffer.from(ODD_HEADERS[amount % ODD_HEADERS.length] ?? '') })
      case 'move to another subject':
        return this.#moveSubject(message, amount)
      case 'move to another sid':
        return this.#moveSid(message, amount)
      case 'rewrite reply':
        return this.#rewriteReply(message, amount)
      case 'partition':
        return this.#part(message, fault.amount)
    }
  }

  #overtake({ connection, direction, op }: MessageCrossing): Verdicts {
    this.#overtaken.set(placeOf({ connection, direction }), [op])
    return drop()
  }

  #takeOvertaken(at: Pick<Crossing, 'connection' | 'direction'>): readonly NatsOp[] {
    const key = placeOf(at)
    const ops = this.#overtaken.get(key) ?? []
    this.#overtaken.delete(key)
    return ops
  }

  /** This one, and one that crossed before, where it fits now. */
  #withOld(message: MessageCrossing, amount: number): Verdicts | undefined {
    const { connection, direction, atMs } = message
    const old = this.#recent(atMs).filter((other) => other.direction === direction && isMessage(other.op))
    const chosen = old[amount % Math.max(1, old.length)]?.op
    if (chosen === undefined || !isMessage(chosen)) return undefined
    const fitting = chosen.kind === 'PUB' ? [chosen] : refitted(chosen, connection)
    if (fitting.length === 0) return undefined
    return [...pass(message), ...fitting.map((op) => ({ op }))]
  }

  #moveSubject(message: MessageCrossing, amount: number): Verdicts | undefined {
    const { connection, direction } = message
    const subject = this.#otherSubject(message, amount)
    if (subject === undefined) return undefined
    if (direction === 'to server' || amount % 2 === 0) return alter(message, { subject })
    const [sid] = sidsFor(connection, subject)
    return sid === undefined ? undefined : alter(message, { subject, sid })
  }

  #moveSid(message: MessageCrossing, amount: number): Verdicts | undefined {
    const { connection, op } = message
    const others = this.#line.connections.filter((other) => other !== connection)
    const isFar = amount % 4 === 0
    const target = isFar ? others[(amount >> 2) % Math.max(1, others.length)] : connection
    const own = op.kind === 'MSG' && !isFar ? op.sid : undefined
    const sids = [...(target?.subscriptions.keys() ?? [])].filter((sid) => sid !== own)
    const sid = sids[amount % Math.max(1, sids.length)]
    return target === undefined || sid === undefined ? undefined : moveToSid(message, sid, target)
  }

  #rewriteReply(message: MessageCrossing, amount: number): Verdicts {
    const { op } = message
    if (amount % 4 === 0 && op.reply !== undefined) return alter(message, { reply: undefined })
    const others = this.#recentMessages(message.atMs).flatMap(({ reply }) => reply ?? [])
    const other = amount % 2 === 0 ? others[amount % Math.max(1, others.length)] : undefined
    return alter(message, { reply: other ?? `${this.#grounds.prefix}.of.the.broker` })
  }

  /** Two worlds: what one half of the clients publishes, the other half does not see. */
  #part(message: MessageCrossing, amount: number): Verdicts | undefined {
    return areApart(this.#line, message, { ...this.#grounds, halves: amount }) ? drop() : undefined
  }

  #otherSubject({ op, atMs }: MessageCrossing, amount: number): string | undefined {
    const subjects = [...new Set(this.#recentMessages(atMs).map(({ subject }) => subject))]
    const others = subjects.filter((other) => other !== op.subject)
    return others[amount % Math.max(1, others.length)]
  }

  #recentMessages(nowMs: number): readonly (PubOp | MsgOp)[] {
    return this.#recent(nowMs).flatMap(({ op }) => (isMessage(op) ? [op] : []))
  }

  #recent(nowMs: number): readonly Crossing[] {
    return this.#line.settled.filter(({ atMs }) => nowMs - atMs <= RECENT_MS)
  }
}

/** A delivery again: once for each subscription of a connection that it fits now. */
export function refitted(op: MsgOp, connection: LineConnection): readonly MsgOp[] {
  return sidsFor(connection, op.subject).map((sid) => ({ ...op, sid }))
}

/** A delivery again, for one subscription of a connection that it does not fit; none where it fits all. */
export function misfitted(op: MsgOp, connection: LineConnection): readonly MsgOp[] {
  const others = [...connection.subscriptions.values()].filter(({ subject }) => !covers(subject, op.subject))
  const chosen = others[Number(op.sid) % Math.max(1, others.length)]
  return chosen === undefined ? [] : [{ ...op, sid: chosen.sid }]
}

function sidsFor(connection: LineConnection, subject: string): readonly string[] {
  return [...connection.subscriptions.values()]
    .filter((subscription) => covers(subscription.subject, subject))
    .map(({ sid }) => sid)
}

function placeOf({ connection, direction }: { connection: LineConnection; direction: Direction }): string {
  return `${connection.number} ${direction}`
}

/** Whether a delivery is of a client that is in the other half than the one that it is for. */
export function areApart(
  line: HostileLine,
  message: Crossing,
  { accomplices, halves }: Pick<Grounds, 'accomplices'> & { readonly halves: number },
): boolean {
  const publisher = line.publisherOf(message)
  if (publisher === undefined || [publisher, message.connection].some(({ name }) => accomplices.has(name)))
    return false
  return halfOf(publisher, halves) !== halfOf(message.connection, halves)
}

function halfOf({ name }: LineConnection, halves: number): number {
  const rotator = name.startsWith(ROTATOR) ? Number(name.slice(ROTATOR.length)) : 0
  // Agents are in the first places, then whoever runs the realm, and then the rotation services.
  const agent = (AGENTS as readonly string[]).indexOf(name)
  const place = agent >= 0 ? agent : AGENTS.length + rotator
  return (halves >> (place + 1)) & 1
}

/** Bytes that follow from a number, and look like chance. */
function noise(length: number, amount: number): Buffer {
  const blocks: Buffer[] = []
  for (let i = 0; i * 32 < length; i++) blocks.push(createHash('sha256').update(`${amount} ${i}`).digest())
  return Buffer.concat(blocks).subarray(0, length)
}

function junk(payload: Buffer, amount: number): Buffer {
  switch (amount % 5) {
    case 0:
      return Buffer.from('plain text')
    case 1:
      return Buffer.alloc(0)
    case 2:
      return payload.subarray(0, amount % Math.max(1, payload.length))
    case 3:
      return Buffer.concat([payload.subarray(0, 3), noise(200, amount)])
    default:
      return noise(64 + (amount % 400), amount)
  }
}

/** The first half as it is, with what stands for recipients in it, and chance behind it. */
function copiedBeginning(payload: Buffer, amount: number): Buffer {
  const half = payload.length >> 1
  return Buffer.concat([payload.subarray(0, half), noise(payload.length - half, amount)])
}
