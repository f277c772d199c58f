import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'

const SERVICES = ['setup', 'nats', 'rotator-1', 'rotator-2', 'rotator-3', 'orders', 'billing']
const DEADLINE_MS = 60_000
const COUNTS = /"event":"standing","standing":1/

/** `npm run stack`, as a process of its own that has nothing of this user's settings. */
class Stack {
  readonly lines: string[] = []
  readonly ended: Promise<number | NodeJS.Signals | null>
  readonly #process: ChildProcess

  constructor(args: readonly string[] = [], env: Record<string, string> = {}) {
    this.#process = spawn(process.execPath, ['scripts/stack.mjs', ...args], {
      env: { ...process.env, TMPDIR: folder, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let rest = ''
    for (const stream of [this.#process.stdout, this.#process.stderr])
      stream?.on('data', (chunk: Buffer) => {
        const lines = (rest + chunk.toString()).split('\n')
        rest = lines.pop() ?? ''
        this.lines.push(...lines)
      })
    this.ended = new Promise((resolve) =>
      this.#process.once('close', (code, signal) => resolve(code ?? signal)),
    )
    stacks.push(this)
  }

  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal)
  }

  /** Everything that a service has said, from a line on. */
  said(service: string, from = 0): readonly string[] {
    return this.lines.slice(from).flatMap((line) => {
      const [, source, text = ''] = /^(\S+) +\| (.*)$/.exec(line) ?? []
      return source === service ? [text] : []
    })
  }

  /** Resolves when a service says so. */
  async says(service: string, pattern: RegExp, from = 0): Promise<void> {
    await until(
      () => this.said(service, from).some((line) => pattern.test(line)),
      () => `${service} did not say ${pattern.source}:\n${this.lines.slice(-30).join('\n')}`,
    )
  }

  async exchanges(from = 0): Promise<void> {
    await this.says('billing', /^received orders\.new .* from orders, epoch \d+$/, from)
    await this.says('orders', /^received invoices\.new .* from billing, epoch \d+$/, from)
  }

  /** The processes that were started, by service: of each the last. */
  pids(): ReadonlyMap<string, number> {
    return new Map(
      this.said('stack').flatMap((line) => {
        const [, service, pid] = /^(\S+) is process (\d+)$/.exec(line) ?? []
        return service === undefined ? [] : [[service, Number(pid)]]
      }),
    )
  }
}

async function until(condition: () => boolean, otherwise: () => string): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(otherwise())
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

async function untilGone(pids: Iterable<number>): Promise<void> {
  const all = [...pids]
  await until(
    () => !all.some(isRunning),
    () => `processes were left: ${all.filter(isRunning).join(' ')}`,
  )
}

const stacks: Stack[] = []
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'subrosa-test-stack-'))
})
afterEach(async () => {
  for (const stack of stacks.splice(0)) {
    stack.signal('SIGTERM')
    await stack.ended
    await untilGone(stack.pids().values())
  }
}, DEADLINE_MS)
afterAll(() => rm(folder, { recursive: true, force: true }))

describe('npm run stack', () => {
  test('runs every service of docker-compose.yml, goes on when a rotation service is killed, and leaves nothing behind', {
    timeout: 2 * DEADLINE_MS,
  }, async () => {
    const stack = new Stack()
    await stack.says('stack', /^everything runs/)
    await stack.exchanges()
    expect([...stack.pids().keys()].sort()).toEqual([...SERVICES].sort())

    const from = stack.lines.length
    process.kill(stack.pids().get('rotator-2') ?? 0, 'SIGKILL')
    await stack.says('stack', /^rotator-2 has ended with SIGKILL, and is started again in 5 s$/, from)
    await stack.exchanges(stack.lines.length)
    await stack.says('rotator-2', COUNTS, from)
    await stack.exchanges(stack.lines.length)
    const unsent = ['orders', 'billing'].flatMap((agent) => stack.said(agent, from))
    expect(unsent.filter((line) => line.startsWith('not sent'))).toEqual([])

    stack.signal('SIGINT')
    expect(await stack.ended).toBe(0)
    expect(stack.said('stack').at(-1)).toBe('stopped')
    await untilGone(stack.pids().values())
    await until(
      () => !stack.lines.some((line) => existsSync(/volumes are in (.*)$/.exec(line)?.[1] ?? '')),
      () => 'the temporary folder is still there',
    )
  })

  test('ends its services when it is killed itself, and removes its temporary folder', {
    timeout: 2 * DEADLINE_MS,
  }, async () => {
    const stack = new Stack()
    await stack.says('nats', /Server is ready/)
    stack.signal('SIGKILL')
    await stack.ended
    expect(stack.pids().size).toBeGreaterThan(1)
    await untilGone(stack.pids().values())
    const [, where = ''] = /volumes are in (.*)$/m.exec(stack.lines.join('\n')) ?? []
    await until(
      () => where !== '' && !existsSync(where),
      () => `${where} is still there`,
    )
  })

  test('finds the same realm again in a folder that stays, and refuses it as another one', {
    timeout: 2 * DEADLINE_MS,
  }, async () => {
    const dir = join(folder, 'kept')
    const first = new Stack(['--dir', dir])
    await first.exchanges()
    first.signal('SIGTERM')
    expect(await first.ended).toBe(0)
    const { realm } = JSON.parse(await readFile(join(dir, 'realm', 'realm.json'), 'utf8'))

    const second = new Stack(['--dir', dir], { SUBROSA_REALM_KEY: realm })
    await second.says('setup', new RegExp(`^${realm}$`))
    await second.exchanges()
    second.signal('SIGTERM')
    expect(await second.ended).toBe(0)

    const other = `A${'B'.repeat(55)}`
    const third = new Stack(['--dir', dir], { SUBROSA_REALM_KEY: other })
    expect(await third.ended).toBe(1)
    expect(third.said('setup').join('\n')).toContain(`error: the volume realm holds the realm ${realm}`)
    expect(third.said('setup').join('\n')).toContain('hint: bring the volume of that realm back')
    expect([...third.pids().keys()]).toEqual(['setup'])
  })

  test('ends with an error that names a program that is missing', { timeout: DEADLINE_MS }, async () => {
    const stack = new Stack([], { SUBROSA_NATS_SERVER: join(folder, 'nowhere') })
    expect(await stack.ended).toBe(1)
    expect(stack.said('stack').join('\n')).toMatch(/^error: nats cannot be started: .*nowhere.*$/m)
  })

  test('does not take options that it does not know', { timeout: DEADLINE_MS }, async () => {
    const stack = new Stack(['--nonsense'])
    expect(await stack.ended).toBe(2)
    expect(stack.lines).toEqual([expect.stringMatching(/^stack: error: .*--nonsense/)])
    expect(await readdir(folder)).toEqual(['kept'])
  })
})
