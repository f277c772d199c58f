import { SubrosaError } from '../../base/errors.ts'
import { isSubject } from '../../base/subject.ts'
import type { HeaderPair } from '../../wire/sealed.ts'
import { MessageHeaders } from '../messages/headers.ts'
import type { NatsLike } from '../nats-like.ts'

/** More than the proof of a sender, padding, header and tag add to so many bytes: PADMÉ adds at most 12 %. */
const MOST_ADDED_BYTES = 512
const MOST_ADDED_SHARE = 0.13

/** Where a sealed message goes, and what goes with it in clear. */
export interface Route {
  readonly subject: string
  readonly reply: string | undefined
  readonly clear: readonly HeaderPair[]
}

/**
 * Asserts that a text can be published on. Clients write it into a line of NATS's protocol, and those of `nats` 2.29 as it
 * is: with a line end in it, whoever wrote the text would speak to the server in this agent's name.
 *
 * @throws SubrosaError ERR_MALFORMED
 */
export function assertSubject(subject: string): void {
  if (!isSubject(subject))
    throw new SubrosaError('ERR_MALFORMED', 'the subject to publish on is not a valid subject', {
      hint: 'a response goes on the reply subject that the server delivered: check its mappings and imports',
    })
}

/** The way out: what is sealed is published here, and must fit through. */
export class Wire {
  readonly #nc: NatsLike

  constructor(nc: NatsLike) {
    this.#nc = nc
  }

  /** How many bytes a message may have now: the server counts headers too, and its limit can change with a reconnect. */
  room(clear: readonly HeaderPair[]): number {
    return clear.length === 0 ? this.#limit : this.#limit - new MessageHeaders(clear).encode().length
  }

  /** Whether a frame with so much content surely fits, whatever proves its sender and however it is padded. */
  surelyTakes(contentBytes: number): boolean {
    return contentBytes * (1 + MOST_ADDED_SHARE) + MOST_ADDED_BYTES <= this.#limit
  }

  get #limit(): number {
    return this.#nc.info?.max_payload ?? Number.POSITIVE_INFINITY
  }

  /** @throws SubrosaError ERR_MALFORMED when subject or reply subject is not a valid subject */
  publish({ subject, reply, clear }: Route, bytes: Uint8Array): void {
    assertSubject(subject)
    if (reply !== undefined) assertSubject(reply)
    if (reply === undefined && clear.length === 0) {
      this.#nc.publish(subject, bytes)
      return
    }
    this.#nc.publish(subject, bytes, {
      ...(reply === undefined ? {} : { reply }),
      ...(clear.length === 0 ? {} : { headers: new MessageHeaders(clear) }),
    })
  }

  tooLarge(bytes: number, recipients: number): SubrosaError {
    return new SubrosaError(
      'ERR_MESSAGE_TOO_LARGE',
      `the message has ${bytes} bytes sealed to ${recipients}, and the server takes ${this.#nc.info?.max_payload}`,
      { hint: 'send less at once, name fewer recipients with `to`, or raise max_payload on the server' },
    )
  }
}
