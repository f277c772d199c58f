import { assert } from 'vitest'
import { hex } from '../../src/base/bytes.ts'
import type { CryptoEngine } from '../../src/crypto/engine.ts'
import type { Identity } from '../../src/identity/identity.ts'
import type { SigningKey } from '../../src/identity/signing-key.ts'
import type { IdentityClaims } from '../../src/identity/token.ts'
import { Trust } from '../../src/identity/trust.ts'
import type { LeftOut } from '../../src/keys/announcement-store.ts'
import {
  judgeAnnouncement,
  type ParsedAnnouncement,
  parseAnnouncement,
  signAnnouncement,
  type VerifiedAnnouncement,
} from '../../src/keys/announcements.ts'
import { Directory } from '../../src/keys/directory.ts'
import {
  type AcceptedEpoch,
  EpochChain,
  type EpochFloor,
  FIRST_PREV_HASH,
  signEpoch,
} from '../../src/keys/epochs.ts'
import { RevocationSet, signRevocation } from '../../src/keys/revocations.ts'
import {
  type Announcement,
  type Epoch,
  encodeAnnouncement,
  encodeSignedAnnouncement,
  type Revocation,
} from '../../src/wire/statements.ts'
import {
  engine as defaultEngine,
  type IdentityOptions,
  NOTHING,
  newAuthority,
  newIdentity,
} from './identities.ts'

/** When these tests take place. */
export const T0 = 1_800_000_000_000
export const MINUTE = 60_000
export const HOUR = 60 * MINUTE
export const DAY = 24 * HOUR

/** An epoch as a wire message, with what a tick would say of it. */
export interface MadeEpoch extends EpochFloor {
  readonly bytes: Uint8Array
  readonly epoch: Epoch
}

/** Who signs a statement; `token: undefined` leaves the token out, as an authority does. */
export interface SignedBy {
  readonly signer?: Identity | SigningKey
  readonly token?: string | undefined
}

/** An authority, a rotator, and what one agent believes: all statements are made by hand, nothing is on a network. */
export class World {
  readonly authority: SigningKey
  readonly rotator: Identity
  readonly trust: Trust
  readonly revocations: RevocationSet
  readonly chain: EpochChain
  readonly directory: Directory
  /** Every floor that the chain asked to keep, in order. */
  readonly kept: EpochFloor[] = []
  /** Instances (hexadecimal or not) for which a clone alarm was raised. */
  readonly clones: Uint8Array[] = []
  /** The highest time that was confirmed: whatever a test says. */
  latestMs = 0
  /** The monotonic clock: it stands still until a test moves it. */
  monotonicMs = 0
  /** Announcements that were signed by their identity and not taken. */
  readonly refused: LeftOut[] = []

  /** A second world of the same authority and rotator is another agent, or the same one after a restart. */
  constructor(
    options: {
      readonly floor?: EpochFloor
      readonly like?: Pick<World, 'authority' | 'rotator'>
      readonly engine?: CryptoEngine
      /** Whether it passes on what it has proved, as a rotation service does. */
      readonly passesOn?: boolean
    } = {},
  ) {
    const { floor, like, engine = defaultEngine, passesOn = false } = options
    this.authority = like?.authority ?? newAuthority()
    this.rotator = like?.rotator ?? this.identity('rotator', { permissions: NOTHING, roles: ['rotator'] })
    this.trust = new Trust(engine, { authority: [this.authority.publicKey] })
    const latest = (): number => this.latestMs
    this.revocations = new RevocationSet(engine, this.trust, latest)
    const { trust, revocations, kept, clones, refused } = this
    this.chain = new EpochChain({
      engine,
      trust,
      revocations,
      floor,
      keepFloor: (next) => kept.push(next),
      latest,
    })
    this.directory = new Directory({
      engine,
      trust,
      epochs: this.chain,
      revocations,
      latest,
      passesOn,
      monotonic: () => this.monotonicMs,
      onClone: ({ announcement }) => clones.push(announcement.instance),
      onRefused: (announcement) => refused.push(announcement),
    })
  }

  get realm(): string {
    return this.authority.publicKey
  }

  identity(name: string, options: Partial<IdentityOptions> = {}): Identity {
    return newIdentity(this.authority, name, {
      issuedAtMs: T0 - HOUR,
      expiresAtMs: T0 + 30 * DAY,
      ...options,
    }).identity
  }

