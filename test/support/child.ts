import { type ChildProcess, fork } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** A process of a script in this folder, on the built package. It ends with this process at the latest. */
export class Child {
  readonly #process: ChildProcess
  readonly #exited: Promise<void>
  /** Every message that it has sent, in order. */
  readonly messages: Record<string, unknown>[] = []
  #errors = ''

  static start(script: string, ...args: readonly string[]): Child {
    const built = fileURLToPath(new URL('../../dist/index.js', import.meta.url))
    if (!existsSync(built))
      throw new Error('tests with child processes need the built package: npm run build')
    const path = fileURLToPath(new URL(script, import.meta.url))
    return new Child(fork(path, args, { stdio: ['ignore', 'ignore', 'pipe', 'ipc'], execArgv: [] }))
  }

  private constructor(child: ChildProcess) {
    this.#process = child
    child.on('message', (message) => this.messages.push(message as Record<string, unknown>))
    child.stderr?.on('data', (text) => {
      this.#errors += text
    })
    this.#exited = new Promise((resolve) => child.once('exit', () => resolve()))
  }

  /** The first message for which this holds. It waits for longer than a busy machine takes. */
  async message(what: string, is: (message: Record<string, unknown>) => boolean) {
    const deadline = performance.now() + 60_000
    for (;;) {
      const found = this.messages.find(is)
      if (found !== undefined) return found
      const isOver = this.#process.exitCode !== null || performance.now() > deadline
      if (isOver) throw new Error(`the child process did not say that ${what}\n${this.#errors}`)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }

  send(message: Record<string, unknown>): void {
    this.#process.send(message)
  }

  /** Ends it as a crash does: nothing of its own runs any more. */
  async kill(): Promise<void> {
    this.#process.kill('SIGKILL')
    await this.#exited
  }
}
