import { covers } from '../../src/base/subject.ts'
import type { SecureMessage } from '../../src/bus/messages/message.ts'
import type { SealMode } from '../../src/bus/messages/opened.ts'
import { count, type Tally } from './tally.ts'

/** An agent's instance, as others know it. */
export interface InstanceName {
  readonly name: string
  readonly instance: string
}

/** A message as its sender gave it to its agent. */
export interface Sent {
  /** What the payload begins with; nobody else has it. */
  readonly marker: string
  readonly payload: string
  readonly from: InstanceName
  readonly subject: string
  readonly mode: SealMode
  /** The instances that may have it, by the cast's permissions: whatever its sender's directory says. */
  readonly audience: ReadonlySet<string>
  readonly headers: readonly (readonly [string, string])[]
  /** The reply subject; `request` where the agent chooses it; `response` where it is none of the sender's. */
  readonly reply: string | undefined | 'request'
  /** Until when it may be delivered, in true time; `Infinity` where that is not sure. */
  readonly untilMs: number
  /** The marker of the request that this is the response to. */
  readonly answers: string | undefined
}

/** A subscription, and what has come by it. */
export class Inlet {
  readonly owner: InstanceName
  readonly pattern: string
  readonly queue: string | undefined
  /** Markers of what it has got. */
  readonly got = new Set<string>()
  /** Of what others of the same pattern and queue had got before it was opened. */
  readonly gotBefore: ReadonlySet<string>
  isOpen = true

  /** @internal Made by {@link Ledger.open}. */
  constructor(
    owner: InstanceName,
    of: { readonly pattern: string; readonly queue: string | undefined },
    gotBefore: ReadonlySet<string>,
  ) {
    this.owner = owner
    this.pattern = of.pattern
    this.queue = of.queue
    this.gotBefore = gotBefore
  }
}

/** Something that must not have happened. */
export class Violation extends Error {
  override readonly name = 'Violation'
}

/** A delivery that has to come: to each of these, or to exactly one of these. */
interface Owed {
  readonly sent: Sent
  readonly inlets: readonly Inlet[]
  readonly isQueue: boolean
}

/** The books of one schedule: who sent what, who got what, and what must not be. */
export class Ledger {
  readonly violations: string[] = []
  readonly #tally: Tally
  readonly #sent = new Map<string, Sent>()
  readonly #inlets: Inlet[] = []
  readonly #owed: Owed[] = []
  /** Instances of which a session was refused. */
  readonly #refused = new Set<string>()
  readonly #repliesOf: (requester: string, subject: string) => ReadonlySet<string>

  readonly #nowMs: () => number
  readonly #isOutOfTouch: (name: string) => boolean
  readonly #isBarred: (name: string) => boolean

  /** @param repliesOf the reply subjects with which an agent has published on a subject, as the line saw them */
  constructor(
    tally: Tally,
    parts: {
      readonly repliesOf: (requester: string, subject: string) => ReadonlySet<string>
      /** The true time. */
      readonly nowMs: () => number
      /** Whether an agent may not open anything now. */
      readonly isOutOfTouch: (name: string) => boolean
      /** Whether nobody may open what this sender says. */
      readonly isBarred: (name: string) => boolean
    },
  ) {
    this.#tally = tally
    this.#repliesOf = parts.repliesOf
    this.#nowMs = parts.nowMs
    this.#isOutOfTouch = parts.isOutOfTouch
    this.#isBarred = parts.isBarred
  }

