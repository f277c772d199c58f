import { until } from '../support/until.ts'
import { type Outcome, type RunningCommand, run, start } from './run.ts'

/** The rotation services of a realm's folder, as commands in this process. */
export class Rotators {
  readonly #dir: string
  readonly #running = new Map<string, RunningCommand>()

  constructor(dir: string) {
    this.#dir = dir
  }

  /** Begins the records of these services, and starts them together. */
  async begin(...names: readonly string[]): Promise<void> {
    for (const name of names) {
      const { code, stderr } = await run('rotator', 'begin', '--as', name, '--realm', this.#dir)
      if (code !== 0) throw new Error(stderr)
    }
    await this.start(...names)
  }

  /** Starts services whose records were begun before. */
  async start(...names: readonly string[]): Promise<void> {
    for (const name of names) this.#running.set(name, start(['rotator', '--as', name, '--realm', this.#dir]))
    for (const name of names) await until(`${name} runs`, () => this.#has(name, 'runs on'))
  }

  /** What a service has said so far. */
  said(name: string): readonly string[] {
    return this.#running.get(name)?.said ?? []
  }

  /** Ends services. */
  async stop(...names: readonly string[]): Promise<readonly Outcome[]> {
    const stopped = names.flatMap((name) => this.#running.get(name) ?? [])
    for (const name of names) this.#running.delete(name)
    for (const command of stopped) command.interrupt()
    return Promise.all(stopped.map(({ outcome }) => outcome))
  }

  async stopAll(): Promise<void> {
    await this.stop(...this.#running.keys())
  }

  #has(name: string, text: string): boolean {
    return this.said(name).some((line) => line.includes(text))
  }
}
