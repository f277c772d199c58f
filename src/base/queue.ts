/** What a reader of a {@link Queue} gets. */
type Result<T> = IteratorResult<T, undefined>

interface Waiter<T> {
  readonly resolve: (result: Result<T>) => void
  readonly reject: (error: Error) => void
}

/** From so many items on that were taken, an array is moved up: what is left is fewer then. */
const MIN_MOVED = 1024

/** Items in order. To take the first costs the same however many there are, which `shift` of a long array does not. */
class Line<T> {
  #items: (T | undefined)[] = []
  #taken = 0

  get length(): number {
    return this.#items.length - this.#taken
  }

  push(item: T): void {
    this.#items.push(item)
  }

  shift(): T | undefined {
    if (this.length === 0) return undefined
    const item = this.#items[this.#taken]
    // Nothing holds on to what was taken.
    this.#items[this.#taken++] = undefined
    if (this.length === 0) this.clear()
    else if (this.#taken >= MIN_MOVED && this.#taken > this.length) {
      this.#items = this.#items.slice(this.#taken)
      this.#taken = 0
    }
    return item
  }

  clear(): void {
    this.#items = []
    this.#taken = 0
  }
}

/** Items between whoever pushes them and whoever reads them, in order. It ends once; what came before is still read. */
export class Queue<T> {
  readonly #unread = new Line<T>()
  readonly #waiters = new Line<Waiter<T>>()
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
    for (let next = this.#waiters.shift(); next !== undefined; next = this.#waiters.shift()) {
      if (error === undefined) next.resolve({ value: undefined, done: true })
      else next.reject(error)
    }
  }

  /** Drops the oldest item that is not read. */
  dropOldest(): void {
    this.#unread.shift()
  }

  /** Drops everything that is not read. */
  clear(): void {
    this.#unread.clear()
  }
}
