import type { CryptoEngine } from './engine.ts'

const HASH_BYTES = 32
/** What a node is hashed from, in memory that is used again: 0x01, left, right. */
const nodeInput = new Uint8Array(new ArrayBuffer(1 + 2 * HASH_BYTES))
nodeInput[0] = 0x01

/** A tree over the hashes of leaves, as in RFC 6962, section 2.1: level 0 holds the leaves, the last one the root. */
export interface MerkleTree {
  readonly root: Uint8Array
  /**
   * Writes the path of the leaf at `index` into `target`, from the bottom: the hashes that lead from it to the root.
   *
   * @returns where it ends there
   */
  writePath(index: number, target: Uint8Array, start: number): number
}

/** The tree over leaves that are hashed already. There must be one. */
export function merkleTree(engine: CryptoEngine, leaves: readonly Uint8Array[]): MerkleTree {
  const levels: (readonly Uint8Array[])[] = [leaves]
  for (let level = leaves; level.length > 1; ) {
    level = parents(engine, level)
    levels.push(level)
  }
  const [root] = levels.at(-1) ?? []
  if (root === undefined) throw new RangeError('a tree has at least one leaf')
  return {
    root,
    writePath(index, target, start) {
      let at = start
      let place = index
      for (const level of levels) {
        const sibling = level[place ^ 1]
        if (sibling !== undefined) {
          target.set(sibling, at)
          at += HASH_BYTES
        }
        place >>>= 1
      }
      return at
    },
  }
}

/** How long the path of a leaf is, by RFC 6962: an odd node at the end of a level goes up as it is. */
export function merklePathLength(leaves: number, index: number): number {
  let length = 0
  for (let width = leaves, at = index; width > 1; width = Math.ceil(width / 2), at >>>= 1) {
    if ((at ^ 1) < width) length++
  }
  return length
}

/** The hash of an inner node. */
function merkleNode(engine: CryptoEngine, left: Uint8Array, right: Uint8Array): Uint8Array {
  nodeInput.set(left, 1)
  nodeInput.set(right, 1 + HASH_BYTES)
  return engine.sha256(nodeInput)
}

/**
 * The nodes of one tree whose root has been proved. A leaf's path is followed only as far as to a node that is known,
 * and what the path says beside it is known from then on too.
 */
export class ProvenTree {
  readonly #engine: CryptoEngine
  readonly #leaves: number
  /** Every node of the tree, level by level from the leaves, in one piece of memory: there is a tree for each batch. */
  readonly #hashes: Uint8Array
  readonly #isKnown: Uint8Array

  constructor(engine: CryptoEngine, leaves: number) {
    this.#engine = engine
    this.#leaves = leaves
    const nodes = nodesOf(leaves)
    this.#hashes = new Uint8Array(HASH_BYTES * nodes)
    this.#isKnown = new Uint8Array(nodes)
  }

  /**
   * Whether the leaf belongs to the tree. The path must have its length by {@link merklePathLength}, from `pathStart`
   * on (0 where it is missing).
   *
   * @param proveRoot asked where the path reaches a root that is not known yet
   */
  proves(
    leaf: {
      readonly hash: Uint8Array
      readonly index: number
      readonly path: Uint8Array
      readonly pathStart?: number
    },
    proveRoot: (root: Uint8Array) => boolean,
  ): boolean {
    // Beside every second leaf stands one that was proved before, whose path has named it.
    if (this.#isKnown[leaf.index] === 1) return this.#isNode(leaf.index, leaf.hash)
    const nodes: number[] = []
    const hashes: Uint8Array[] = []
    let { hash, index, pathStart: at = 0 } = leaf
    let level = 0
    for (let width = this.#leaves; ; width = (width + 1) >>> 1) {
      const node = level + index
      if (this.#isKnown[node] === 1) return this.#isNode(node, hash) && this.#learn(nodes, hashes)
      nodes.push(node)
      hashes.push(hash)
      if (width === 1) return proveRoot(hash) && this.#learn(nodes, hashes)
      const sibling = index ^ 1
      if (sibling < width) {
        const other = leaf.path.slice(at, at + HASH_BYTES)
        at += HASH_BYTES
        nodes.push(level + sibling)
        hashes.push(other)
        hash = index < sibling ? merkleNode(this.#engine, hash, other) : merkleNode(this.#engine, other, hash)
      }
      level += width
      index >>>= 1
    }
  }

  #isNode(node: number, hash: Uint8Array): boolean {
    const start = HASH_BYTES * node
    for (let i = 0; i < HASH_BYTES; i++) if (this.#hashes[start + i] !== hash[i]) return false
    return true
  }

  #learn(nodes: readonly number[], hashes: readonly Uint8Array[]): true {
    for (const [i, hash] of hashes.entries()) {
      const node = nodes[i] ?? 0
      this.#hashes.set(hash, HASH_BYTES * node)
      this.#isKnown[node] = 1
    }
    return true
  }
}

/** How many nodes a tree has on all its levels together; one that goes up as it is counts on each. */
function nodesOf(leaves: number): number {
  let nodes = 1
  for (let width = leaves; width > 1; width = Math.ceil(width / 2)) nodes += width
  return nodes
}

function parents(engine: CryptoEngine, level: readonly Uint8Array[]): readonly Uint8Array[] {
  const above: Uint8Array[] = []
  for (let i = 0; i < level.length; i += 2) {
    const [left, right] = [level[i], level[i + 1]]
    if (left !== undefined) above.push(right === undefined ? left : merkleNode(engine, left, right))
  }
  return above
}
