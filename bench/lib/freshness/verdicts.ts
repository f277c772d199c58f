import type { CryptoEngine } from '../../../dist/crypto/engine.js'

/** Verdicts that are remembered: then all are forgotten at once. */
const MAX_VERDICTS = 200_000

interface Verdict {
  readonly publicKey: Uint8Array
  readonly message: Uint8Array
  readonly isValid: boolean
}

/**
 * An engine for many agents in one process, which verifies each signature once for all of them: what one agent has verified costs
 * the next one a look. Whatever is asked that differs in a single byte is verified by itself.
 */
export function verifyingOnce(engine: CryptoEngine): CryptoEngine {
  const verdicts = new Map<string, Verdict>()
  return {
    ...engine,
    verify(publicKey, message, signature) {
      const key = Buffer.from(signature.buffer, signature.byteOffset, signature.length).toString('latin1')
      const known = verdicts.get(key)
      if (known !== undefined && isSame(known.publicKey, publicKey) && isSame(known.message, message))
        return known.isValid
      const isValid = engine.verify(publicKey, message, signature)
      if (verdicts.size >= MAX_VERDICTS) verdicts.clear()
      verdicts.set(key, { publicKey: publicKey.slice(), message: message.slice(), isValid })
      return isValid
    },
  }
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}
