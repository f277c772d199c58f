import { type ChildProcess, spawn } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { until } from '../support/until.ts'

/** What a command did. */
export interface Outcome {
  readonly code: number
  readonly stdout: string
  readonly output: string
}

/** A command that runs, and what it has said so far. */
export interface Running {
  readonly said: () => string
  readonly outcome: Promise<Outcome>
  readonly interrupt: () => void
}

/** A package in a tree of node_modules. */
export interface Installed {
  readonly name: string
  readonly version: string
  readonly hasInstallScript: boolean
}

/** What npm tells the scripts of this repository about it, and what would change what the commands do. */
const NOT_PASSED_ON =
  /^(npm_(package|lifecycle|command|config_local_prefix)|INIT_CWD$|NODE_|VITEST|SUBROSA_|NATS_|XDG_STATE_HOME$)/

/** A project of a user: a folder of its own, in which nothing resolves to this repository. */
export class Project {
  readonly folder: string
  readonly #children = new Set<ChildProcess>()

  /** @param folder it is made, with a package.json as `npm init` makes one */
  static async create(folder: string): Promise<Project> {
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, 'package.json'), '{ "name": "consumer", "private": true }\n')
    return new Project(folder)
  }

  private constructor(folder: string) {
    this.folder = folder
  }

  /** Installs from npm's cache, and from the registry what is not there. */
  async install(args: readonly string[]): Promise<void> {
    const { code, output } = await this.run('npm', [
      'install',
      '--prefer-offline',
      '--no-audit',
      '--no-fund',
      '--fetch-retries=1',
      '--fetch-retry-mintimeout=1000',
      '--fetch-timeout=30000',
      ...args,
    ])
    if (code !== 0)
      throw new Error(
        `npm install ended with ${code}: this test needs the package registry, or all of it in npm's cache\n${output}`,
      )
  }

  /** Every package that npm has installed. */
  async installed(): Promise<readonly Installed[]> {
    const { packages } = JSON.parse(await this.read('node_modules/.package-lock.json')) as {
      packages: Record<string, { version: string; hasInstallScript?: boolean }>
    }
    return Object.entries(packages).map(([path, { version, hasInstallScript = false }]) => ({
      name: path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length),
      version,
      hasInstallScript,
    }))
  }

  read(path: string): Promise<string> {
    return readFile(join(this.folder, path), 'utf8')
  }

  async write(path: string, text: string): Promise<void> {
    await mkdir(join(this.folder, path, '..'), { recursive: true })
    await writeFile(join(this.folder, path), text)
  }

  /** Runs a line of a shell to its end. */
  shell(line: string): Promise<Outcome> {
    return this.run('/bin/sh', ['-c', line])
  }

  /** Runs a program to its end. */
  run(command: string, args: readonly string[]): Promise<Outcome> {
    return this.start(command, args).outcome
  }

  start(command: string, args: readonly string[]): Running {
    const child = spawn(command, args, {
      cwd: this.folder,
      env: this.#environment(),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#children.add(child)
    let stdout = ''
    let output = ''
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString()
      output += chunk.toString()
    })
    child.stderr.on('data', (chunk: Buffer) => {
      output += chunk.toString()
    })
    const outcome = new Promise<Outcome>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code) => {
        this.#children.delete(child)
        resolve({ code: code ?? -1, stdout, output })
      })
    })
    return { said: () => output, outcome, interrupt: () => void child.kill('SIGINT') }
  }

  /** Starts a program, and resolves when it has said this. */
  async startUntil(said: string, command: string, args: readonly string[]): Promise<Running> {
    const running = this.start(command, args)
    let isOver = false
    void running.outcome.then(() => {
      isOver = true
    })
    await until(`${command} says "${said}"`, () => isOver || running.said().includes(said))
    if (!running.said().includes(said)) throw new Error(`${command} ${args.join(' ')}\n${running.said()}`)
    return running
  }

  /** Ends what still runs. */
  stop(): void {
    for (const child of this.#children) child.kill('SIGKILL')
  }

  #environment(): Record<string, string> {
    const { PATH = '', ...others } = process.env
    const passed = Object.entries(others).filter(
      (entry): entry is [string, string] => entry[1] !== undefined && !NOT_PASSED_ON.test(entry[0]),
    )
    return {
      ...Object.fromEntries(passed),
      // Without the programs of this repository's node_modules.
      PATH: PATH.split(delimiter)
        .filter((folder) => !folder.includes('node_modules'))
        .join(delimiter),
      XDG_STATE_HOME: join(this.folder, 'state'),
      // What the examples are told to be run with.
      KEY_PASSPHRASE: 'correct horse',
      NO_COLOR: '1',
    }
  }
}
