import { execFile } from 'node:child_process'
import { access, constants, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import { SubrosaError } from '../base/errors.ts'

const run = promisify(execFile)

const PROGRAM = 'nats-server'
const DOCKER_IMAGE = 'nats:2'
const FETCH_TIMEOUT_MS = 120_000

/** How to run a nats-server here: a command, and the arguments that stand before the server's own. */
export interface NatsServerProgram {
  readonly command: string
  readonly args: readonly string[]
  /** Where it was found, for people. */
  readonly origin: string
}

/** Where {@link findNatsServer} looks. */
export interface FindOptions {
  /** Default: the environment of this process. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Told what takes time. */
  readonly onProgress?: (message: string) => void
}

/**
 * Finds a nats-server without changing the machine: what `SUBROSA_NATS_SERVER` names; on the PATH; Debian's package,
 * unpacked into a cache folder so that no service is started; in Docker.
 *
 * @throws SubrosaError ERR_SETUP that says what to install
 *
 * @example
 * ```ts
 * const { command, args } = await findNatsServer()
 * spawn(command, [...args, '-c', 'nats-server.conf'])
 * ```
 */
export async function findNatsServer(options: FindOptions = {}): Promise<NatsServerProgram> {
  const { env = process.env, onProgress = () => {} } = options
  const named = env['SUBROSA_NATS_SERVER']
  if (named) return { command: named, args: [], origin: 'SUBROSA_NATS_SERVER' }
  const installed = await onPath(PROGRAM, env)
  if (installed !== undefined) return { command: installed, args: [], origin: installed }
  const unpacked = await fromDebian(env, onProgress)
  if (unpacked !== undefined) return { command: unpacked, args: [], origin: "Debian's package" }
  const docker = await onPath('docker', env)
  if (docker !== undefined && (await hasEngine(docker))) return inDocker(docker)
  throw new SubrosaError('ERR_SETUP', 'no nats-server was found', {
    hint: 'install one: apt-get install nats-server, brew install nats-server, or Docker; see https://docs.nats.io/running-a-nats-service/introduction/installation',
  })
}

function inDocker(docker: string): NatsServerProgram {
  // The host's network and folders: ports, configuration and certificates are where the caller put them.
  const folders = [homedir(), process.env['TMPDIR'] ?? '/tmp'].flatMap((folder) => [
    '-v',
    `${folder}:${folder}`,
  ])
  const args = ['run', '--rm', '--init', '--network', 'host', ...folders, DOCKER_IMAGE]
  return { command: docker, args, origin: `Docker image ${DOCKER_IMAGE}` }
}

async function onPath(name: string, env: FindOptions['env']): Promise<string | undefined> {
  // Debian puts servers where only root's PATH leads.
  const folders = [...(env?.['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin']
  for (const folder of folders) {
    if (folder !== '' && (await isExecutable(join(folder, name)))) return join(folder, name)
  }
  return undefined
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

async function fromDebian(
  env: FindOptions['env'],
  onProgress: (message: string) => void,
): Promise<string | undefined> {
  const cache = join(env?.['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'subrosa', PROGRAM)
  const program = join(cache, 'package', 'usr', 'sbin', PROGRAM)
  if (await isExecutable(program)) return program
  const aptGet = await onPath('apt-get', env)
  const dpkg = await onPath('dpkg', env)
  if (aptGet === undefined || dpkg === undefined) return undefined
  onProgress(`unpacking Debian's ${PROGRAM} into ${cache}`)
  try {
    await unpack({ aptGet, dpkg, cache })
    return program
  } catch (error) {
    onProgress(
      `Debian's package cannot be had: ${error instanceof Error ? error.message.split('\n')[0] : ''}`,
    )
    return undefined
  }
}

async function unpack(tools: {
  readonly aptGet: string
  readonly dpkg: string
  readonly cache: string
}): Promise<void> {
  const { aptGet, dpkg, cache } = tools
  await mkdir(cache, { recursive: true })
  const work = await mkdtemp(join(cache, 'work-'))
  try {
    await download(aptGet, work)
    const archive = (await readdir(work)).find((name) => name.endsWith('.deb'))
    if (archive === undefined) throw new Error('apt-get left no package')
    await run(dpkg, ['-x', join(work, archive), join(work, 'package')])
    await putInPlace(join(work, 'package'), join(cache, 'package'))
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** With the machine's package lists where it has them, else with lists of one's own: neither needs root. */
async function download(aptGet: string, work: string): Promise<void> {
  const options = { cwd: work, timeout: FETCH_TIMEOUT_MS }
  const unsandboxed = ['-o', 'APT::Sandbox::User=']
  try {
    await run(aptGet, [...unsandboxed, 'download', PROGRAM], options)
  } catch {
    const lists = join(work, 'lists')
    const cache = join(work, 'cache')
    await mkdir(join(lists, 'partial'), { recursive: true })
    await mkdir(join(cache, 'archives', 'partial'), { recursive: true })
    const own = [...unsandboxed, '-o', `Dir::State::lists=${lists}`, '-o', `Dir::Cache=${cache}`]
    await run(aptGet, [...own, 'update'], options)
    await run(aptGet, [...own, 'download', PROGRAM], options)
  }
}

/** Two that unpack at once end with one whole package: whichever comes first stays. */
async function putInPlace(from: string, to: string): Promise<void> {
  try {
    await rename(from, to)
  } catch (error) {
    if (!(await isExecutable(join(to, 'usr', 'sbin', PROGRAM)))) throw error
  }
}

async function hasEngine(docker: string): Promise<boolean> {
  try {
    await run(docker, ['info', '--format', '{{.ServerVersion}}'], { timeout: 10_000 })
    return true
  } catch {
    return false
  }
}
