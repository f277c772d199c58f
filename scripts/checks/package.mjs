import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { filesBelow, objectionsTo, run, runTool } from './run.mjs'

/**
 * `npm run build` into an empty dist, which must then hold a module and its types for each file of src and nothing
 * else, and `npm pack`.
 *
 * @param {string} directory
 */
export function checkBuild(directory) {
  rmSync(join(directory, 'dist'), { recursive: true, force: true })
  const built = run('npm', ['run', '--silent', 'build'], directory)
  const objections = built.status === 0 ? [] : [built.output || `the build ended with ${built.status}`]
  const sources = filesBelow(directory, 'src', (name) => name.endsWith('.ts'))
  if (sources.length === 0) objections.push('there is no file in src')
  const expected = sources.flatMap((path) => {
    const module = path.replace(/^src\//, 'dist/').replace(/\.ts$/, '')
    return [`${module}.js`, `${module}.d.ts`]
  })
  const found = filesBelow(directory, 'dist', (name) => /\.(js|d\.ts)$/.test(name))
  objections.push(
    ...expected.filter((path) => !found.includes(path)).map((path) => `${path} was not built`),
    ...found.filter((path) => !expected.includes(path)).map((path) => `${path} has no source`),
  )
  if (objections.length > 0) return objectionsTo(objections, `${found.length} files`)
  return pack(directory, found.length)
}

/**
 * @param {string} directory
 * @param {number} files
 */
function pack(directory, files) {
  const { status, stdout, output } = run(
    'npm',
    ['pack', '--ignore-scripts', '--json', '--pack-destination', '..'],
    directory,
  )
  if (status !== 0) return objectionsTo([output], `${files} files`)
  const [packed] = /** @type {readonly { readonly files: readonly { readonly path: string }[] }[]} */ (
    JSON.parse(stdout)
  )
  const paths = packed?.files.map(({ path }) => path) ?? []
  const objections = [
    'package.json',
    'LICENSE',
    'README.md',
    'dist/index.js',
    'dist/index.d.ts',
    ...bins(directory),
  ]
    .filter((path) => !paths.includes(path))
    .map((path) => `${path} is not in the package`)
  for (const path of paths)
    if (!/^(dist\/|package\.json$|LICENSE$|[A-Z]+\.md$)/.test(path))
      objections.push(`${path} is in the package`)
  return objectionsTo(objections, `${files} files built, ${paths.length} packed`)
}

/** @param {string} directory */
function bins(directory) {
  const { bin } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'))
  return Object.values(bin ?? {}).map((path) => String(path).replace(/^\.\//, ''))
}

/**
 * publint on the packed package: every warning counts.
 *
 * @param {string} directory
 */
export async function checkPackage(directory) {
  const tarball = readFileSync(tarballOf(directory))
  const { messages, pkg } = await publint({
    pack: { tarball: tarball.buffer.slice(tarball.byteOffset, tarball.byteOffset + tarball.byteLength) },
    level: 'warning',
    strict: true,
  })
  const objections = messages.map((message) => formatMessage(message, pkg, { color: false }) ?? message.code)
  if (pkg?.['name'] !== 'subrosa') objections.push('publint has read another package')
  const exported = Object.keys(pkg?.['exports'] ?? {})
  if (!exported.includes('.')) objections.push('the package exports nothing')
  return objectionsTo(objections, `${exported.length} exports`)
}

/** What the profile `esm-only` leaves out: resolutions that cannot load an ES module, or know no `exports`. */
const NOT_ESM = ['node10', 'node16-cjs']

/**
 * Are the types wrong? Whether the types of the packed package are found by every kind of resolution that can load ES
 * modules. Its exit code does not count: in profile `esm-only` too it objects to imports that Node 10 did not resolve.
 *
 * @param {string} directory
 */
export function checkPackageTypes(directory) {
  const { stdout, output } = runTool(
    '@arethetypeswrong/cli/dist/index.js',
    [tarballOf(directory), '--profile', 'esm-only', '--format', 'json'],
    directory,
  )
  /** @type {{ readonly analysis?: Analysis }} */
  const { analysis } = stdout.startsWith('{') ? JSON.parse(stdout) : {}
  if (analysis === undefined) return objectionsTo([output || 'it said nothing'], 'nothing')
  const objections = (analysis.problems ?? [])
    .filter((problem) => !NOT_ESM.includes(problem.resolutionKind ?? problem.resolutionOption ?? ''))
    .map(({ trace, ...problem }) => JSON.stringify(problem))
  const entrypoints = Object.entries(analysis.entrypoints ?? {})
  const typed = entrypoints.filter(
    ([, { resolutions }]) => resolutions['node16-esm']?.resolution?.isTypeScript === true,
  )
  if (analysis.types?.kind !== 'included') objections.push('the package has no types')
  if (!typed.some(([path]) => path === '.')) objections.push('the entry point "." has no types')
  return objectionsTo(objections, `${typed.length} of ${entrypoints.length} entry points have types`)
}

/**
 * The part of its report that is read.
 *
 * @typedef {{ readonly resolution?: { readonly isTypeScript?: boolean } }} Resolution
 * @typedef {{ readonly resolutionKind?: string, readonly resolutionOption?: string, readonly trace?: unknown }} Problem
 * @typedef {{
 *   readonly types?: { readonly kind?: string },
 *   readonly problems?: readonly Problem[],
 *   readonly entrypoints?: Record<string, { readonly resolutions: Record<string, Resolution> }>,
 * }} Analysis
 */

/** @param {string} directory */
function tarballOf(directory) {
  const folder = join(directory, '..')
  const [tarball] = existsSync(folder)
    ? readdirSync(folder).filter((name) => /^subrosa-.*\.tgz$/.test(name))
    : []
  if (tarball === undefined) throw new Error('there is no packed package')
  return join(folder, tarball)
}
