import { fromHex, hex } from '../../base/bytes.ts'
import { MAX_REFUSALS_PER_SECOND, MAX_SIDS_REMEMBERED } from '../../base/limits.ts'
import { RateLimit } from '../../base/rate-limit.ts'
import { Turns } from '../../base/turns.ts'
import { encodeRefusal, type RefusalReason } from '../../wire/refusal.ts'
import type { Context } from '../context.ts'
import type { NatsLike } from '../nats-like.ts'
import type { RealmLink } from '../realm/realm-link.ts'
import { publishSafely } from '../safely.ts'
import { sessionRefusal } from '../status.ts'
import { ownKeyName } from './held-session.ts'
import { Recent } from './recent.ts'

/** Between two refusals of one session: whoever repeats a frame has them published no faster. */
const REFUSE_AGAIN_MS = 1000
/** Between two events about the sessions of one agent. */
const TELL_AGAIN_MS = 10_000
const PUBLISH_AGAIN_MS = 50
/** Refusals to one agent that wait for their turn. */
const MAX_WAITING_OF_EACH = 64

/** A refusal before it has this instance's name. */
export interface OwnRefusal {
  readonly sid: Uint8Array
  readonly tag: Uint8Array
  readonly reason: RefusalReason
  /** By {@link ownKeyName} the own key to which its handshake was sealed. */
  readonly key: number
  /** The agent whose session it is. */
  readonly sender: string
}

/** What refusing sessions works with. */
export interface SessionRefusalsOptions extends Context {
  readonly link: Pick<RealmLink, 'keyring'>
}

/**
 * Tells senders that this instance takes no frames of their sessions. SPEC, "Refusals". So many a second, and the agents
 * that are told take turns: nobody who has many sessions refused keeps others from hearing of theirs.
 */
export class SessionRefusals {
  readonly #nc: NatsLike
  readonly #options: SessionRefusalsOptions
  readonly #budget = new RateLimit(MAX_REFUSALS_PER_SECOND)
  readonly #turns = new Turns<string, string>(MAX_WAITING_OF_EACH)
  readonly #waiting = new Map<string, OwnRefusal>()
  readonly #published: Recent<true>
  readonly #told: Recent<true>
  #cancel: (() => void) | undefined

  constructor(nc: NatsLike, options: SessionRefusalsOptions) {
    const { clock } = options
    this.#nc = nc
    this.#options = options
    this.#published = new Recent(clock, { ttlMs: REFUSE_AGAIN_MS, max: MAX_SIDS_REMEMBERED })
    this.#told = new Recent(clock, { ttlMs: TELL_AGAIN_MS, max: MAX_SIDS_REMEMBERED })
  }

  /** Whether a refusal of this session (its sid in hexadecimal) would not be published yet: then none need be made. */
  isPublished(sid: string): boolean {
    return this.#published.get(sid) === true
  }

  /** Publishes a refusal: now, or when its turn comes. */
  refuse(refusal: OwnRefusal): void {
    const sid = hex(refusal.sid)
    if (this.isPublished(sid) || !this.#turns.add(refusal.sender, sid)) return
    // What a tombstone says stands in memory that is used again.
    this.#waiting.set(sid, { ...refusal, sid: fromHex(sid), tag: refusal.tag.slice() })
    this.#publish()
  }

  close(): void {
    this.#cancel?.()
    this.#cancel = undefined
    this.#turns.clear()
    this.#waiting.clear()
  }

  #publish(): void {
    const { clock } = this.#options
    while (this.#turns.size > 0 && this.#budget.take(clock.monotonic())) {
      const sid = this.#turns.take() ?? ''
      const refusal = this.#waiting.get(sid)
      this.#waiting.delete(sid)
      if (refusal === undefined || this.#nc.isClosed()) continue
      this.#published.set(sid, true)
      this.#send(refusal)
    }
    if (this.#turns.size === 0) return
    this.#cancel ??= clock.after(PUBLISH_AGAIN_MS, () => {
      this.#cancel = undefined
      this.#publish()
    })
  }

  #send({ sid, tag, reason, key, sender }: OwnRefusal): void {
    const { link, subjects, feed, onError } = this.#options
    const own = link.keyring.ownKeys().find(({ kid }) => ownKeyName(kid) === key)
    if (own === undefined) return
    const bytes = encodeRefusal({ sid, kid: own.kid, reason, tag })
    if (!publishSafely(this.#nc, subjects.session(sid), { bytes, onError })) return
    if (this.#told.get(sender) === true) return
    this.#told.set(sender, true)
    feed.emit({ type: 'refusedSession', sender, reason: sessionRefusal(reason) })
  }
}
