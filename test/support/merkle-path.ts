import type { MerkleTree } from '../../src/crypto/merkle.ts'

const HASH_BYTES = 32
const MAX_HASHES = 16

/** The hashes of a leaf's path, from the bottom. */
export function pathOf(tree: MerkleTree, index: number): readonly Uint8Array[] {
  const memory = new Uint8Array(MAX_HASHES * HASH_BYTES)
  const hashes = tree.writePath(index, memory, 0) / HASH_BYTES
  return Array.from({ length: hashes }, (_, i) => memory.slice(i * HASH_BYTES, (i + 1) * HASH_BYTES))
}
