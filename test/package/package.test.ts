import { copyFile, mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findNatsServer } from '../../src/setup/nats-server.ts'
import { type RunningServer, startNatsServer } from '../../src/setup/run-server.ts'
import { freePort } from '../setup/running-realm.ts'
import { startTestServer, type TestServer } from '../support/server.ts'
import { commandsOf, REPOSITORY } from './examples.ts'
import { type Outcome, Project, type Running } from './project.ts'

const MINUTES = 60_000

/** An example, or one that waits and the one that it waits for. */
interface Run {
  readonly names: readonly string[]
  readonly prints: RegExp
  /** What the one that waits has printed in the end. */
  readonly heard?: RegExp
}

const ONE_ORDER = /^waiting for an order\norders orders\.new \{ id: 7 \} 1\n$/

/** Every example there is, and what it prints. */
const EXAMPLES: readonly Run[] = [
  { names: ['overview'], prints: /^shop orders\.new 8 1\nshop orders\.new 8 1\nresult\n$/ },
  { names: ['billing', 'orders'], prints: /^sent order 7\n$/, heard: ONE_ORDER },
  { names: ['billing', 'orders-nats'], prints: /^sent order 7\n$/, heard: ONE_ORDER },
  { names: ['requests'], prints: /^(\w+: found by worker\n){6}six answers from [123] of 3 workers\n$/ },
  { names: ['mcp'], prints: /\{ content: \[ \{ type: 'text', text: 'hello laptop' \} \] \}/ },
  { names: ['monitor'], prints: /^delivered order 9\n(rejected .*\n){2}\{ replay: 1, plaintext: 1 \}\n$/ },
  { names: ['own-key'], prints: /^shipping is SHA256:\S{43}\njoined in epoch 1\n$/ },
  { names: ['pins'], prints: /^orders says hello on orders\.new\n$/ },
]

const SHARED = {
  target: 'es2023',
  lib: ['es2023'],
  types: ['node'],
  strict: true,
  exactOptionalPropertyTypes: true,
}
const NODENEXT = { ...SHARED, module: 'nodenext', moduleResolution: 'nodenext', skipLibCheck: true }
const BUNDLER = { ...SHARED, module: 'esnext', moduleResolution: 'bundler', skipLibCheck: true }

let folder: string
let tarball: string
let app: Project
let server: RunningServer
let rotator: Running
/** A broker without logins, for the realm of pins. */
let open: TestServer
const projects: Project[] = []

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'subrosa-package-'))
  tarball = await pack()
  app = await newProject('app')
  for (const command of await commandsOf('README.md', 'npx subrosa init')) await follow(command)
  for (const command of await commandsOf('examples/README.md', 'npx subrosa agent add')) await follow(command)
  const pins = await commandsOf('examples/README.md', 'npx subrosa pin')
  expect(await app.shell(pins.join(' && '))).toMatchObject({ code: 0 })
  open = await startTestServer()
  await app.install(['--save-dev', ...(await developmentTools(['nats', 'typescript', '@types/node']))])
  await copyExamples(app)
}, 3 * MINUTES)

afterAll(async () => {
  rotator?.interrupt()
  await rotator?.outcome
  for (const project of projects) project.stop()
  await server?.stop()
  await open?.stop()
  await rm(folder, { recursive: true, force: true })
})

/** `npm pack` of what is built. Without scripts: building anew would pull dist away from the other tests. */
async function pack(): Promise<string> {
  const repository = await Project.create(join(folder, 'pack'))
  const { code, stdout, output } = await repository.run('npm', [
    'pack',
    REPOSITORY,
    '--ignore-scripts',
    '--json',
    '--pack-destination',
    folder,
  ])
  if (code !== 0) throw new Error(output)
  const [packed] = JSON.parse(stdout) as [{ filename: string; files: { path: string }[] }]
  if (!packed.files.some(({ path }) => path === 'dist/index.js'))
    throw new Error('this test needs the built package: npm run build')
  return join(folder, packed.filename)
}

async function newProject(name: string): Promise<Project> {
  const project = await Project.create(join(folder, name))
  projects.push(project)
  return project
}

