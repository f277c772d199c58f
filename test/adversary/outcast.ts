import { engineFor } from '../../src/crypto/engine.ts'
import type { RecipientKey } from '../../src/envelope/keys.ts'
import { seal } from '../../src/envelope/seal.ts'
import type { Identity } from '../../src/identity/identity.ts'
import { type ParsedAnnouncement, signAnnouncement } from '../../src/keys/announcements.ts'
import type { Epoch } from '../../src/keys/epochs.ts'
import { WireType } from '../../src/wire/preamble.ts'
import { drawingFrom, type SeededRandom } from './watched-engine.ts'

/** Its keys of one epoch. */
interface Keys {
  readonly announcement: ParsedAnnouncement
  readonly messageKey: Uint8Array
}

/**
 * A member that is revoked sooner or later, and goes on all the same: the broker carries what it says. It keeps to no rule of
 * any library, and has the keys of an identity and of an instance.
 */
export class Outcast {
  readonly identity: Identity
  readonly instance: Uint8Array
  /** From when on nobody may hear it or seal to it, in true time. */
  barredFromMs = Number.POSITIVE_INFINITY
  isRevoked = false
  readonly #random: SeededRandom
  readonly #keys = new Map<number, Keys>()
  #seq = 0

  constructor(identity: Identity, random: SeededRandom) {
    this.identity = identity
    this.#random = random
    this.instance = drawingFrom(random, () => engineFor().randomBytes(8))
  }

  get self(): { readonly name: string; readonly instance: string } {
    return { name: this.identity.name, instance: Buffer.from(this.instance).toString('hex') }
  }

  /** Its announcement of an epoch, and whether it is the first time that it is asked for. */
  announcementOf(epoch: Epoch): { readonly bytes: Uint8Array; readonly isNew: boolean } {
    const known = this.#keys.get(epoch.number)
    if (known !== undefined) return { bytes: known.announcement.bytes, isNew: false }
    return drawingFrom(this.#random, () => {
      const engine = engineFor()
      const message = engine.ed25519KeyPair()
      const announcement = signAnnouncement(
        engine,
        {
          realm: epoch.realm,
          agent: this.identity.name,
          instance: this.instance,
          epoch: epoch.number,
          epochHash: epoch.hash,
          identity: this.identity.publicKey,
          messageKey: message.publicKey,
          keys: [{ suite: 1, use: 0, publicKey: engine.x25519KeyPair().publicKey }],
          notBefore: epoch.notBefore,
          notAfter: epoch.notAfter,
          storedMs: 0,
          seq: 1,
          token: this.identity.token,
        },
        { identity: this.identity, messageKey: message.secretKey },
      )
      this.#keys.set(epoch.number, { announcement, messageKey: message.secretKey })
      return { bytes: announcement.bytes, isNew: true }
    })
  }

  /** Something that it says to one recipient in an epoch in which it is announced. */
  seal(
    text: string,
    to: RecipientKey,
    of: { readonly epoch: Epoch; readonly subject: string; readonly sentAtMs: number },
  ): Uint8Array {
    const keys = this.#keys.get(of.epoch.number)
    if (keys === undefined) throw new Error('it is not announced')
    const content = {
      sender: keys.announcement.hash,
      seq: ++this.#seq,
      subject: of.subject,
      reply: undefined,
      inReplyTo: undefined,
      ttlMs: 0,
      headers: [],
      clearHeaders: [],
      payload: Buffer.from(text),
    }
    return drawingFrom(this.#random, () =>
      seal(engineFor(), content, {
        type: WireType.sealed,
        epoch: of.epoch.number,
        recipients: [to],
        messageKey: keys.messageKey,
        sentAtMs: of.sentAtMs,
        padding: 'padme',
      }),
    ).bytes
  }
}
