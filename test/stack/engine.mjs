import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { findPrograms, NoEngine } from './programs.mjs'

const START_TIMEOUT_MS = 60_000
const STOP_TIMEOUT_MS = 30_000
const CGROUPS = '/sys/fs/cgroup'

/**
 * The first process of the engine's own namespaces. When its standard input ends, which it does with the process that
 * started it at the latest, it ends, and the kernel ends everything in there with it.
 */
const FIRST_PROCESS = `
ip link set lo up
mount -t tmpfs tmpfs /run
dockerd "$@" < /dev/null &
read -r end
`

/**
 * A Docker engine of one's own. Its processes, network and mounts are in namespaces of their own, and its files in one
 * temporary folder: no other engine on the machine notices, and nothing of it reaches the machine's network.
 */
export class Engine {
  /** For `docker` and `docker-compose`. */
  env
  folder
  #process
  #cgroup
  /** @type {Promise<void>} */
  #gone

  /**
   * @returns {Promise<Engine>}
   * @throws {NoEngine} that says why none can be started here
   */
  static async start() {
    if (process.platform !== 'linux') throw new NoEngine('this is no Linux')
    if (process.getuid?.() !== 0) throw new NoEngine('it takes root to start one')
    const engine = new Engine(findPrograms())
    try {
      await engine.#ready()
      return engine
    } catch (error) {
      await engine.stop()
      throw error
    }
  }

  /** @param {NodeJS.ProcessEnv} env */
  constructor(env) {
    this.folder = mkdtempSync(join(tmpdir(), 'subrosa-engine-'))
    this.#cgroup = this.folder.split('/').at(-1) ?? ''
    const socket = `unix://${join(this.folder, 'docker.sock')}`
    this.env = { ...env, DOCKER_HOST: socket }
    writeFileSync(join(this.folder, 'daemon.json'), '{}')
    const namespaces = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc']
    const options = {
      '--config-file': join(this.folder, 'daemon.json'),
      '--data-root': join(this.folder, 'data'),
      '--exec-root': join(this.folder, 'exec'),
      '--pidfile': join(this.folder, 'docker.pid'),
      '--host': socket,
      '--cgroup-parent': `/${this.#cgroup}`,
      '--exec-opt': 'native.cgroupdriver=cgroupfs',
    }
    const log = join(this.folder, 'engine.log')
    const script = `exec > "${log}" 2>&1\n${FIRST_PROCESS}`
    this.#process = spawn(
      'unshare',
      [...namespaces, 'sh', '-c', script, 'sh', ...Object.entries(options).flat()],
      // A Ctrl-C on the terminal is for the script: it ends the engine in its own time.
      { env, stdio: ['pipe', 'ignore', 'ignore'], detached: true },
    )
    this.#gone = new Promise((resolve) => {
      this.#process.once('exit', () => resolve())
      this.#process.once('error', () => resolve())
    })
  }

  /**
   * Runs a program that talks to this engine.
   *
   * @param {string} program
   * @param {readonly string[]} args
   * @param {import('node:child_process').ExecFileSyncOptions} options
   */
  run(program, args, options = {}) {
    return execFileSync(program, args, {
      env: this.env,
      stdio: ['ignore', 'pipe', 'pipe'],
      maxBuffer: 2 ** 28,
      ...options,
    })
      .toString()
      .trim()
  }

  /** The end of what it has written into its log. */
  log() {
    const path = join(this.folder, 'engine.log')
    return existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n').slice(-3).join('\n') : ''
  }

  async stop() {
    this.#process.stdin?.end()
    const killer = setTimeout(() => this.#process.kill('SIGKILL'), STOP_TIMEOUT_MS)
    await this.#gone
    clearTimeout(killer)
    await this.#removeCgroups()
    rmSync(this.folder, { recursive: true, force: true })
  }

  async #ready() {
    let isGone = false
    void this.#gone.then(() => {
      isGone = true
    })
    const deadline = performance.now() + START_TIMEOUT_MS
    while (!isGone && performance.now() < deadline) {
      try {
        this.run('docker', ['version', '--format', '{{.Server.Version}}'])
        return
      } catch {
        if (/^failed to start daemon/m.test(this.log())) break
        await pause(200)
      }
    }
    throw new NoEngine(this.log() || 'dockerd did not answer')
  }

  /** Groups that the engine made and its end left: empty ones go when the last of their processes is gone. */
  async #removeCgroups() {
    const roots = [CGROUPS, ...foldersIn(CGROUPS)]
      .map((folder) => join(folder, this.#cgroup))
      .filter(existsSync)
    for (const root of roots) {
      for (let tries = 0; existsSync(root) && tries < 50; tries++) {
        try {
          removeEmpty(root)
        } catch {
          await pause(100)
        }
      }
    }
  }
}

/** @param {string} folder */
function removeEmpty(folder) {
  for (const child of foldersIn(folder)) removeEmpty(child)
  rmdirSync(folder)
}

/** @param {string} folder */
function foldersIn(folder) {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => join(folder, name))
}
