import { concat, standsAt } from '../base/bytes.ts'
import { MAX_FRAMES_PER_BATCH } from '../base/limits.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import { labels } from '../crypto/labels.ts'
import { merklePathLength, merkleTree, ProvenTree } from '../crypto/merkle.ts'
import { FRAME_HEADER_BYTES } from '../wire/frame.ts'
import { SessionMode } from '../wire/handshake.ts'

const HASH_BYTES = 32
const SIGNATURE_BYTES = 64
const SIGNATURE_START = 2
const PATH_START = SIGNATURE_START + SIGNATURE_BYTES
/** Batches of one session that are remembered: frames can arrive in another order. */
const MAX_KNOWN_BATCHES = 4
const LEAF_PREFIX = concat(Uint8Array.of(0), labels.leaf)
/** What a leaf is hashed from, in memory that is used again: prefix, `D`, hash of `P`. */
const leafInput = new Uint8Array(new ArrayBuffer(LEAF_PREFIX.length + FRAME_HEADER_BYTES + HASH_BYTES))
leafInput.set(LEAF_PREFIX)

/** `auth` of a frame whose sender the session's key proves alone. */
export const CHANNEL_AUTH = new Uint8Array(1)

/** The hash of a frame as a leaf of its batch. `content` is `P` in its parts. */
export function frameLeaf(
  engine: CryptoEngine,
  header: Uint8Array,
  content: readonly Uint8Array[],
): Uint8Array {
  leafInput.set(header, LEAF_PREFIX.length)
  leafInput.set(engine.sha256(...content), LEAF_PREFIX.length + FRAME_HEADER_BYTES)
  return engine.sha256(leafInput)
}

/** Signs the frames of one batch: `auth` for each of them, in order. SPEC, "Frames". */
export function signBatch(
  engine: CryptoEngine,
  leaves: readonly Uint8Array[],
  by: { readonly messageKey: Uint8Array; readonly binding: Uint8Array },
): readonly Uint8Array[] {
  const frames = leaves.length
  const tree = merkleTree(engine, leaves)
  const signature = engine.sign(by.messageKey, signedBytes(frames, by.binding, tree.root))
  const memory = new Uint8Array(frames * maxAuthLength(SessionMode.signed, frames))
  let at = 0
  return leaves.map((_, index) => {
    const start = at
    memory[at] = frames
    memory[at + 1] = index
    memory.set(signature, at + SIGNATURE_START)
    at = tree.writePath(index, memory, at + PATH_START)
    return memory.subarray(start, at)
  })
}

/** How long `auth` is for a frame in a batch of so many, at most. */
export function maxAuthLength(mode: SessionMode, frames: number): number {
  if (mode === SessionMode.channel) return CHANNEL_AUTH.length
  return PATH_START + HASH_BYTES * Math.ceil(Math.log2(Math.max(1, frames)))
}

/** How long `auth` of a signed frame is, by its first bytes; `undefined` where they are none. */
export function signedAuthLength(plaintext: Uint8Array): number | undefined {
  const frames = plaintext[0] ?? 0
  const index = plaintext[1] ?? 0
  if (frames < 1 || frames > MAX_FRAMES_PER_BATCH || index >= frames) return undefined
  return PATH_START + HASH_BYTES * merklePathLength(frames, index)
}

/** How long `auth` of a channel's frame is; `undefined` where it is none. */
export function channelAuthLength(plaintext: Uint8Array): number | undefined {
  return plaintext[0] === 0 ? CHANNEL_AUTH.length : undefined
}

/** A batch of which something is proved. */
interface KnownBatch {
  readonly frames: number
  readonly signature: Uint8Array
  readonly tree: ProvenTree
}

/** What a batch takes besides its tree: its record and its signature. */
const BATCH_BYTES = 256

/** Proves the frames of one session, and remembers what it has proved of each batch. */
export class BatchVerifier {
  readonly #engine: CryptoEngine
  readonly #messageKey: Uint8Array
  readonly #binding: Uint8Array
  readonly #batches: KnownBatch[] = []
  /** A tree of which nothing is known yet: its memory served a batch that is forgotten. */
  #spare: ProvenTree | undefined
  #bytes = 0

  constructor(engine: CryptoEngine, by: { readonly messageKey: Uint8Array; readonly binding: Uint8Array }) {
    this.#engine = engine
    this.#messageKey = by.messageKey
    this.#binding = by.binding
  }

  /** How much memory it takes for what it remembers, in bytes. */
  get bytes(): number {
    return this.#bytes
  }

  /**
   * Whether the sender signed the batch that this leaf is of. `auth` is where the plaintext begins, and has its length
   * by {@link signedAuthLength}.
   */
  verify(leaf: Uint8Array, auth: Uint8Array): boolean {
    const frames = auth[0] ?? 0
    const signature = (): Uint8Array => auth.slice(SIGNATURE_START, PATH_START)
    const isSigned = (root: Uint8Array): boolean =>
      this.#engine.verify(this.#messageKey, signedBytes(frames, this.#binding, root), signature())
    if (frames === 1) return isSigned(leaf)
    const known = this.#known(frames, auth)
    const tree = known ?? this.#fresh(frames)
    const before = tree.bytes
    const isProved = tree.proves(
      { hash: leaf, index: auth[1] ?? 0, path: auth, pathStart: PATH_START },
      isSigned,
    )
    this.#bytes += tree.bytes - before
    if (isProved && known === undefined) this.#remember({ frames, signature: signature(), tree })
    return isProved
  }

  /** Forgets what was proved. */
  forget(): void {
    this.#batches.length = 0
    this.#spare = undefined
    this.#bytes = 0
  }

  /** A tree of which nothing is known. It stays the spare one until something is proved in it. */
  #fresh(frames: number): ProvenTree {
    if (this.#spare === undefined) {
      this.#spare = new ProvenTree(this.#engine, frames)
      this.#bytes += this.#spare.bytes
      return this.#spare
    }
    const before = this.#spare.bytes
    this.#spare.reset(frames)
    this.#bytes += this.#spare.bytes - before
    return this.#spare
  }

  #remember(batch: KnownBatch): void {
    this.#batches.unshift(batch)
    this.#bytes += BATCH_BYTES
    this.#spare = undefined
    if (this.#batches.length <= MAX_KNOWN_BATCHES) return
    this.#spare = this.#batches.pop()?.tree
    this.#bytes -= BATCH_BYTES
  }

  #known(frames: number, auth: Uint8Array): ProvenTree | undefined {
    for (const batch of this.#batches)
      if (batch.frames === frames && standsAt(batch.signature, auth, SIGNATURE_START)) return batch.tree
    return undefined
  }
}

function signedBytes(frames: number, binding: Uint8Array, root: Uint8Array): Uint8Array {
  return concat(labels.batch, Uint8Array.of(frames), binding, root)
}