/** Does what a command of the README says, with the packed package, on a free port, and what runs on in the background. */
async function follow(command: string): Promise<void> {
  if (command.startsWith('npm install subrosa'))
    return app.install(
      command
        .split(' ')
        .slice(2)
        .map((name) => (name === 'subrosa' ? tarball : name)),
    )
  if (command.startsWith('nats-server -c ')) {
    const configPath = join(app.folder, command.slice('nats-server -c '.length))
    server = await startNatsServer({ program: await findNatsServer(), configPath, folder })
    return
  }
  if (command === 'npx subrosa rotator') {
    rotator = await app.startUntil('the rotation service rotator of', 'node_modules/.bin/subrosa', [
      'rotator',
    ])
    return
  }
  if (!/^(npx subrosa (init|agent add \w+|rotator begin)|ssh-keygen|install)\b/.test(command))
    throw new Error(`this test does not know what to do with "${command}"`)
  const port = command === 'npx subrosa init' ? ` --port ${await freePort()}` : ''
  const { code, output } = await app.shell(command + port)
  if (code !== 0) throw new Error(`${command}\n${output}`)
}

/** Names of packages with the versions that this repository develops with. */
async function developmentTools(names: readonly string[]): Promise<readonly string[]> {
  const { devDependencies } = JSON.parse(await readFile(join(REPOSITORY, 'package.json'), 'utf8')) as {
    devDependencies: Record<string, string>
  }
  return names.map((name) => `${name}@${devDependencies[name]}`)
}

/** JavaScript into the project's folder, TypeScript into `ts`, where a .js file is a module. */
async function copyExamples(project: Project): Promise<void> {
  await project.write('ts/package.json', '{ "type": "module" }\n')
  await mkdir(join(project.folder, 'ts'), { recursive: true })
  for (const name of await exampleFiles())
    await copyFile(
      join(REPOSITORY, 'examples', name),
      join(project.folder, name.endsWith('.ts') ? 'ts' : '', name),
    )
}

async function exampleFiles(): Promise<readonly string[]> {
  const files = await readdir(join(REPOSITORY, 'examples'))
  return files.filter((name) => /\.(ts|mjs|cjs)$/.test(name))
}

async function compile(project: Project, name: string, config: object): Promise<Outcome> {
  await project.write(`${name}.json`, JSON.stringify(config))
  return project.run('node_modules/.bin/tsc', ['-p', `${name}.json`, '--pretty', 'false'])
}

