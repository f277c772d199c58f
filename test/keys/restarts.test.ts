import { beforeEach, describe, expect, it } from 'vitest'
import { hex } from '../../src/base/bytes.ts'
import { MAX_UNVERIFIED_PER_AGENT } from '../../src/base/limits.ts'
import type { Identity } from '../../src/identity/identity.ts'
import { type ParsedAnnouncement, signRetirement } from '../../src/keys/announcements.ts'
import type { AcceptedEpoch } from '../../src/keys/epochs.ts'
import { engine } from '../support/identities.ts'
import { type MadeEpoch, T0, World } from '../support/statements.ts'

/** As often as a command starts that runs every minute, and more. */
const STARTS = 80

let made: MadeEpoch
let epoch: AcceptedEpoch
let service: World
let cron: Identity

beforeEach(() => {
  service = new World({ passesOn: true })
  made = service.epoch(undefined)
  epoch = service.accept(made)
  cron = service.identity('cron')
})

function retirementOf({ announcement }: ParsedAnnouncement, at: AcceptedEpoch): Uint8Array {
  const { instance, notBefore, notAfter } = announcement
  return signRetirement(cron, at, { instance, seq: notBefore, notBefore, notAfter })
}

/** A process starts, announces itself in these epochs, and retires. @returns what it announced */
function runOnce(nowMs: number, epochs: readonly AcceptedEpoch[] = [epoch]): ParsedAnnouncement[] {
  const instance = engine.randomBytes(8)
  const announced = epochs.map((at) => service.announcement(cron, at, { instance, notBefore: nowMs }))
  for (const parsed of announced) takeIn(service, parsed.bytes, nowMs)
  for (const [i, at] of epochs.entries()) {
    const parsed = announced[i]
    if (parsed !== undefined) takeIn(service, retirementOf(parsed, at), nowMs)
  }
  return announced
}

/** As a rotation service does: what comes is proved at once. */
function takeIn({ directory }: World, bytes: Uint8Array, nowMs: number): void {
  const parsed = directory.add(bytes, nowMs)
  if (parsed !== undefined) directory.sender(parsed.hash, nowMs)
}

/** Who joins now, with everything that the service hands on. */
function newcomer(nowMs: number): World {
  const world = new World({ like: service })
  for (const { number, hash } of [...service.chain.all()].reverse()) {
    const bytes = service.chain.byHash(hash)?.bytes ?? new Uint8Array(0)
    world.chain.accept([bytes], { number, hash }, nowMs)
  }
  for (const { bytes } of service.directory.proven(nowMs)) world.directory.add(bytes, nowMs)
  return world
}

describe('an agent that starts again and again', () => {
  it('is readable at once to whoever joins then', () => {
    const next = service.accept(service.epoch(made))
    const start = next.notBefore
    let nowMs = start
    for (let i = 0; i < STARTS; i++) {
      nowMs = start + 1000 * i
      runOnce(nowMs, [epoch, next])
    }
    const { directory } = newcomer(nowMs)
    expect(directory.size).toBeLessThanOrEqual(MAX_UNVERIFIED_PER_AGENT)
    for (let i = 0; i < 10; i++) {
      const parsed = service.announcement(cron, next, { notBefore: nowMs })
      expect(directory.add(parsed.bytes, nowMs)).toBeDefined()
      expect(directory.sender(parsed.hash, nowMs).standing).toBe('known')
      nowMs += 1000
    }
  })

  it('is readable at once where all that it left behind is waiting to be verified', () => {
    const { directory } = newcomer(T0)
    for (let i = 0; i < MAX_UNVERIFIED_PER_AGENT; i++)
      directory.add(service.announcement(cron, epoch, { notBefore: T0 + i }).bytes, T0)
    const parsed = service.announcement(cron, epoch, { notBefore: T0 + 1000 })
    expect(directory.add(parsed.bytes, T0)).toBeDefined()
    expect(directory.sender(parsed.hash, T0).standing).toBe('known')
  })
})

describe('an instance that has retired', () => {
  it('is handed on by its retirement alone, and its keys to who asks for them by name', () => {
    const [gone] = runOnce(T0)
    if (gone === undefined) throw new Error('nothing was announced')
    const passedOn = [...service.directory.proven(T0)].map(({ bytes }) => bytes)
    expect(passedOn).toEqual([retirementOf(gone, epoch)])
    expect(service.directory.provenOne(hex(gone.hash), T0)?.bytes).toEqual(gone.bytes)
  })

  it('does not come back to life when its announcement is played again to a newcomer', () => {
    const [gone] = runOnce(T0)
    if (gone === undefined) throw new Error('nothing was announced')
    const { directory } = newcomer(T0)
    directory.add(gone.bytes, T0)
    expect(directory.audience('x', T0)?.members).toEqual([])
    expect(directory.absences('x', T0)).toEqual([{ name: 'cron', why: 'it has retired' }])
  })

  it('is still known as the sender of what is under way', () => {
    const [gone] = runOnce(T0)
    if (gone === undefined) throw new Error('nothing was announced')
    const { directory } = newcomer(T0)
    expect(directory.sender(gone.hash, T0).standing).toBe('unknown')
    directory.add(gone.bytes, T0)
    expect(directory.sender(gone.hash, T0).standing).toBe('known')
    directory.prune()
    expect(directory.sender(gone.hash, T0).standing).toBe('known')
  })

  it('does not stand for a sibling that has not announced itself for the current epoch', () => {
    const next = service.accept(service.epoch(made))
    takeIn(service, service.announcement(cron, epoch).bytes, T0)
    runOnce(next.notBefore, [next])
    const nowMs = epoch.notAfter
    expect(service.directory.audience('x', nowMs)?.members).toEqual([])
    expect(service.directory.absences('x', nowMs)).toEqual([
      { name: 'cron', why: 'it has not announced keys for the current epoch' },
    ])
  })

  it('is told apart from one that never announced itself, where its retirement is all that is held', () => {
    runOnce(T0)
    const { directory } = newcomer(T0)
    expect(directory.audience('x', T0)?.members).toEqual([])
    expect(directory.absences('x', T0)).toEqual([{ name: 'cron', why: 'it has retired' }])
  })
})
