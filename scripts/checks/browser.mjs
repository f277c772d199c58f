import { existsSync, readFileSync, realpathSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { dirname, join, relative } from 'node:path'
import ts from 'typescript'
import { objectionsTo } from './run.mjs'

/** What a bundler for browsers resolves with. Neither `node` nor the condition of this repository's sources. */
const CONDITIONS = new Set(['browser', 'import', 'default'])
const ENTRIES = ['dist/index.js', 'dist/mcp.js']
const MIN_MODULES = 30

/** Modules that the browser graph must hold: without them something else was looked at. */
const KNOWN = [
  'dist/bus/secure.js',
  'dist/mcp/session/channel.js',
  'dist/crypto/noble.js',
  'dist/crypto/sodium-absent.js',
  '@noble/curves',
]

/**
 * What a browser loads when it imports the package: every import from its entries on, through third-party packages
 * too, must resolve to a file, and none to a Node module.
 *
 * @param {string} directory
 */
export function checkBrowser(directory) {
  const manifest = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'))
  /** @type {Map<string, string>} each file and the file that first imported it */
  const importedBy = new Map(ENTRIES.map((entry) => [join(directory, entry), '']))
  const objections = []
  for (const file of importedBy.keys()) {
    if (!existsSync(file)) {
      objections.push(`${relative(directory, file)} is not there`)
      continue
    }
    for (const specifier of importsOf(file)) {
      const target = isNode(specifier)
        ? undefined
        : resolve(specifier, { file, directory, imports: manifest.imports })
      if (target === undefined) objections.push(`${trace(file, importedBy, directory)} -> ${specifier}`)
      else if (!importedBy.has(target)) importedBy.set(target, file)
    }
  }
  const seen = [...importedBy.keys()].map((file) => relative(directory, file))
  if (seen.length < MIN_MODULES)
    objections.push(`${seen.length} modules were seen; fewer than ${MIN_MODULES} cannot be right`)
  for (const known of KNOWN)
    if (!seen.some((file) => file.includes(known))) objections.push(`${known} was not seen`)
  return objectionsTo(objections, `${seen.length} modules`)
}

/** @param {string} file */
function importsOf(file) {
  return ts
    .preProcessFile(readFileSync(file, 'utf8'), true, true)
    .importedFiles.map(({ fileName }) => fileName)
}

/** @param {string} specifier */
function isNode(specifier) {
  return specifier.startsWith('node:') || builtinModules.includes(specifier)
}

/**
 * The file that an import means in a browser, or `undefined` where it means nothing there.
 *
 * @param {string} specifier
 * @param {{ readonly file: string, readonly directory: string, readonly imports: unknown }} from
 */
function resolve(specifier, { file, directory, imports }) {
  if (specifier.startsWith('.')) return join(dirname(file), specifier)
  if (specifier.startsWith('#')) return join(directory, conditional(field(imports, specifier)) ?? 'nowhere')
  const [, name, subpath] = /^((?:@[^/]+\/)?[^/]+)(\/.*)?$/.exec(specifier) ?? []
  const home = packageFolder(name ?? '', file)
  if (home === undefined) return undefined
  const {
    exports: exported,
    browser,
    module,
    main,
  } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8'))
  if (exported === undefined) return join(home, subpath ?? String(browser ?? module ?? main ?? 'index.js'))
  const target = conditional(
    field(exported, `.${subpath ?? ''}`) ?? (subpath === undefined ? exported : undefined),
  )
  return target === undefined ? undefined : join(home, target)
}

/**
 * @param {unknown} record
 * @param {string} name
 */
function field(record, name) {
  return typeof record === 'object' && record !== null
    ? Object.entries(record).find(([key]) => key === name)?.[1]
    : undefined
}

/**
 * The first target whose condition holds, as Node and bundlers choose it.
 *
 * @param {unknown} target
 * @returns {string | undefined}
 */
function conditional(target) {
  if (typeof target === 'string') return target
  if (typeof target !== 'object' || target === null) return undefined
  for (const [condition, inner] of Object.entries(target)) {
    const found = CONDITIONS.has(condition) ? conditional(inner) : undefined
    if (found !== undefined) return found
  }
  return undefined
}

/**
 * @param {string} name
 * @param {string} from
 */
function packageFolder(name, from) {
  for (let folder = dirname(from); ; folder = dirname(folder)) {
    const candidate = join(folder, 'node_modules', name)
    if (existsSync(join(candidate, 'package.json'))) return realpathSync(candidate)
    if (folder === dirname(folder)) return undefined
  }
}

/**
 * @param {string} file
 * @param {ReadonlyMap<string, string>} importedBy
 * @param {string} directory
 */
function trace(file, importedBy, directory) {
  const path = []
  for (let at = file; at !== ''; at = importedBy.get(at) ?? '') path.unshift(relative(directory, at))
  return path.join(' -> ')
}
