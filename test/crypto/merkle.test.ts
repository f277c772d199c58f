import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { hex } from '../../src/base/bytes.ts'
import { merklePathLength, merkleTree, ProvenTree } from '../../src/crypto/merkle.ts'
import { engine } from '../support/identities.ts'
import { pathOf } from '../support/merkle-path.ts'

/** RFC 6962, section 2.1, as it is written there: by the largest power of two below n. */
function rootByRfc(leaves: readonly Uint8Array[]): Uint8Array {
  const [first] = leaves
  if (first !== undefined && leaves.length === 1) return first
  let k = 1
  while (k * 2 < leaves.length) k *= 2
  return engine.sha256(Uint8Array.of(1), rootByRfc(leaves.slice(0, k)), rootByRfc(leaves.slice(k)))
}

function pathByRfc(m: number, leaves: readonly Uint8Array[]): readonly Uint8Array[] {
  if (leaves.length === 1) return []
  let k = 1
  while (k * 2 < leaves.length) k *= 2
  return m < k
    ? [...pathByRfc(m, leaves.slice(0, k)), rootByRfc(leaves.slice(k))]
    : [...pathByRfc(m - k, leaves.slice(k)), rootByRfc(leaves.slice(0, k))]
}

function leavesOf(count: number): readonly Uint8Array[] {
  return Array.from({ length: count }, (_, i) => engine.sha256(Uint8Array.of(i)))
}

function joined(path: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(path.flatMap((node) => [...node]))
}

describe('a Merkle tree', () => {
  it('has the root and the paths of RFC 6962 for every number of leaves up to 64', () => {
    for (let count = 1; count <= 64; count++) {
      const leaves = leavesOf(count)
      const tree = merkleTree(engine, leaves)
      expect(hex(tree.root)).toBe(hex(rootByRfc(leaves)))
      for (let i = 0; i < count; i++) {
        expect(pathOf(tree, i).map(hex)).toEqual(pathByRfc(i, leaves).map(hex))
        expect(merklePathLength(count, i)).toBe(pathOf(tree, i).length)
      }
    }
  })

  it('has at least one leaf', () => {
    expect(() => merkleTree(engine, [])).toThrow(RangeError)
  })
})

describe('proofs of one tree', () => {
  it('hold for each leaf in any order, and ask for the root once', () => {
    const orders = fc.integer({ min: 1, max: 64 }).chain((count) =>
      fc
        .shuffledSubarray(
          Array.from({ length: count }, (_, i) => i),
          { minLength: 1 },
        )
        .map((order) => ({ count, order })),
    )
    fc.assert(
      fc.property(orders, ({ count, order }) => {
        const leaves = leavesOf(count)
        const tree = merkleTree(engine, leaves)
        const proven = new ProvenTree(engine, count)
        const asked: string[] = []
        for (const index of order) {
          const hash = leaves[index] ?? new Uint8Array(32)
          const isProved = proven.proves({ hash, index, path: joined(pathOf(tree, index)) }, (root) => {
            asked.push(hex(root))
            return hex(root) === hex(tree.root)
          })
          expect(isProved).toBe(true)
        }
        expect(asked).toEqual([hex(tree.root)])
      }),
      { numRuns: 100 },
    )
  })

  it('fail for a leaf that is not in the tree, before and after others were proved', () => {
    const leaves = leavesOf(8)
    const tree = merkleTree(engine, leaves)
    const isRoot = (root: Uint8Array): boolean => hex(root) === hex(tree.root)
    const proven = new ProvenTree(engine, 8)
    const forged = engine.sha256(Uint8Array.of(99))
    for (let round = 0; round < 2; round++) {
      for (let index = 0; index < 8; index++) {
        expect(proven.proves({ hash: forged, index, path: joined(pathOf(tree, index)) }, isRoot)).toBe(false)
      }
      const [first = forged] = leaves
      expect(proven.proves({ hash: first, index: 0, path: joined(pathOf(tree, 0)) }, isRoot)).toBe(true)
    }
  })

  it('fail for the right leaf at another index', () => {
    const leaves = leavesOf(8)
    const tree = merkleTree(engine, leaves)
    const isRoot = (root: Uint8Array): boolean => hex(root) === hex(tree.root)
    for (let index = 0; index < 8; index++) {
      for (let other = 0; other < 8; other++) {
        const proven = new ProvenTree(engine, 8)
        const hash = leaves[index] ?? new Uint8Array(32)
        expect(proven.proves({ hash, index: other, path: joined(pathOf(tree, other)) }, isRoot)).toBe(
          index === other,
        )
      }
    }
  })

  it('learn nothing from a path that did not reach the root', () => {
    const leaves = leavesOf(4)
    const tree = merkleTree(engine, leaves)
    const isRoot = (root: Uint8Array): boolean => hex(root) === hex(tree.root)
    const proven = new ProvenTree(engine, 4)
    const forged = leavesOf(12).slice(8)
    const forgedTree = merkleTree(engine, forged)
    const [first = new Uint8Array(32), second = first] = forged
    expect(proven.proves({ hash: first, index: 0, path: joined(pathOf(forgedTree, 0)) }, isRoot)).toBe(false)
    // Its sibling stood in the path.
    expect(proven.proves({ hash: second, index: 1, path: joined(pathOf(forgedTree, 1)) }, isRoot)).toBe(false)
  })
})
