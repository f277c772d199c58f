import { assert } from 'vitest'
import { hex } from '../../src/base/bytes.ts'
import type { CryptoEngine } from '../../src/crypto/engine.ts'
import type { Identity } from '../../src/identity/identity.ts'
import type { SigningKey } from '../../src/identity/signing-key.ts'
import type { IdentityClaims } from '../../src/identity/token.ts'
import { Trust } from '../../src/identity/trust.ts'
import {
  judgeAnnouncement,
  type ParsedAnnouncement,
  parseAnnouncement,
  signAnnouncement,
  type VerifiedAnnouncement,
} from '../../src/keys/announcements.ts'
import { Directory, type LeftOut } from '../../src/keys/directory.ts'
import { deriveEpoch, type Epoch, Epochs } from '../../src/keys/epochs.ts'
import { type HeldPlan, verifyPlan } from '../../src/keys/plan.ts'
import type { KeptPlan } from '../../src/keys/plan-book.ts'
import { RevocationSet, signRevocation } from '../../src/keys/revocations.ts'
import { nonceLeaf, signTick } from '../../src/keys/ticks.ts'
import {
  type Announcement,
  encodeAnnouncement,
  encodeSignedAnnouncement,
  type Revocation,
} from '../../src/wire/statements.ts'
import { encodeSignedTick, type Tick } from '../../src/wire/ticks.ts'
import {
  engine as defaultEngine,
  type IdentityOptions,
  NOTHING,
  newAuthority,
  newIdentity,
} from './identities.ts'
import { type PlanChanges, signedPlan } from './plans.ts'

/** When these tests take place. */
export const T0 = 1_800_000_000_000
export const MINUTE = 60_000
export const HOUR = 60 * MINUTE
export const DAY = 24 * HOUR

/** Who signs a statement; `token: undefined` leaves the token out, as an authority does. */
export interface SignedBy {
  readonly signer?: Identity | SigningKey
  readonly token?: string | undefined
}

/** Whose realm a world is: that of another world, or of a test on a network. */
export interface LikeWorld {
  readonly authority: SigningKey
  readonly rotators: readonly Identity[]
  /** The plan that is held from the beginning. Default: one is made. */
  readonly kept?: KeptPlan
}

/** An authority, rotators, a plan, and what one agent believes: all is made by hand, nothing is on a network. */
export class World {
  readonly authority: SigningKey
  readonly rotators: readonly Identity[]
  readonly trust: Trust
  readonly revocations: RevocationSet
  readonly epochs: Epochs
  readonly directory: Directory
  /** Instances (hexadecimal or not) for which a clone alarm was raised. */
  readonly clones: Uint8Array[] = []
  /** The highest time that was confirmed: whatever a test says. */
  latestMs = 0
  /** The monotonic clock: it stands still until a test moves it. */
  monotonicMs = 0
  /** The wall clock, where no call says another time. */
  nowMs = T0
  /** What each piece of work is measured to take, in ms: it is begun by one look at the clock and ended by another. */
  workMs = 0
  /** Instances to which nothing is sealed: what they announced was not taken, or nobody hears of them. */
  readonly refused: LeftOut[] = []
  #worked = 0
  #kept: KeptPlan
  #held: HeldPlan

  /** A second world that is like another one is another agent, or the same one after a restart. */
  constructor(
    options: {
      readonly like?: LikeWorld
      readonly engine?: CryptoEngine
      /** Whether it passes on what it has proved, as a rotation service does. */
      readonly passesOn?: boolean
      /** How many rotators its plan has. Default: one. */
      readonly rotators?: number
      /** What its first plan has that others do not. */
      readonly plan?: PlanChanges
    } = {},
  ) {
    const { like, engine = defaultEngine, passesOn = false, rotators = 1 } = options
    this.authority = like?.authority ?? newAuthority()
    this.rotators =
      like?.rotators ??
      Array.from({ length: rotators }, (_, i) =>
        this.identity(i === 0 ? 'rotator' : `rotator-${i + 1}`, { permissions: NOTHING, roles: ['rotator'] }),
      )
    this.trust = new Trust(engine, { authority: [this.authority.publicKey] })
    const latest = (): number => this.latestMs
    this.revocations = new RevocationSet({ engine, trust: this.trust, latest })
    const { trust, revocations, clones, refused } = this
    this.epochs = new Epochs({ engine, latest })
    this.directory = new Directory({
      engine,
      trust,
      epochs: this.epochs,
      revocations,
      latest,
      passesOn,
      clock: {
        now: () => this.nowMs,
        monotonic: () => this.monotonicMs,
        work: () => {
          this.#worked += this.workMs
          return this.#worked
        },
      },
      onClone: ({ announcement }) => clones.push(announcement.instance),
      onLeftOut: (leftOut) => refused.push(leftOut),
    })
    this.#kept = like?.kept ?? this.plan(options.plan)
    this.#held = this.adopt(this.#kept)
  }

