import type { CryptoEngine } from './engine.ts'

/** Stands in for libsodium where native modules cannot be, as in browsers. */
export const sodiumEngine: CryptoEngine | undefined = undefined
