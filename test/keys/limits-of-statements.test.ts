import { expect, it } from 'vitest'
import { engine } from '../support/identities.ts'
import { codeOf, HOUR, type MadeEpoch, T0, World } from '../support/statements.ts'

it('an epoch of the authority below the floor bridges nothing, whatever follows it', () => {
  const world = new World()
  const [, , three] = world.epochs(3) as [MadeEpoch, MadeEpoch, MadeEpoch]
  const restarted = new World({ like: world, floor: three })
  const anchor = world.anchor(undefined, { number: 2, prevHash: engine.randomBytes(32) })
  const fork = world.epoch(anchor)
  const next = world.epoch(fork)
  const offered = [anchor, fork, next].map(({ bytes }) => bytes)
  for (const target of [fork, next]) {
    expect(codeOf(() => restarted.chain.accept(offered, target, target.epoch.notBefore))).toBe('ERR_ROLLBACK')
  }
  expect(restarted.kept).toEqual([])
})

it('an epoch is current from 120 s before it begins, and not before', () => {
  const world = new World()
  const first = world.epoch(undefined)
  world.accept(first)
  const next = world.epoch(first)
  world.accept(next, T0)
  const numbers = (nowMs: number): number[] => world.chain.current(nowMs).map(({ number }) => number)
  expect(numbers(next.epoch.notBefore - 120_001)).toEqual([1])
  expect(numbers(next.epoch.notBefore - 120_000)).toEqual([2, 1])
})

it('an epoch is held until 120 s after its grace: a message of it may still be judged', () => {
  const world = new World()
  const all = world.epochs(3)
  for (const made of all) world.accept(made)
  const { notAfter, graceMs } = (all[0] as MadeEpoch).epoch
  const last = notAfter + graceMs + 120_000
  world.chain.prune(last)
  expect(world.chain.all().map(({ number }) => number)).toEqual([3, 2, 1])
  world.chain.prune(last + 1)
  expect(world.chain.all().map(({ number }) => number)).toEqual([3, 2])
})

it('a revocation acts until 120 s after its end, as clocks may differ by so much', () => {
  const world = new World()
  const alice = world.identity('alice')
  world.revocations.add(world.revocation(alice, { until: T0 + HOUR }), T0)
  world.revocations.prune(T0 + HOUR + 120_000)
  expect(world.revocations.isRevoked(alice.claims)).toBe(true)
})
