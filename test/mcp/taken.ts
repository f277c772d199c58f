import type { PipeSink } from '../../src/mcp/pipes/pipe.ts'
import { until } from '../support/until.ts'

/** A sink that keeps what it gets. */
export class Taken implements PipeSink {
  readonly bytes: Uint8Array[] = []
  /** Each end that was reported: there must be one at most. */
  readonly ends: (Error | undefined)[] = []
  /** Where it is set, a message is taken only when what it returns has resolved. */
  hold: (() => Promise<void>) | undefined

  readonly message = (message: Uint8Array): Promise<void> | undefined => {
    this.bytes.push(message)
    return this.hold?.()
  }

  readonly closed = (error: Error | undefined): void => {
    this.ends.push(error)
  }

  get texts(): readonly string[] {
    return this.bytes.map((bytes) => Buffer.from(bytes).toString())
  }

  get values(): readonly unknown[] {
    return this.texts.map((text) => JSON.parse(text))
  }

  async messages(count: number): Promise<void> {
    await until(`${count} messages have come`, () => this.bytes.length >= count)
  }

  /** What it has ended with. */
  async ended(): Promise<Error | undefined> {
    await until('the pipe has ended', () => this.ends.length > 0)
    return this.ends[0]
  }
}
