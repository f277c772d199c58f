import { AsyncLocalStorage } from 'node:async_hooks'
import type { CryptoEngine, KeyPair } from '../../src/crypto/engine.ts'

const SECRET_BYTES = 32
/** Longer draws are made of nonces and tokens, which are public. */
const LONGEST_DRAW = 128

/**
 * Every secret that the engine makes while a task runs: secret keys, seeds, and what contents are sealed under. Tasks
 * that run side by side have each their own.
 */
export class SecretLog {
  static readonly #current = new AsyncLocalStorage<SecretLog>()
  static readonly #watched = new WeakSet<CryptoEngine>()
  readonly #secrets: Buffer[] = []

  /** Has an engine tell from now on what it makes. It goes on making the same. */
  static watch(engine: CryptoEngine): void {
    if (SecretLog.#watched.has(engine)) return
    SecretLog.#watched.add(engine)
    const { randomBytes, x25519KeyPair, ed25519KeyPair } = engine
    const noted = (pair: KeyPair): KeyPair => {
      SecretLog.#note(pair.secretKey)
      return pair
    }
    Object.assign(engine, {
      randomBytes: (length: number) => {
        const bytes = randomBytes(length)
        if (length <= LONGEST_DRAW) SecretLog.#note(bytes)
        return bytes
      },
      x25519KeyPair: (seed?: Uint8Array) => noted(x25519KeyPair(seed)),
      ed25519KeyPair: (seed?: Uint8Array) => noted(ed25519KeyPair(seed)),
    })
  }

  static #note(bytes: Uint8Array): void {
    const log = SecretLog.#current.getStore()
    if (log === undefined) return
    // Of an Ed25519 secret key the second half is the public key.
    const end = bytes.length === 2 * SECRET_BYTES ? SECRET_BYTES : bytes.length
    for (let at = 0; at + SECRET_BYTES <= end; at += SECRET_BYTES)
      log.#secrets.push(Buffer.from(bytes.subarray(at, at + SECRET_BYTES)))
  }

  /** Runs a task, whose secrets are noted here. */
  run<Result>(task: () => Promise<Result>): Promise<Result> {
    return SecretLog.#current.run(this, task)
  }

  /** How many there are. */
  get size(): number {
    return this.#secrets.length
  }

  /** In which form a secret is found in bytes, where one is: as it is, in hexadecimal or in base64url. */
  findIn(bytes: Buffer): string | undefined {
    const forms = this.#secrets.flatMap(formsOf)
    return new Search(forms).findIn(bytes)
  }
}

interface Form {
  readonly name: string
  readonly bytes: Buffer
}

function formsOf(secret: Buffer): readonly Form[] {
  return [
    { name: 'raw', bytes: secret },
    { name: 'in hexadecimal', bytes: Buffer.from(secret.toString('hex')) },
    { name: 'in base64url', bytes: Buffer.from(secret.toString('base64url')) },
  ]
}

const PREFIX_VALUES = 2 ** 16

/** Looks for many byte strings at once, by their first four bytes. */
class Search {
  /** Whether a string begins with these two bytes. */
  readonly #isBeginning = new Uint8Array(PREFIX_VALUES)
  readonly #byBeginning = new Map<number, Form[]>()

  constructor(forms: readonly Form[]) {
    for (const form of forms) {
      const beginning = form.bytes.readUInt32BE(0)
      this.#isBeginning[beginning >>> 16] = 1
      this.#byBeginning.set(beginning, [...(this.#byBeginning.get(beginning) ?? []), form])
    }
  }

  findIn(bytes: Buffer): string | undefined {
    for (let at = 0; at + 4 <= bytes.length; at++) {
      const first = ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
      if (this.#isBeginning[first] === 0) continue
      const forms = this.#byBeginning.get(bytes.readUInt32BE(at)) ?? []
      const found = forms.find((form) => bytes.subarray(at, at + form.bytes.length).equals(form.bytes))
      if (found !== undefined) return found.name
    }
    return undefined
  }
}
