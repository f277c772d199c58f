import { createHash } from 'node:crypto'
import type { CryptoEngine } from '../../src/crypto/engine.ts'

const MAX_REMEMBERED = 20_000
const remembering = new WeakSet<CryptoEngine>()

/**
 * Has an engine remember which signatures hold. All agents of a schedule verify the same statements, which takes a
 * third of the time; whether a signature holds depends on nothing else.
 */
export function rememberSignatures(engine: CryptoEngine): void {
  if (remembering.has(engine)) return
  remembering.add(engine)
  const { verify } = engine
  const known = new Map<string, boolean>()
  Object.assign(engine, {
    verify: (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean => {
      const key = keyOf(publicKey, message, signature)
      const remembered = known.get(key)
      if (remembered !== undefined) return remembered
      const holds = verify(publicKey, message, signature)
      if (known.size >= MAX_REMEMBERED) known.clear()
      known.set(key, holds)
      return holds
    },
  })
}

function keyOf(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): string {
  const lengths = `${publicKey.length} ${signature.length} `
  const hash = createHash('sha256').update(lengths).update(publicKey).update(signature).update(message)
  return hash.digest('base64')
}
