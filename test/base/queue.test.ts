import { describe, expect, it } from 'vitest'
import { Queue } from '../../src/base/queue.ts'

describe('a queue', () => {
  it('gives its items in order, whether they wait or are waited for, and drops the oldest', async () => {
    const queue = new Queue<number>()
    const waiting = [queue.next(), queue.next()]
    for (let i = 0; i < 5000; i++) queue.push(i)
    expect((await Promise.all(waiting)).map(({ value }) => value)).toEqual([0, 1])
    expect(queue.length).toBe(4998)
    for (let i = 2; i < 3000; i++) expect((await queue.next()).value).toBe(i)
    queue.dropOldest()
    queue.push(5000)
    queue.end()
    queue.push(5001)
    expect(queue.length).toBe(2000)
    for (let i = 3001; i <= 5000; i++) expect((await queue.next()).value).toBe(i)
    expect(await queue.next()).toEqual({ value: undefined, done: true })
  })

  it('gives what was pushed before an error, and then the error, also to those who wait', async () => {
    const queue = new Queue<number>()
    const failed = new Error('failed')
    queue.push(1)
    queue.end(failed)
    expect((await queue.next()).value).toBe(1)
    await expect(queue.next()).rejects.toBe(failed)
    const other = new Queue<number>()
    const waiting = other.next()
    other.end(failed)
    await expect(waiting).rejects.toBe(failed)
  })

  it('is empty once it is cleared', async () => {
    const queue = new Queue<number>()
    queue.push(1)
    queue.clear()
    queue.push(2)
    expect([queue.length, (await queue.next()).value]).toEqual([1, 2])
  })
})
