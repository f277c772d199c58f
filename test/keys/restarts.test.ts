import { beforeEach, describe, expect, it } from 'vitest'
import { MAX_ANNOUNCEMENTS_PER_INSTANCE } from '../../src/base/limits.ts'
import type { Identity } from '../../src/identity/identity.ts'
import { type ParsedAnnouncement, signRetirement } from '../../src/keys/announcements.ts'
import type { Epoch } from '../../src/keys/epochs.ts'
import { engine } from '../support/identities.ts'
import { MINUTE, T0, World } from '../support/statements.ts'

/** As often as a command starts that runs every minute, and more. */
const STARTS = 80

let epoch: Epoch
let service: World
let cron: Identity

beforeEach(() => {
  service = new World({ passesOn: true })
  service.epochs.hold(T0)
  epoch = service.epoch()
  cron = service.identity('cron')
})

function retirementOf({ announcement }: ParsedAnnouncement, at: Epoch): Uint8Array {
  const { instance, notBefore, notAfter } = announcement
  return signRetirement(cron, at, { instance, seq: notBefore, notBefore, notAfter })
}

/** A process starts, announces itself in these epochs, and retires. @returns what it announced */
function runOnce(nowMs: number, epochs: readonly Epoch[] = [epoch]): ParsedAnnouncement[] {
  const instance = engine.randomBytes(8)
  const announced = epochs.map((at) => service.announcement(cron, at, { instance, notBefore: nowMs }))
  for (const parsed of announced) takeIn(service, parsed.bytes, nowMs)
  for (const [i, at] of epochs.entries()) {
    const parsed = announced[i]
    if (parsed !== undefined) takeIn(service, retirementOf(parsed, at), nowMs)
  }
  return announced
}

function takeIn({ directory }: World, bytes: Uint8Array, nowMs: number): void {
  directory.add(bytes, nowMs)
}

/** The second epoch has just begun, and the first one has not ended. */
function inOverlap(): Epoch {
  service.epochs.hold(epoch.notAfter - 5 * MINUTE)
  return service.epoch(2)
}

/** Who joins now, with everything that the service hands on. */
function newcomer(nowMs: number): World {
  const world = new World({ like: service })
  for (const { bytes } of service.directory.proven(nowMs)) world.directory.add(bytes, nowMs)
  return world
}

describe('an agent that starts again and again', () => {
  it('is readable at once to whoever joins then', () => {
    const next = inOverlap()
    const start = next.notBefore
    let nowMs = start
    for (let i = 0; i < STARTS; i++) {
      nowMs = start + 1000 * i
      runOnce(nowMs, [epoch, next])
    }
    const { directory } = newcomer(nowMs)
    // Of each of two epochs.
    expect(directory.size).toBeLessThanOrEqual(2 * MAX_ANNOUNCEMENTS_PER_INSTANCE * cron.claims.maxInstances)
    for (let i = 0; i < 10; i++) {
      const parsed = service.announcement(cron, next, { notBefore: nowMs })
      expect(directory.add(parsed.bytes, nowMs)).toBeDefined()
      expect(directory.sender(parsed.hash, nowMs).standing).toBe('known')
      nowMs += 1000
    }
  })
})

describe('an instance that has retired', () => {
  it('is handed on by its retirement alone, and its keys to who asks for them by name', () => {
    const [gone] = runOnce(T0)
    if (gone === undefined) throw new Error('nothing was announced')
    const passedOn = [...service.directory.proven(T0)].map(({ bytes }) => bytes)
    expect(passedOn).toEqual([retirementOf(gone, epoch)])
    expect(service.directory.bytesOf([gone.hash, engine.randomBytes(32)])).toEqual([gone.bytes])
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
    const next = inOverlap()
    takeIn(service, service.announcement(cron, epoch).bytes, next.notBefore)
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
