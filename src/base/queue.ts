/** What a reader of a {@link Queue} gets. */
type Result<T> = IteratorResult<T, undefined>

interface Waiter<T> {
  readonly resolve: (result: Result<T>) => void
  readonly reject: (error: Error) => void
}

/** Items between whoever pushes them and whoever reads them, in order. It ends once; what came before is still read. */
export class Queue<T> {
  readonly #unread: T[] = []
  readonly #waiters: Waiter<T>[] = []
  #isEnded = false
  #error: Error | undefined

  /** How many items wait to be read. */
  get length(): number {
    return this.#unread.length
  }

  push(item: T): void {
    if (this.#isEnded) return
    const waiter = this.#waiters.shift()
    if (waiter === undefined) this.#unread.push(item)
    else waiter.resolve({ value: item, done: false })
  }

  /** The next item, now or when it comes. It rejects where an error ended the queue and all items are read. */
  next(): Promise<Result<T>> {
    const item = this.#unread.shift()
    if (item !== undefined) return Promise.resolve({ value: item, done: false })
    if (this.#error !== undefined) return Promise.reject(this.#error)
    if (this.#isEnded) return Promise.resolve({ value: undefined, done: true })
    return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }))
  }

  /** No more items come. */
  end(error?: Error): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.#error = error
    for (const { resolve, reject } of this.#waiters.splice(0)) {
      if (error === undefined) resolve({ value: undefined, done: true })
      else reject(error)
    }
  }

  /** Drops the oldest item that is not read. */
  dropOldest(): void {
    this.#unread.shift()
  }

  /** Drops everything that is not read. */
  clear(): void {
    this.#unread.length = 0
  }
}
