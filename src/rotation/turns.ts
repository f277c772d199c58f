/** Runs tasks one after the other, in the order in which they are asked for. One that fails stops no other. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve()

  /** Runs a task when those before it are over. */
  run<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#last.then(task)
    this.#last = result.catch(() => {})
    return result
  }

  /** Resolves when everything that was asked for until now is over. */
  async idle(): Promise<void> {
    await this.#last
  }
}
