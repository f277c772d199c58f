import { describe, expect, it, vi } from 'vitest'
import { warningLog } from '../../src/base/logger.ts'
import { Queue } from '../../src/base/queue.ts'
import { EventLog } from '../../src/bus/event-log.ts'
import { StatusFeed } from '../../src/bus/status.ts'
import { ManualClock } from '../support/clock.ts'
import { keptLog } from '../support/kept-log.ts'
import { until } from '../support/until.ts'

describe('the log of a connection', () => {
  it('has a line with a stable name for every security event', () => {
    const { log, lines } = keptLog()
    const feed = new StatusFeed(new EventLog(log, new ManualClock()))
    feed.emit({ type: 'rejected', reason: 'replay', subject: 'orders.new' })
    feed.emit({ type: 'clone', name: 'bob', instance: '00' })
    feed.emit({ type: 'leftOut', name: 'mallory', instance: '01', why: 'unusable key' })
    feed.emit({ type: 'rollback', message: 'an older epoch' })
    feed.emit({ type: 'stale' })
    feed.emit({ type: 'error', error: new Error('thrown by a callback') })
    expect(lines.map(({ level, event }) => `${level} ${event}`)).toEqual([
      'warn rejected',
      'warn clone',
      'warn left-out',
      'error rollback',
      'warn stale',
      'error error',
    ])
    expect(lines[0]).toMatchObject({ reason: 'replay', subject: 'orders.new', count: 1 })
  })

  it('reports a flood of rejections for one reason once in ten seconds, with their count', () => {
    const { log, lines } = keptLog()
    const clock = new ManualClock()
    const feed = new StatusFeed(new EventLog(log, clock))
    const reject = () => feed.emit({ type: 'rejected', reason: 'malformed', subject: 'orders.new' })
    for (let i = 0; i < 1000; i++) reject()
    expect(lines.length).toBe(1)
    clock.advance(10_000)
    reject()
    expect(lines.map(({ count }) => count)).toEqual([1, 1000])
  })

  it('reports errors with the same message once in ten seconds, with their count', () => {
    const { log, lines } = keptLog()
    const clock = new ManualClock()
    const feed = new StatusFeed(new EventLog(log, clock))
    const fail = (message: string) => feed.emit({ type: 'error', error: new Error(message) })
    for (let i = 0; i < 1000; i++) fail('bad header')
    fail('another one')
    expect(lines.length).toBe(2)
    clock.advance(10_000)
    fail('bad header')
    expect(lines.map(({ count }) => count)).toEqual([1, 1, 1000])
  })

  it('has bounded lines and memory for errors that differ each time, and none is left out of the count', () => {
    const { log, lines } = keptLog()
    const feed = new StatusFeed(new EventLog(log, new ManualClock()))
    for (let i = 0; i < 1000; i++) feed.emit({ type: 'error', error: new Error(`number ${i}`) })
    expect(lines.length).toBe(65)
    feed.close()
    expect(lines.reduce((sum, { count }) => sum + Number(count), 0)).toBe(1000)
  })

  it('reports a clone of one instance once a minute, as an event and as a line, however often it is seen', () => {
    const { log, lines } = keptLog()
    const clock = new ManualClock()
    const feed = new StatusFeed(new EventLog(log, clock), clock)
    const reading = vi.spyOn(Queue.prototype, 'push')
    const events = feed.read()
    const clone = (name: string, instance: string) => feed.emit({ type: 'clone', name, instance })
    for (let i = 0; i < 400; i++) for (const instance of ['00', '01']) clone('bob', instance)
    clone('mary', '00')
    clock.advance(59_999)
    clone('bob', '00')
    expect(lines.map(({ name, instance }) => `${name} ${instance}`)).toEqual(['bob 00', 'bob 01', 'mary 00'])
    clock.advance(1)
    clone('bob', '00')
    expect([lines.length, reading.mock.calls.length]).toEqual([4, 4])
    reading.mockRestore()
    void events.return?.()
  })

  it('reports the rejections that nothing has followed when the connection ends', () => {
    const { log, lines } = keptLog()
    const feed = new StatusFeed(new EventLog(log, new ManualClock()))
    for (const subject of ['a', 'b', 'c']) feed.emit({ type: 'rejected', reason: 'replay', subject })
    feed.close()
    expect(lines).toMatchObject([
      { subject: 'a', count: 1 },
      { subject: 'c', count: 2 },
    ])
  })

  it('says when the connection to the broker is lost, and when it is back', () => {
    const { log, lines } = keptLog()
    const feed = new StatusFeed(new EventLog(log, new ManualClock()))
    for (const type of ['disconnect', 'reconnecting', 'reconnect'])
      feed.emit({ type: 'nats', status: { type } })
    expect(lines.map(({ level, event }) => `${level} ${event}`)).toEqual([
      'warn disconnected',
      'debug nats',
      'info reconnected',
    ])
  })

  it('is no hindrance where the logger throws: the event is in the feed all the same', async () => {
    const refuse = () => {
      throw new Error('disk full')
    }
    const log = { debug: refuse, info: refuse, warn: refuse, error: refuse }
    const feed = new StatusFeed(new EventLog(log, new ManualClock()))
    const events = feed.read()
    feed.emit({ type: 'stale' })
    expect((await events.next()).value).toEqual({ type: 'stale' })
  })

  it('makes warnings of the process where no logger is given', async () => {
    const seen: Error[] = []
    const listen = (warning: Error) => seen.push(warning)
    process.on('warning', listen)
    try {
      warningLog.debug({ event: 'nats' }, 'nobody needs to see this')
      warningLog.error(
        { event: 'error', err: new Error('thrown by a callback') },
        'an error that nobody caught',
      )
      warningLog.warn({ event: 'rejected', subject: 'x.\u001b[2K\u0007\u009b31m' }, 'arrivals were rejected')
      await until('the warnings are there', () => seen.length === 2)
    } finally {
      process.off('warning', listen)
    }
    expect(seen.map(({ name, message }) => `${name}: ${message}`)).toEqual([
      'SubrosaWarning: an error that nobody caught: thrown by a callback',
      // What a broker writes as a subject steers no terminal.
      'SubrosaWarning: arrivals were rejected subject=x.\\u001b[2K\\u0007\\u009b31m',
    ])
  })
})
