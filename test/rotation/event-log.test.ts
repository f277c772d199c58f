import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { utf8 } from '../../src/base/bytes.ts'
import { SubrosaError } from '../../src/base/errors.ts'
import { RotationEventLog } from '../../src/rotation/event-log.ts'
import { ManualClock } from '../support/clock.ts'
import { keptLog } from '../support/kept-log.ts'
import { TestRealm } from '../support/realm.ts'
import { until } from '../support/until.ts'

describe('the log of a rotation service', () => {
  it('has a line with a stable name for every event', () => {
    const { log, lines } = keptLog()
    const events = new RotationEventLog({ log, clock: new ManualClock() })
    events.tell({ type: 'standing', standing: 1, planVersion: 3 })
    events.tell({ type: 'standing', standing: 0, planVersion: 4 })
    events.tell({ type: 'plan', version: 4, until: 9 })
    events.tell({ type: 'planEnding', version: 4, until: 9 })
    events.tell({ type: 'epoch', number: 2, notAfter: 7 })
    events.tell({ type: 'announced', name: 'bob', instance: '00', epoch: 2 })
    events.tell({ type: 'retired', name: 'bob', instance: '00' })
    events.tell({ type: 'revoked', identity: 'U', reason: 'left' })
    events.tell({ type: 'ordered', epoch: 2 })
    events.tell({ type: 'peerDiffers', rotator: 'U', what: 'directory' })
    events.tell({ type: 'rejected', reason: 'misrouted', subject: 'x' })
    events.refused('plan', new SubrosaError('ERR_PLAN_CONFLICT', 'two plans of one version'))
    events.refused('revoke', new SubrosaError('ERR_STATE', 'the disk is full'))
    events.tell({ type: 'error', error: new Error('thrown by a callback') })
    events.connection({ type: 'disconnect' })
    events.connection({ type: 'reconnect' })
    events.connection({ type: 'ping' })
    expect(lines.map(({ level, event }) => `${level} ${event}`)).toEqual([
      'info standing',
      'warn standing',
      'info plan',
      'warn planEnding',
      'info epoch',
      'info announced',
      'info retired',
      'warn revoked',
      'info ordered',
      'warn peerDiffers',
      'warn rejected',
      'error error',
      'error error',
      'error error',
      'warn disconnected',
      'info reconnected',
      'debug nats',
    ])
    expect(lines[0]).toMatchObject({ standing: 1, planVersion: 3 })
    expect(lines[4]).toMatchObject({ number: 2, notAfter: 7 })
  })

  it('counts the statements that are refused for one reason, and tells the rest in the end', () => {
    const { log, lines } = keptLog()
    const clock = new ManualClock()
    const events = new RotationEventLog({ log, clock })
    const refuse = (): void => events.refused('revoke', new SubrosaError('ERR_MALFORMED', 'not a statement'))
    for (let i = 0; i < 100; i++) refuse()
    expect(lines).toMatchObject([{ level: 'warn', event: 'refused', subject: 'revoke', count: 1 }])
    clock.advance(10_000)
    refuse()
    refuse()
    events.end()
    expect(lines.map(({ count }) => count)).toEqual([1, 100, 1])
  })

  it('is no hindrance where the logger throws', () => {
    const refuse = (): void => {
      throw new Error('disk full')
    }
    const log = { debug: refuse, info: refuse, warn: refuse, error: refuse }
    const events = new RotationEventLog({ log, clock: new ManualClock(), onEvent: refuse })
    expect(() => events.tell({ type: 'ordered', epoch: 1 })).not.toThrow()
    expect(() => events.refused('tick', new SubrosaError('ERR_MALFORMED', 'x'))).not.toThrow()
  })
})

describe('a rotation service with a log', () => {
  let realm: TestRealm
  beforeEach(async () => {
    realm = await TestRealm.start({ rotation: false })
  })
  afterEach(() => realm.stop())

  it('writes there what it publishes and what it refuses, and survives a callback that throws', async () => {
    const { log, lines } = keptLog()
    const service = await realm.startService({
      log,
      onEvent: () => {
        throw new Error('thrown by a callback')
      },
    })
    const told = ['plan', 'standing', 'epoch'].map((event) => ({ level: 'info', event }))
    const thrown = { level: 'error', event: 'error', err: { message: 'thrown by a callback' } }
    expect(lines).toMatchObject(told.flatMap((line) => [line, thrown]))
    const broker = await realm.connection()
    broker.publish(`${realm.root}.revoke`, utf8('?'))
    broker.publish(`${realm.root}.plan`, utf8('?'))
    await until('it has refused it', () => lines.some(({ event }) => event === 'refused'))
    expect(lines.find(({ event }) => event === 'refused')).toMatchObject({
      level: 'warn',
      subject: `${realm.root}.plan`,
      err: { code: 'ERR_MALFORMED' },
      count: 1,
    })
    // It goes on all the same.
    expect(service.standing).toBe(1)
  })
})
