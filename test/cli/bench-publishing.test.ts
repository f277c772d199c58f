import { describe, expect, it } from 'vitest'
import type { BenchClient } from '../../src/cli/bench/client.ts'
import { publishShare } from '../../src/cli/bench/publishing.ts'
import { Tally } from '../../src/cli/bench/tally.ts'
import { failure, until } from '../support/until.ts'

/** As much as a window has, so that each message is one. */
const WINDOW = 4 * 1024 * 1024

/** A client of a broker that confirms what it has when it is told to. */
class SlowBroker implements BenchClient {
  /** How many payloads were published by each call. */
  readonly calls: number[] = []
  readonly #waiting: { readonly confirm: () => void; readonly fail: (error: Error) => void }[] = []
  confirmsAtOnce = false

  get published(): number {
    return this.calls.reduce((sum, count) => sum + count, 0)
  }

  get asked(): number {
    return this.#waiting.length
  }

  publisher() {
    return (count: number): void => void this.calls.push(count)
  }

  async flush(): Promise<void> {
    if (this.confirmsAtOnce) return
    await new Promise<void>((confirm, fail) => this.#waiting.push({ confirm, fail }))
  }

  confirm(): void {
    this.#waiting.shift()?.confirm()
  }

  fail(): void {
    this.#waiting.shift()?.fail(new Error('the broker is gone'))
  }

  async awaitAudience(): Promise<void> {}
  requester() {
    return async (): Promise<number> => 0
  }
  subscribe(): void {}
  async leave(): Promise<void> {}
}

interface Task {
  readonly size?: number
  readonly count: number
  readonly many?: number
}

function publish({ size = 1, count, many }: Task) {
  const client = new SlowBroker()
  const tally = new Tally()
  const stop = new AbortController()
  const sending = { subject: 'x', payload: new Uint8Array(size), to: undefined, mode: 'session' } as const
  const done = publishShare({ client, tally }, { sending, many, count, signal: stop.signal })
  return { client, tally, stop, done }
}

describe('publishing', () => {
  it('begins with one message, and counts nothing that the broker does not have', async () => {
    const { client, tally, done } = publish({ count: 1000 })
    await until('it asks', () => client.asked === 1)
    expect([client.calls, tally.msgs]).toEqual([[1], 0])
    client.confirm()
    await until('all is published', () => client.published === 1000 && client.asked === 1)
    expect(tally.msgs).toBe(1)
    client.confirm()
    await done
    expect(tally.count()).toMatchObject({ msgs: 1000, bytes: 1000 })
  })

  it('stops when two windows are under way, until the broker has the first', async () => {
    const { client, tally, stop, done } = publish({ size: WINDOW, count: 1_000_000 })
    client.confirm()
    await until('it waits', () => client.published >= 3)
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
    expect(client.published).toBe(3)
    client.confirm()
    await until('it goes on', () => client.published >= 4)
    expect(tally.msgs).toBe(2)
    stop.abort()
    client.confirmsAtOnce = true
    client.confirm()
    client.confirm()
    await done
    expect(tally.msgs).toBe(client.published)
  })

  it('publishes so many together as it should, and the rest', async () => {
    const { client, done } = publish({ count: 22, many: 8 })
    client.confirmsAtOnce = true
    client.confirm()
    await done
    expect(client.calls.filter((count) => count > 0)).toEqual([1, 8, 8, 5])
  })

  it('ends with what the broker says, also while it publishes on', async () => {
    const { client, tally, done } = publish({ size: WINDOW, count: 1_000_000 })
    client.confirm()
    await until('it waits', () => client.published >= 3)
    client.fail()
    expect((await failure(() => done)).message).toBe('the broker is gone')
    expect(tally.msgs).toBe(1)
  })
})