  /** Enters a message before it is published. */
  enter(sent: Sent): void {
    this.#sent.set(sent.marker, sent)
    count(this.#tally.sent, sent.mode)
  }

  /** Enters a subscription. */
  open(owner: InstanceName, of: { readonly pattern: string; readonly queue: string | undefined }): Inlet {
    const gotBefore = this.#inlets
      .filter((other) => isSame(other, owner, of))
      .flatMap((other) => [...other.got])
    const inlet = new Inlet(owner, of, new Set(gotBefore))
    this.#inlets.push(inlet)
    return inlet
  }

  /** Everything that this message must come to, given who subscribes now. To be called where nothing goes wrong. */
  owe(sent: Sent): void {
    const fitting = this.#inlets.filter(({ isOpen, pattern }) => isOpen && covers(pattern, sent.subject))
    const isAddressed = ({ owner }: Inlet): boolean => sent.audience.has(owner.instance)
    for (const inlet of fitting) {
      if (inlet.queue === undefined && isAddressed(inlet))
        this.#owed.push({ sent, inlets: [inlet], isQueue: false })
    }
    for (const queue of new Set(fitting.map((inlet) => inlet.queue))) {
      const inlets = fitting.filter((inlet) => inlet.queue === queue)
      // The server may choose a worker that it is not sealed to.
      if (queue !== undefined && inlets.every(isAddressed)) this.#owed.push({ sent, inlets, isQueue: true })
    }
  }

  /** Whether what is owed has come. What has not is a violation. */
  settle(): void {
    for (const { sent, inlets, isQueue } of this.#owed.splice(0)) {
      const takers = inlets.filter((inlet) => inlet.got.has(sent.marker))
      this.#tally.owed++
      // A queue group of several patterns has one member for each.
      const isMet = isQueue ? takers.length === 1 : takers.length === inlets.length
      if (isMet) continue
      const others = inlets.filter((inlet) => !takers.includes(inlet)).map(where)
      this.#violate(`lost where nothing went wrong: ${describe(sent)}, not got by ${others.join(', ')}`)
    }
  }

  /** Judges a message that a handler got. */
  take(inlet: Inlet, message: SecureMessage): void {
    count(this.#tally.delivered, message.mode)
    const sent = this.#find(message)
    if (sent === undefined) {
      this.#violate(`${where(inlet)} got a payload that nobody sent: ${JSON.stringify(excerpt(message))}`)
      return
    }
    this.#judgeContent(sent, message, where(inlet))
    if (this.#isOutOfTouch(inlet.owner.name)) this.#violate(`${where(inlet)} opened, and is out of touch`)
    if (this.#isBarred(sent.from.name))
      this.#violate(`${where(inlet)} got what a revoked member says: ${describe(sent)}`)
    if (sent.answers !== undefined) this.#violate(`${where(inlet)} got a response: ${describe(sent)}`)
    if (!covers(inlet.pattern, sent.subject))
      this.#violate(`${where(inlet)} got what it has not subscribed to: ${describe(sent)}`)
    if (!sent.audience.has(inlet.owner.instance))
      this.#violate(`${where(inlet)} is not in the audience of ${describe(sent)}`)
    if (inlet.got.has(sent.marker) || inlet.gotBefore.has(sent.marker))
      this.#violate(`${where(inlet)} got twice: ${describe(sent)}`)
    inlet.got.add(sent.marker)
  }

  /** Judges the response that a request ended with. */
  takeResponse(request: Sent, message: SecureMessage): void {
    count(this.#tally.delivered, message.mode)
    const of = `the request ${describe(request)}`
    const sent = this.#find(message)
    if (sent === undefined) {
      this.#violate(`${of} got a response that nobody sent: ${JSON.stringify(excerpt(message))}`)
      return
    }
    this.#judgeContent(sent, message, of)
    if (sent.answers !== request.marker) this.#violate(`${of} got the response to another one`)
    if (!request.audience.has(sent.from.instance)) this.#violate(`${of} was answered by ${sent.from.name}`)
    if (!sent.audience.has(request.from.instance)) this.#violate(`${of} got a response for somebody else`)
  }

  /** A recipient has refused a session of this instance: what follows may go in messages. */
  sessionRefused(instance: string): void {
    this.#refused.add(instance)
  }

  /** Something that is wrong by itself. */
  violate(what: string): void {
    this.#violate(what)
  }

  #judgeContent(sent: Sent, message: SecureMessage, at: string): void {
    const { sender, subject, mode, reply, headers } = message
    const wrong = (what: string, got: unknown): void =>
      this.#violate(`${at} got another ${what} of ${describe(sent)}: ${JSON.stringify(got)}`)
    if (this.#nowMs() > sent.untilMs) this.#violate(`${at} got too late: ${describe(sent)}`)
    if (message.string() !== sent.payload) wrong('payload', excerpt(message))
    if (sender.instance !== sent.from.instance || sender.name !== sent.from.name) wrong('sender', sender)
    if (sent.answers === undefined && subject !== sent.subject) wrong('subject', subject)
    const mayBeMessage = mode === 'message' && this.#refused.has(sent.from.instance)
    if (mode !== sent.mode && !mayBeMessage) wrong('mode', mode)
    const got = [...(headers ?? [])].flatMap(([name, values]) => values.map((value) => [name, value]))
    if (JSON.stringify(got) !== JSON.stringify(sent.headers)) wrong('set of headers', got)
    const isReply =
      sent.reply === 'request'
        ? reply !== undefined && this.#repliesOf(sent.from.name, sent.subject).has(reply)
        : reply === sent.reply
    if (!isReply) wrong('reply subject', reply)
  }

  #find(message: SecureMessage): Sent | undefined {
    return this.#sent.get(excerpt(message))
  }

  #violate(what: string): void {
    this.violations.push(what)
  }
}

/** How long a marker is: characters at the beginning of each payload. */
export const MARKER_LENGTH = 36

function excerpt({ data }: SecureMessage): string {
  return Buffer.from(data.subarray(0, MARKER_LENGTH)).toString('latin1')
}

function isSame(
  inlet: Inlet,
  owner: InstanceName,
  of: { readonly pattern: string; readonly queue: string | undefined },
): boolean {
  const isOfOwner = inlet.owner.instance === owner.instance
  return isOfOwner && inlet.pattern === of.pattern && inlet.queue === of.queue
}

function where({ owner, pattern, queue }: Inlet): string {
  return `${owner.name}'s handler of ${pattern}${queue === undefined ? '' : ` (queue ${queue})`}`
}

function describe({ marker, from, subject, mode }: Sent): string {
  return `${marker.slice(-8)} from ${from.name} on ${subject} (${mode})`
}
