const NS_PER_SECOND = 1e9
const NS_PER_MICROSECOND = 1000

/** What a client, or all of them, did and in what time. */
export interface Count {
  readonly msgs: number
  /** Of payloads. */
  readonly bytes: number
  /** From the beginning to the end; 0 where less than two moments were seen. */
  readonly seconds: number
  /** Of each request, in microseconds. */
  readonly latencies: readonly number[]
}

/** Counts what one client does, while it does it. */
export class Tally {
  readonly #latencies: number[] = []
  #msgs = 0
  #bytes = 0
  #startedAt: bigint | undefined
  #endedAt: bigint | undefined

  /** How many messages so far. */
  get msgs(): number {
    return this.#msgs
  }

  /** The time begins. */
  begin(): void {
    this.#startedAt = process.hrtime.bigint()
  }

  /** So many messages are done, and the time ends here where none follows. */
  add(msgs: number, bytes: number): void {
    this.#endedAt = process.hrtime.bigint()
    this.#msgs += msgs
    this.#bytes += bytes
  }

  /** A message came. The first one begins the time. */
  arrived(bytes: number): void {
    if (this.#startedAt === undefined) this.begin()
    this.add(1, bytes)
  }

  /** A request that was sent at this time was answered. */
  answered(sentAt: bigint, bytes: number): void {
    this.add(1, bytes)
    if (this.#endedAt !== undefined) this.#latencies.push(Number(this.#endedAt - sentAt) / NS_PER_MICROSECOND)
  }

  /** What it has counted. */
  count(): Count {
    return Tally.total([this])
  }

  /** What several have counted, from the first beginning to the last end. Every sample of a request is in it. */
  static total(tallies: readonly Tally[]): Count {
    let msgs = 0
    let bytes = 0
    let startedAt: bigint | undefined
    let endedAt: bigint | undefined
    for (const tally of tallies) {
      const { msgs: count, startedAt: start, endedAt: end } = tally.#seen()
      if (count === 0 || start === undefined || end === undefined) continue
      msgs += count
      bytes += tally.#bytes
      if (startedAt === undefined || start < startedAt) startedAt = start
      if (endedAt === undefined || end > endedAt) endedAt = end
    }
    const ns = startedAt === undefined || endedAt === undefined ? 0 : Number(endedAt - startedAt)
    return {
      msgs,
      bytes,
      seconds: ns / NS_PER_SECOND,
      latencies: tallies.flatMap((tally) => tally.#latencies),
    }
  }

  #seen() {
    return { msgs: this.#msgs, startedAt: this.#startedAt, endedAt: this.#endedAt }
  }
}

/** So many a second; `undefined` where no time has passed. */
export function perSecond(count: number, { seconds }: Count): number | undefined {
  return seconds > 0 ? count / seconds : undefined
}
