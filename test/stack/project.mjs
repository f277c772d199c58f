import { execFileSync } from 'node:child_process'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { reasonOf } from './programs.mjs'

/** @typedef {import('./engine.mjs').Engine} Engine */

const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url))
const DEADLINE_MS = 90_000

/** docker-compose.yml of this repository as a project on an engine, driven as a person does: by docker-compose. */
export class Project {
  engine
  #name

  /**
   * @param {Engine} engine
   * @param {string} name
   */
  constructor(engine, name) {
    this.engine = engine
    this.#name = name
  }

  /**
   * Runs docker-compose.
   *
   * @param {readonly string[]} args
   * @param {NodeJS.ProcessEnv} env
   */
  compose(args, env = {}) {
    return this.engine.run('docker-compose', ['--project-name', this.#name, '--no-ansi', ...args], {
      cwd: REPOSITORY,
      env: { ...this.engine.env, ...env },
    })
  }

  /**
   * Runs docker-compose, which shall fail.
   *
   * @param {readonly string[]} args
   * @param {NodeJS.ProcessEnv} env
   * @returns {string} all that it said
   */
  composeFails(args, env = {}) {
    try {
      this.compose(args, env)
    } catch (error) {
      if (error instanceof Error && 'stderr' in error && 'stdout' in error)
        return `${error.stdout}${error.stderr}`
      throw error
    }
    throw new Error(`docker-compose ${args.join(' ')} did not fail`)
  }

  /** Whether `docker compose` is there too. */
  hasPlugin() {
    try {
      this.docker(['compose', 'version'])
      return true
    } catch {
      return false
    }
  }

  /** @param {readonly string[]} args */
  docker(args) {
    return this.engine.run('docker', args)
  }

  /**
   * Runs a command in a container.
   *
   * @param {string} service
   * @param {...string} command
   */
  exec(service, ...command) {
    return this.docker(['exec', this.container(service), ...command])
  }

  /** @param {string} service */
  container(service) {
    const labels = [`project=${this.#name}`, `service=${service}`, 'oneoff=False']
    const filters = labels.flatMap((label) => ['--filter', `label=com.docker.compose.${label}`])
    const id = this.docker(['ps', '--all', '--quiet', ...filters])
    if (id === '') throw new Error(`there is no container of ${service}`)
    return id
  }

  /**
   * The name that the engine knows a volume by.
   *
   * @param {string} name
   */
  volume(name) {
    return `${this.#name}_${name}`
  }

  /**
   * The image that a service is started from, as the file names it.
   *
   * @param {string} service
   */
  image(service) {
    const image = new RegExp(`^  ${service}:\\n(?:    .*\\n)*?    image: (.+)$`, 'm').exec(
      this.compose(['config']),
    )?.[1]
    if (image === undefined) throw new Error(`${service} has no image`)
    return image
  }

  /**
   * Puts the content of another volume in place of that of this project.
   *
   * @param {string} name
   * @param {string} other
   */
  replaceVolume(name, other) {
    const mounts = ['-v', `${this.volume(name)}:/to`, '-v', `${other}:/from:ro`]
    this.docker(['run', '--rm', ...mounts, 'subrosa', 'sh', '-c', 'rm -rf /to/* && cp -R /from/. /to'])
  }

  get network() {
    return `${this.#name}_default`
  }

  /**
   * What the engine knows of a container.
   *
   * @param {string} service
   * @param {string} template
   */
  inspect(service, template) {
    return this.docker(['inspect', '--format', template, this.container(service)])
  }

  /**
   * What a container has said, with the times.
   *
   * @param {string} service
   * @param {string} since
   * @returns {readonly { readonly at: number, readonly text: string }[]}
   */
  logs(service, since = '0') {
    // Both streams, as they came.
    const text = execFileSync(
      'sh',
      ['-c', 'docker logs --timestamps --since "$1" "$2" 2>&1', 'sh', since, this.container(service)],
      { env: this.engine.env },
    ).toString()
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => ({
        at: Date.parse(line.slice(0, line.indexOf(' '))),
        text: line.slice(line.indexOf(' ') + 1),
      }))
  }

  /** The end of what each container has said, to see what went wrong. */
  lastWords() {
    try {
      return this.compose(['logs', '--timestamps', '--tail', '20'])
    } catch (error) {
      return reasonOf(error)
    }
  }

  /**
   * @param {string} what
   * @param {() => boolean} condition
   */
  async until(what, condition) {
    const deadline = performance.now() + DEADLINE_MS
    while (!condition()) {
      if (performance.now() > deadline) throw new Error(`waited in vain until ${what}`)
      await pause(250)
    }
  }

  /** @param {readonly string[]} services */
  async untilHealthy(services) {
    for (const service of services)
      await this.until(
        `${service} is healthy`,
        () => this.inspect(service, '{{.State.Health.Status}}') === 'healthy',
      )
  }
}