  /** An hour's epoch after `previous`, or the first one, signed by the rotator unless said otherwise. */
  epoch(previous: MadeEpoch | undefined, changes: Partial<Epoch> = {}, by: SignedBy = {}): MadeEpoch {
    const notBefore =
      changes.notBefore ?? (previous === undefined ? T0 : previous.epoch.notAfter - 5 * MINUTE)
    const epoch: Epoch = {
      realm: this.realm,
      number: (previous?.number ?? 0) + 1,
      prevHash: previous?.hash ?? FIRST_PREV_HASH,
      notBefore,
      notAfter: notBefore + HOUR,
      graceMs: 5 * MINUTE,
      suites: [1],
      revocations: [],
      ...changes,
    }
    const { signer = this.rotator } = by
    const token = 'token' in by ? by.token : this.rotator.token
    const bytes = signEpoch(signer, epoch, token)
    const { number, hash } = this.chain.peek(bytes)
    return { bytes, epoch, number, hash }
  }

  /** An epoch that the authority signs. */
  anchor(previous: MadeEpoch | undefined, changes: Partial<Epoch> = {}): MadeEpoch {
    return this.epoch(previous, changes, { signer: this.authority, token: undefined })
  }

  /** `count` epochs, each after the one before. */
  epochs(count: number): MadeEpoch[] {
    const all: MadeEpoch[] = []
    for (let i = 0; i < count; i++) all.push(this.epoch(all.at(-1)))
    return all
  }

  /** Has the chain accept an epoch of which it has the predecessor, at the time at which it begins. */
  accept(made: MadeEpoch, nowMs = made.epoch.notBefore): AcceptedEpoch {
    return this.chain.accept([made.bytes], made, nowMs)
  }

  revocation(identity: Identity, changes: Partial<Revocation> = {}, by: SignedBy = {}): Uint8Array {
    const revocation = {
      realm: this.realm,
      identity: identity.publicKey,
      since: T0,
      until: T0 + 30 * DAY,
      reason: 'lost',
      ...changes,
    }
    return signRevocation(by.signer ?? this.authority, revocation, by.token)
  }

  /** What a fresh instance announces for an epoch, with changes that are signed along. */
  announcement(
    identity: Identity,
    epoch: AcceptedEpoch,
    changes: Partial<Announcement> = {},
    keys: { readonly messageKey?: Uint8Array; readonly signer?: Identity } = {},
  ): ParsedAnnouncement {
    const message = defaultEngine.ed25519KeyPair()
    return signAnnouncement(
      defaultEngine,
      {
        realm: epoch.realm,
        agent: identity.name,
        instance: defaultEngine.randomBytes(8),
        epoch: epoch.number,
        epochHash: epoch.hash,
        identity: identity.publicKey,
        messageKey: message.publicKey,
        keys: [{ suite: 1, use: 0, publicKey: defaultEngine.x25519KeyPair().publicKey }],
        notBefore: epoch.notBefore,
        notAfter: epoch.notAfter,
        storedMs: 0,
        seq: 1,
        token: identity.token,
        ...changes,
      },
      { identity: keys.signer ?? identity, messageKey: keys.messageKey ?? message.secretKey },
    )
  }
}

/** An announcement with this token that nobody signed: junk that looks like one until it is verified. */
export function junkAnnouncement(
  token: { readonly claims: IdentityClaims; readonly token: string },
  epoch: EpochFloor & { readonly notBefore: number; readonly notAfter: number },
): Uint8Array {
  const { claims } = token
  const random = defaultEngine.randomBytes(136)
  const structure = encodeAnnouncement({
    realm: claims.realm,
    agent: claims.name,
    instance: random.subarray(0, 8),
    epoch: epoch.number,
    epochHash: epoch.hash,
    identity: claims.identity,
    messageKey: random.subarray(8, 40),
    keys: [{ suite: 1, use: 0, publicKey: random.subarray(40, 72) }],
    notBefore: epoch.notBefore,
    notAfter: epoch.notAfter,
    storedMs: 0,
    seq: 1,
    token: token.token,
  })
  const signature = random.subarray(72, 136)
  return encodeSignedAnnouncement({ structure, signature, proof: signature })
}

/** An announcement as it is proved; `undefined` where anything in it does not hold. */
export function verifyAnnouncement(
  ...args: Parameters<typeof judgeAnnouncement>
): VerifiedAnnouncement | undefined {
  const judged = judgeAnnouncement(...args)
  return typeof judged === 'string' ? undefined : judged
}

/** A parsed announcement again, from its bytes. */
export function reparse(bytes: Uint8Array): ParsedAnnouncement {
  return parseAnnouncement(defaultEngine, bytes)
}

/** The subject below `root` on which an announcement belongs. */
export function announceSubject(bytes: Uint8Array): string {
  const { agent, instance } = reparse(bytes).announcement
  return `announce.${agent}.${hex(instance)}`
}

/** The code of the error that a task throws; fails when it throws none. */
export function codeOf(task: () => unknown): string | undefined {
  try {
    task()
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error)
  }
  assert.fail('expected a failure')
}