/** Runs an example, and before it one that waits for what it sends. They must end well and say nothing else. */
async function runExample(
  project: Project,
  files: readonly string[],
  args: readonly string[],
): Promise<Said> {
  const [main = '', listener] = files.toReversed()
  const waiting =
    listener === undefined
      ? undefined
      : await project.startUntil('waiting', process.execPath, [listener, ...args])
  const { code, stdout, output } = await project.run(process.execPath, [main, ...args])
  // Without a logger, rejections become warnings of the process.
  const others = output.replace(/^\((node:\d+\) \[\w+\] SubrosaWarning|Use `node).*\n/gm, '')
  expect(`${code} ${others}`).toBe(`0 ${stdout}`)
  const heard = await waiting?.outcome
  expect(heard?.code ?? 0).toBe(0)
  return { stdout, heard: heard?.output ?? '' }
}

interface Said {
  readonly stdout: string
  readonly heard: string
}

async function expectToRun(
  { names, prints, heard = /^$/ }: Run,
  path: (name: string) => string,
): Promise<void> {
  const args = names.includes('pins') ? ['pinned', open.url] : []
  const said = await runExample(app, names.map(path), args)
  expect(said.stdout).toMatch(prints)
  expect(said.heard).toMatch(heard)
}

describe('the packed package, installed as the README says', () => {
  it('brings no second copy of a client, and no package that runs a script when it is installed', async () => {
    const installed = await app.installed()
    const clients = installed.map(({ name }) => name).filter((name) => /^nats$|^@nats-io\//.test(name))
    expect(clients).toContain('@nats-io/transport-node')
    expect(new Set(clients).size).toBe(clients.length)
    expect(installed.filter(({ hasInstallScript }) => hasInstallScript)).toEqual([])
    expect((await app.run('npm', ['ls', '--all'])).code).toBe(0)
  })

  it('runs every file of examples', async () => {
    const run = EXAMPLES.flatMap(({ names }) => names.flatMap((name) => [`${name}.mjs`, `${name}.ts`]))
    expect(new Set([...run, 'orders.cjs'])).toEqual(new Set(await exampleFiles()))
  })

  it.each(EXAMPLES)('runs $names in JavaScript', (run) => expectToRun(run, (name) => `${name}.mjs`))

  it('is required by CommonJS', async () => {
    expect(await runExample(app, ['billing.mjs', 'orders.cjs'], [])).toEqual({
      stdout: 'sent order 7\n',
      heard: expect.stringMatching(ONE_ORDER),
    })
  })

  it('compiles the examples for Node, strictly, and runs them', { timeout: 2 * MINUTES }, async () => {
    const built = await compile(app, 'nodenext', { compilerOptions: NODENEXT, include: ['ts/*.ts'] })
    expect(built).toMatchObject({ output: '', code: 0 })
    for (const run of EXAMPLES) await expectToRun(run, (name) => `ts/${name}.js`)
  })

  it('compiles the examples for a bundler, strictly', { timeout: MINUTES }, async () => {
    const compilerOptions = { ...BUNDLER, noEmit: true }
    expect(await compile(app, 'bundler', { compilerOptions, include: ['ts/*.ts'] })).toMatchObject({
      output: '',
      code: 0,
    })
  })
})

describe('the types of the package', () => {
  const OWN = { ...NODENEXT, noEmit: true, skipLibCheck: false, types: [] }

  it('need no skipLibCheck, no types of Node and none of a client', { timeout: MINUTES }, async () => {
    await app.write('types/api.ts', "export * from 'subrosa'\n")
    await app.write('types/commonjs.cts', "import subrosa = require('subrosa')\nexport = subrosa.secure\n")
    expect(await compile(app, 'own', { compilerOptions: OWN, include: ['types'] })).toMatchObject({
      output: '',
      code: 0,
    })
  })

  it('need no skipLibCheck beside the clients without exactOptionalPropertyTypes', {
    timeout: MINUTES,
  }, async () => {
    const compilerOptions = {
      ...OWN,
      types: ['node'],
      // What the types of the clients name: AsyncDisposable, WebSocket, ReadableStream.
      lib: ['esnext', 'dom'],
      exactOptionalPropertyTypes: false,
    }
    expect(await compile(app, 'clients', { compilerOptions, include: ['ts/*.ts'] })).toMatchObject({
      output: '',
      code: 0,
    })
  })
})

describe('the packed package without its optional dependencies, beside the client nats', () => {
  let lean: Project
  let realm: string

  beforeAll(async () => {
    realm = join(app.folder, 'subrosa-realm')
    lean = await newProject('lean')
    const [nats = ''] = await developmentTools(['nats'])
    await lean.install(['--omit=optional', tarball, nats])
    await copyExamples(lean)
  }, MINUTES)

  it('has one copy of each client, and nothing native', async () => {
    const names = (await lean.installed()).map(({ name }) => name)
    const clients = names.filter((name) => /^nats$|^@nats-io\//.test(name))
    expect(clients).toContain('nats')
    expect(new Set(clients).size).toBe(clients.length)
    expect(names).not.toContain('sodium-native')
    expect(names).not.toContain('fs-native-extensions')
  })

  it('says what is missing to keep its state', async () => {
    const { code, output } = await lean.run(process.execPath, ['orders-nats.mjs', realm])
    expect(code).toBe(1)
    expect(output).toContain("code: 'ERR_STATE'")
    expect(output).toContain("set state to 'memory'")
  })

  it('runs the examples on noble when they keep no state', async () => {
    for (const name of ['billing.mjs', 'orders-nats.mjs']) {
      const text = await lean.read(name)
      const changed = text.replace('trust: { authority },', "trust: { authority }, state: 'memory',")
      expect(changed).not.toBe(text)
      await lean.write(name, changed)
    }
    const { heard } = await runExample(lean, ['billing.mjs', 'orders-nats.mjs'], [realm])
    expect(heard).toMatch(ONE_ORDER)
  })
})
