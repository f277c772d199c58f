import { expect, it } from 'vitest'
import { StandingSubscription } from '../../src/bus/standing-subscription.ts'
import { connectClient } from '../support/client.ts'
import { ManualClock } from '../support/clock.ts'
import { startTestServer } from '../support/server.ts'
import { until } from '../support/until.ts'

it('a subscription that the protocol needs is made again after the client has thrown when it was', async () => {
  const server = await startTestServer()
  const nc = await connectClient({ servers: server.url })
  const clock = new ManualClock()
  const errors: unknown[] = []
  const got: string[] = []
  let refuse: (error: Error) => void = () => {}
  let isBusy = false
  const subscribe = nc.subscribe.bind(nc)
  const over = Object.assign(Object.create(nc) as typeof nc, {
    subscribe: ((subject, options) => {
      if (isBusy) throw new Error('the client takes none')
      refuse = (error) => options?.callback?.(error, undefined as never)
      return subscribe(subject, options)
    }) satisfies typeof nc.subscribe,
  })
  const standing = new StandingSubscription(over, 'a.b', {
    clock,
    take: ({ subject }) => got.push(subject),
    reject: () => {},
    onError: (error) => errors.push(error),
    onRefused: () => {},
  })
  refuse(new Error('Permissions Violation for Subscription to "a.b"'))
  isBusy = true
  clock.advance(1000)
  expect(errors).toHaveLength(1)
  isBusy = false
  clock.advance(2000)
  await nc.flush()
  nc.publish('a.b')
  await expect.poll(() => got, { timeout: 15_000 }).toEqual(['a.b'])
  standing.unsubscribe()
  await nc.close()
  await server.stop()
  await until('nothing is left', () => nc.isClosed())
})