  get realm(): string {
    return this.authority.publicKey
  }

  /** The first of the rotators. */
  get rotator(): Identity {
    const [first] = this.rotators
    if (first === undefined) throw new Error('the world has no rotator')
    return first
  }

  /** The plan that this agent holds. */
  get held(): HeldPlan {
    return this.#held
  }

  /** The same with its list, as it is kept. */
  get kept(): KeptPlan {
    return this.#kept
  }

  identity(name: string, options: Partial<IdentityOptions> = {}): Identity {
    return newIdentity(this.authority, name, {
      issuedAtMs: T0 - HOUR,
      expiresAtMs: T0 + 30 * DAY,
      ...options,
    }).identity
  }

  /** A plan of all rotators whose epochs last an hour and begin every 55 minutes, from T0 on: signed, with its list. */
  plan(changes: PlanChanges = {}): KeptPlan {
    return signedPlan(this.authority, { rotators: this.rotators, madeMs: T0 - MINUTE, originMs: T0 }, changes)
  }

  /** Has this agent hold a plan, after it was verified. */
  adopt(kept: KeptPlan): HeldPlan {
    const { trust } = this
    this.#held = verifyPlan({ engine: defaultEngine, trust }, kept.plan, Number.MAX_SAFE_INTEGER)
    this.#kept = kept
    this.epochs.adopt(this.#held)
    return this.#held
  }

  /** An epoch of the plan that this agent holds, as everybody derives it. */
  epoch(number = 1): Epoch {
    return (
      this.epochs.all().find((epoch) => epoch.number === number) ??
      deriveEpoch(defaultEngine, this.#held, number)
    )
  }

  /** A tick that answers one nonce, or none, signed by a rotator. */
  tick(
    changes: Partial<Tick> = {},
    { by = this.rotator, nonce }: { readonly by?: Identity; readonly nonce?: Uint8Array } = {},
  ): Uint8Array {
    const tick: Tick = {
      realm: this.realm,
      planVersion: this.#held.version,
      rotator: by.publicKey,
      standing: 1,
      process: new Uint8Array(8),
      now: T0,
      revocationsHash: this.revocations.hash(changes.now ?? T0),
      directoryRoot: new Uint8Array(32),
      storageRoot: new Uint8Array(32),
      leaves: nonce === undefined ? 0 : 1,
      nonceRoot: nonce === undefined ? new Uint8Array(32) : nonceLeaf(defaultEngine, nonce),
      ...changes,
    }
    const signed = signTick(by, tick)
    return encodeSignedTick(
      nonce === undefined
        ? { ...signed, nonce, index: undefined, path: undefined }
        : { ...signed, nonce, index: 0, path: new Uint8Array(0) },
    )
  }

  revocation(identity: Identity, changes: Partial<Revocation> = {}, by: SignedBy = {}): Uint8Array {
    const revocation = {
      realm: this.realm,
      identity: identity.publicKey,
      since: T0,
      until: T0 + 30 * DAY,
      reason: 'lost',
      past: 0 as const,
      ...changes,
    }
    return signRevocation(by.signer ?? this.authority, revocation, by.token)
  }

  /** What a fresh instance announces for an epoch, with changes that are signed along. */
  announcement(
    identity: Identity,
    epoch: Epoch,
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
  epoch: Pick<Epoch, 'number' | 'hash' | 'notBefore' | 'notAfter'>,
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
