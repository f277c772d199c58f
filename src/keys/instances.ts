/** An instance of an identity, by which it is found. */
export interface InstanceOf {
  readonly identity: string
  /** In hexadecimal. */
  readonly id: string
}

/** So many are looked through one by one. */
const FEW = 8

/**
 * The instances of one name. Most names have one or two, and there are thousands of names, so few of them take little memory;
 * and a name may have thousands of instances, so many of them are found at once.
 */
export class Instances<T extends InstanceOf> {
  #few: readonly T[] = []
  #many: Map<string, T> | undefined

  /** One of them, where it is there. */
  find(identity: string, id: string): T | undefined {
    if (this.#many !== undefined) return this.#many.get(keyOf({ identity, id }))
    return this.#few.find((instance) => instance.id === id && instance.identity === identity)
  }

  /** Adds one that is not there. */
  add(instance: T): void {
    if (this.#many === undefined && this.#few.length < FEW) {
      this.#few = this.#few.concat([instance])
      return
    }
    this.#many ??= new Map(this.#few.map((known) => [keyOf(known), known]))
    this.#few = []
    this.#many.set(keyOf(instance), instance)
  }

  delete(instance: T): void {
    this.#few = this.#few.filter((known) => known !== instance)
    this.#many?.delete(keyOf(instance))
    if (this.#many?.size === 0) this.#many = undefined
  }

  [Symbol.iterator](): Iterator<T> {
    return (this.#many?.values() ?? this.#few.values())[Symbol.iterator]()
  }
}

function keyOf({ identity, id }: InstanceOf): string {
  return `${identity} ${id}`
}
