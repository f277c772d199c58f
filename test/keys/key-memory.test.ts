import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, it } from 'vitest'
import { KeyMemory } from '../../src/keys/key-memory.ts'
import { may } from '../support/identities.ts'
import { T0, World } from '../support/statements.ts'

const AGENTS = 500
/** What an agent takes, with what a test run adds to it. Each took more than 8 KiB while statements were held in full. */
const MAX_BYTES_EACH = 4096

function memoryInUse(): number {
  setFlagsFromString('--expose-gc')
  const collect: () => void = runInNewContext('gc')
  for (let i = 0; i < 3; i++) collect()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

it('keeps copies: what happens to the source, or to another one, changes nothing', () => {
  const memory = new KeyMemory()
  const source = Uint8Array.of(1, 2, 3)
  const [first, second] = [memory.keep(source), memory.keep(source)]
  source.fill(9)
  second.fill(8)
  expect(first).toEqual(Uint8Array.of(1, 2, 3))
})

it('keeps what comes one after the other side by side, and begins anew where a block is full', () => {
  const memory = new KeyMemory()
  const kept = Array.from({ length: 1000 }, (_, i) => memory.keep(new Uint8Array(32).fill(i)))
  expect(kept.every((bytes, i) => bytes.length === 32 && bytes.every((byte) => byte === (i & 255)))).toBe(
    true,
  )
  expect(new Set(kept.map(({ buffer }) => buffer)).size).toBeLessThan(5)
  expect(memory.keep(new Uint8Array(100_000).fill(7))).toEqual(new Uint8Array(100_000).fill(7))
})

it('a directory holds no statement any more once it is proved, unless it passes it on', () => {
  const service = new World({ passesOn: true })
  const world = new World({ like: service })
  const { bytes } = service.announcement(world.identity('alice'), service.epoch())
  for (const { directory } of [service, world]) directory.add(bytes, T0)
  for (const { directory } of [service, world]) expect(directory.audience('x', T0)?.members).toHaveLength(1)
  expect([...world.directory.kept()]).toEqual([])
  expect([...service.directory.kept()]).toEqual([bytes])
})

it('a directory holds an agent in few bytes once it is proved', () => {
  const world = new World()
  const epoch = world.epoch()
  const announcements = Array.from(
    { length: AGENTS },
    (_, i) => world.announcement(world.identity(`agent${i}`, { permissions: may([], ['x']) }), epoch).bytes,
  )
  const before = memoryInUse()
  for (const bytes of announcements) world.directory.add(bytes, T0)
  expect(world.directory.audience('x', T0)?.members).toHaveLength(AGENTS)
  expect((memoryInUse() - before) / AGENTS).toBeLessThan(MAX_BYTES_EACH)
})
