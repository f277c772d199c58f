import { AsyncLocalStorage } from 'node:async_hooks'
import { type Cipher, createCipheriv, createHash } from 'node:crypto'
import type { CryptoEngine, KeyPair } from '../../src/crypto/engine.ts'
import type { SecretLog } from './secret-log.ts'

const SEED_BYTES = 32
const IV_BYTES = 16
/** Longer draws are made of nonces and tokens, which are public. */
const LONGEST_SECRET_DRAW = 128
const MAX_REMEMBERED = 20_000

/** What an engine draws and tells while one schedule runs. */
export interface EngineWatch {
  /** Every secret that is made. */
  readonly secrets: SecretLog
  readonly random: SeededRandom
}

/** Random bytes that follow from a seed. */
export class SeededRandom {
  /** Copies of the key pairs that were made of it, for whoever may know them. */
  readonly keyPairs: KeyPair[] = []
  readonly #stream: Cipher

  constructor(seed: number | string) {
    const key = createHash('sha256').update(String(seed)).digest()
    this.#stream = createCipheriv('aes-256-ctr', key, Buffer.alloc(IV_BYTES))
  }

  bytes(length: number): Uint8Array {
    return new Uint8Array(this.#stream.update(Buffer.alloc(length)))
  }
}

const current = new AsyncLocalStorage<EngineWatch>()
const watched = new WeakSet<CryptoEngine>()

/**
 * Runs a task in which an engine draws all its randomness from a seed and tells which secrets it makes. Tasks that run
 * side by side have each their own. Signatures are verified once and then remembered: all agents of a schedule verify
 * the same statements, and whether a signature holds depends on nothing else.
 */
export function watchEngine<Result>(
  engine: CryptoEngine,
  watch: EngineWatch,
  task: () => Promise<Result>,
): Promise<Result> {
  if (!watched.has(engine)) {
    watched.add(engine)
    takeOver(engine)
  }
  return current.run(watch, task)
}

/** Runs a task, and all that it sets in motion, with another stream of randomness: what one agent draws moves no other's. */
export function drawingFrom<Result>(random: SeededRandom, task: () => Result): Result {
  const watch = current.getStore()
  return watch === undefined ? task() : current.run({ ...watch, random }, task)
}

/** A task that, whenever it is run, draws from the stream of now: what one agent has put off is its own. */
export function drawingAsNow(task: () => void): () => void {
  const watch = current.getStore()
  // Not `AsyncLocalStorage.bind`: that takes a tenth of the time of a schedule.
  return watch === undefined ? task : () => current.run(watch, task)
}

function takeOver(engine: CryptoEngine): void {
  const { randomBytes, x25519KeyPair, ed25519KeyPair, verify } = engine
  const draw = (length: number): Uint8Array => current.getStore()?.random.bytes(length) ?? randomBytes(length)
  const noted = (pair: KeyPair): KeyPair => {
    // Of an Ed25519 secret key the second half is the public key.
    const { secrets, random } = current.getStore() ?? {}
    secrets?.note(pair.secretKey.subarray(0, SEED_BYTES))
    random?.keyPairs.push({ publicKey: pair.publicKey, secretKey: pair.secretKey.slice() })
    return pair
  }
  Object.assign(engine, {
    randomBytes: (length: number) => {
      const bytes = draw(length)
      if (length <= LONGEST_SECRET_DRAW) current.getStore()?.secrets.note(bytes)
      return bytes
    },
    x25519KeyPair: (seed = draw(SEED_BYTES)) => noted(x25519KeyPair(seed)),
    ed25519KeyPair: (seed = draw(SEED_BYTES)) => noted(ed25519KeyPair(seed)),
    verify: remembering(verify),
  })
}

function remembering(verify: CryptoEngine['verify']): CryptoEngine['verify'] {
  const known = new Map<string, boolean>()
  return (publicKey, message, signature) => {
    const lengths = `${publicKey.length} ${signature.length} `
    const hash = createHash('sha1').update(lengths).update(publicKey).update(signature).update(message)
    const key = hash.digest('base64')
    const remembered = known.get(key)
    if (remembered !== undefined) return remembered
    const holds = verify(publicKey, message, signature)
    if (known.size >= MAX_REMEMBERED) known.clear()
    known.set(key, holds)
    return holds
  }
}
