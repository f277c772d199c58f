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

/** The root to which the path of one leaf leads. The path must have its length by {@link merklePathLength}. */
export function merkleRoot(
  engine: CryptoEngine,
  leaf: {
    readonly hash: Uint8Array
    readonly index: number
    /** How many leaves the tree has. */
    readonly leaves: number
    readonly path: Uint8Array
  },
): Uint8Array {
  let { hash, index } = leaf
  let at = 0
  for (let width = leaf.leaves; width > 1; width = Math.ceil(width / 2), index >>>= 1) {
    if ((index ^ 1) >= width) continue
    const sibling = leaf.path.subarray(at, at + HASH_BYTES)
    at += HASH_BYTES
    hash = index % 2 === 0 ? merkleNode(engine, hash, sibling) : merkleNode(engine, sibling, hash)
  }
  return hash
}

/** The hash of an inner node. */
function merkleNode(engine: CryptoEngine, left: Uint8Array, right: Uint8Array): Uint8Array {
  nodeInput.set(left, 1)
  nodeInput.set(right, 1 + HASH_BYTES)
  return engine.sha256(nodeInput)
}

/** Hashes for which a tree has room at first: as many as the first frame of a batch of 64 teaches, and a few more. */
const FIRST_HASHES = 16
/** A node's place is kept in one byte, and 0 means that it is not known. */
const MAX_NODES = 255
/** What a tree takes besides its two pieces of memory, in bytes: measured, see the test of the session pool. */
const TREE_OVERHEAD_BYTES = 1024

/**
 * The nodes of one tree whose root has been proved. A leaf's path is followed only as far as to a node that is known,
 * and what the path says beside it is known from then on too. Its memory grows with what it learns, and can serve
 * another tree afterwards.
 */
export class ProvenTree {
  readonly #engine: CryptoEngine
  #leaves = 0
  /** For each node, level by level from the leaves: one more than its place among the hashes, and 0 for an unknown one. */
  #places: Uint8Array = new Uint8Array(0)
  #hashes: Uint8Array = new Uint8Array(0)
  #known = 0

  /** @throws RangeError for more than 126 leaves */
  constructor(engine: CryptoEngine, leaves: number) {
    this.#engine = engine
    this.reset(leaves)
  }

  /** How much memory it takes, in bytes. */
  get bytes(): number {
    return TREE_OVERHEAD_BYTES + this.#places.length + this.#hashes.length
  }

  /**
   * Forgets its tree, and begins one of so many leaves in the same memory.
   *
   * @throws RangeError for more than 126 leaves
   */
  reset(leaves: number): void {
    const nodes = nodesOf(leaves)
    if (nodes > MAX_NODES) throw new RangeError(`a tree of ${leaves} leaves has more than ${MAX_NODES} nodes`)
    this.#leaves = leaves
    if (nodes > this.#places.length) this.#places = new Uint8Array(nodes)
    else this.#places.fill(0)
    this.#known = 0
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
    if (this.#isKnown(leaf.index)) return this.#isNode(leaf.index, leaf.hash)
    const nodes: number[] = []
    const hashes: Uint8Array[] = []
    let { hash, index, pathStart: at = 0 } = leaf
    let level = 0
    for (let width = this.#leaves; ; width = (width + 1) >>> 1) {
      const node = level + index
      if (this.#isKnown(node)) return this.#isNode(node, hash) && this.#learn(nodes, hashes)
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

  #isKnown(node: number): boolean {
    return (this.#places[node] ?? 0) !== 0
  }

  #isNode(node: number, hash: Uint8Array): boolean {
    const start = HASH_BYTES * ((this.#places[node] ?? 0) - 1)
    for (let i = 0; i < HASH_BYTES; i++) if (this.#hashes[start + i] !== hash[i]) return false
    return true
  }

  #learn(nodes: readonly number[], hashes: readonly Uint8Array[]): true {
    this.#makeRoom(this.#known + nodes.length)
    for (const [i, hash] of hashes.entries()) {
      const node = nodes[i] ?? 0
      // Beside an unknown node can stand one that is known: the path says the same of it.
      if (this.#isKnown(node)) continue
      this.#hashes.set(hash, HASH_BYTES * this.#known)
      this.#known++
      this.#places[node] = this.#known
    }
    return true
  }

  #makeRoom(hashes: number): void {
    const room = this.#hashes.length / HASH_BYTES
    if (hashes <= room) return
    const grown = new Uint8Array(HASH_BYTES * Math.max(FIRST_HASHES, hashes, 2 * room))
    grown.set(this.#hashes)
    this.#hashes = grown
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
