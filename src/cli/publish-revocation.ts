import type { NatsLike } from '../bus/nats-like.ts'
import { samePublic } from '../bytes.ts'
import { type Clock, systemClock } from '../clock.ts'
import { type CryptoEngine, engineFor } from '../crypto/engine.ts'
import { SubrosaError } from '../errors.ts'
import { Trust, type TrustOptions } from '../identity/trust.ts'
import { RevocationSet } from '../keys/revocations.ts'
import { type ProtocolSubjects, protocolSubjects } from '../keys/subjects.ts'
import { verifyTick } from '../keys/ticks.ts'
import {
  decodePage,
  encodeQuery,
  INSTANCE_BYTES,
  NONCE_BYTES,
  QueryKind,
  type Tick,
} from '../wire/statements.ts'

const ASK_AGAIN_MS = 500
const DEFAULT_TIMEOUT_MS = 5000

/** What is published, and where. */
export interface PublishRevocationOptions {
  readonly trust: TrustOptions
  /** The signed statement. */
  readonly statement: Uint8Array
  /** Milliseconds in which the rotation service must confirm. Default 5000. */
  readonly timeoutMs?: number
  readonly clock?: Clock
}

/**
 * Publishes a revocation and resolves when the rotation service proves that it holds it: by a tick that it signed
 * after being asked, over a set of revocations with this one in it. A broker's word alone is not taken.
 *
 * @throws SubrosaError ERR_NO_ROTATION_SERVICE when no such proof comes in time
 */
export async function publishRevocation(nc: NatsLike, options: PublishRevocationOptions): Promise<void> {
  const { statement, timeoutMs = DEFAULT_TIMEOUT_MS, clock = systemClock } = options
  const engine = engineFor()
  const trust = new Trust(engine, options.trust)
  const subjects = protocolSubjects(trust.realm)
  const inbox = subjects.inbox(engine.randomBytes(INSTANCE_BYTES))
  const proof = new Proof({ nc, engine, trust, subjects, inbox, statement, clock })
  const follow = (subject: string, take: (data: Uint8Array) => void) =>
    nc.subscribe(subject, {
      // Nothing may throw here: it would end the connection's read loop. What is malformed proves nothing.
      callback: (error, { data }) => {
        if (error === null) ignoringErrors(() => take(new Uint8Array(data)))
      },
    })
  const subscriptions = [
    follow(inbox, (data) => proof.takePage(data)),
    follow(subjects.tick, (data) => proof.takeTick(data)),
  ]
  let ask: NodeJS.Timeout | undefined
  let expire: NodeJS.Timeout | undefined
  try {
    await nc.flush()
    const tell = (): void => {
      nc.publish(subjects.revoke, statement)
      proof.ask()
    }
    tell()
    // Again until it is proved: core NATS may lose the statement, the question or the answer.
    ask = setInterval(tell, ASK_AGAIN_MS)
    await Promise.race([
      proof.isGiven,
      new Promise((_, reject) => {
        expire = setTimeout(() => reject(unconfirmed()), timeoutMs)
      }),
    ])
  } finally {
    clearInterval(ask)
    clearTimeout(expire)
    for (const subscription of subscriptions) subscription.unsubscribe()
  }
}

interface ProofParts {
  readonly nc: NatsLike
  readonly engine: CryptoEngine
  readonly trust: Trust
  readonly subjects: ProtocolSubjects
  readonly inbox: string
  readonly statement: Uint8Array
  readonly clock: Clock
}

/** Gathers the rotation service's revocations, and the tick that vouches for them. */
class Proof {
  /** Resolves when the proof is complete. */
  readonly isGiven: Promise<void>
  readonly #parts: ProofParts
  #give: () => void = () => {}
  #nonce: Uint8Array = new Uint8Array(0)
  #statements: Uint8Array[] = []
  #isWhole = false
  #ticks: Uint8Array[] = []

  constructor(parts: ProofParts) {
    this.#parts = parts
    this.isGiven = new Promise((resolve) => {
      this.#give = resolve
    })
  }

  /** Starts anew, with a nonce of its own. */
  ask(): void {
    this.#nonce = this.#parts.engine.randomBytes(NONCE_BYTES)
    this.#statements = []
    this.#isWhole = false
    this.#ticks = []
    this.#query(this.#nonce, undefined)
  }

  takePage(bytes: Uint8Array): void {
    const page = decodePage(bytes)
    if (page.kind !== QueryKind.revocations) return
    this.#statements.push(...page.statements)
    this.#isWhole = page.next === undefined
    if (page.next === undefined) this.#check()
    else this.#query(undefined, page.next)
  }

  takeTick(bytes: Uint8Array): void {
    this.#ticks.push(bytes)
    this.#check()
  }

  #query(nonce: Uint8Array | undefined, cursor: Uint8Array | undefined): void {
    const { nc, subjects, inbox } = this.#parts
    nc.publish(subjects.query, encodeQuery({ nonce, kind: QueryKind.revocations, cursor }), { reply: inbox })
  }

  #check(): void {
    const { engine, trust, statement, clock } = this.#parts
    const isThere = this.#statements.some((held) => samePublic(held, statement))
    if (!this.#isWhole || !isThere) return
    const nowMs = clock.now()
    const held = new RevocationSet(engine, trust)
    const others = new RevocationSet(engine, trust)
    for (const bytes of this.#statements) {
      held.add(bytes, nowMs)
      // Whoever is being revoked may be the rotator: it can still say that it has heard.
      if (!samePublic(bytes, statement)) others.add(bytes, nowMs)
    }
    const vouches = (tick: Tick): boolean =>
      tick.nonces.some((nonce) => samePublic(nonce, this.#nonce)) &&
      samePublic(tick.revocationsHash, held.hash(tick.now))
    for (const bytes of this.#ticks) {
      ignoringErrors(() => {
        if (vouches(verifyTick({ engine, trust, revocations: others }, bytes, nowMs))) this.#give()
      })
    }
  }
}

function ignoringErrors(task: () => void): void {
  try {
    task()
  } catch {
    // Anybody can publish anything here.
  }
}

function unconfirmed(): SubrosaError {
  return new SubrosaError('ERR_NO_ROTATION_SERVICE', 'the rotation service did not confirm it in time', {
    hint: 'is `subrosa rotator` running?',
  })
}
