import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { filesBelow, objectionsTo, runTool } from './run.mjs'

/** Rooms that stand: cruising without one of them is cruising somewhere else. */
const STANDING = [
  'base',
  'json',
  'wire',
  'crypto',
  'identity',
  'envelope',
  'keys',
  'bus',
  'rotation',
  'index',
]
const MIN_MODULES = 40

/** One edge of each kind, so that a resolver that sees no aliases, packages or Node modules does not pass. */
const KNOWN_EDGES = [
  { from: 'src/index.ts', to: /^src\/bus\/secure\.ts$/ },
  { from: 'src/crypto/engine.ts', to: /^src\/crypto\/sodium\.ts$/ },
  { from: 'src/crypto/noble.ts', to: /node_modules\/@noble\/curves\// },
  { from: 'src/crypto/sodium.ts', to: /^(node:)?crypto$/ },
]

/** Modules that are loaded by name at run time, which no tool for imports sees. */
const LOADED_BY_NAME = [
  { name: 'sodium-native', place: /^src\/crypto\/sodium\.ts$/ },
  { name: 'fs-native-extensions', place: /^src\/keys\/state-folder\.ts$/ },
]
const LOADER = /\bcreateRequire\(|\brequire\(|\bgetBuiltinModule\(|\bprocess\.binding\(/

/**
 * Who imports whom: dependency-cruiser with the rules of .dependency-cruiser.mjs. It must have cruised every file of
 * src, and have seen the rooms and edges that are known to be there.
 *
 * @param {string} directory
 */
export async function checkRooms(directory) {
  const config = '.dependency-cruiser.mjs'
  const { rooms } = await import(pathToFileURL(join(directory, config)).href)
  const { stdout, output } = runTool(
    'dependency-cruiser/bin/dependency-cruise.mjs',
    ['--config', config, '--output-type', 'json', 'src'],
    directory,
  )
  const cruised = parse(stdout)
  if (cruised === undefined) return objectionsTo([output || 'dependency-cruiser said nothing'], 'nothing')
  const seen = cruised.modules.map(({ source }) => source).filter((source) => source.startsWith('src/'))
  const objections = [
    ...cruised.summary.violations.map(({ rule, from, to }) => `${from} imports ${to}: ${rule.name}`),
    ...nothingMissing(directory, seen, rooms),
    ...knownEdges(cruised.modules),
    ...loadedByName(directory),
  ]
  const edges = cruised.summary.totalDependenciesCruised
  return objectionsTo(objections, `${seen.length} modules, ${edges} imports`)
}

/**
 * @typedef {{ readonly source: string, readonly dependencies: readonly { readonly resolved: string }[] }} Module
 * @typedef {{ readonly rule: { readonly name: string }, readonly from: string, readonly to: string }} Violation
 * @typedef {{ readonly violations: readonly Violation[], readonly totalDependenciesCruised: number }} Summary
 */

/**
 * @param {string} json
 * @returns {{ readonly modules: readonly Module[], readonly summary: Summary } | undefined}
 */
function parse(json) {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}

/**
 * @param {string} directory
 * @param {readonly string[]} seen
 * @param {readonly { readonly name: string, readonly path: string }[]} rooms
 */
function nothingMissing(directory, seen, rooms) {
  const files = filesBelow(directory, 'src', (name) => name.endsWith('.ts'))
  const objections = files.filter((file) => !seen.includes(file)).map((file) => `${file} was not cruised`)
  if (seen.length < MIN_MODULES)
    objections.push(`${seen.length} modules were cruised; fewer than ${MIN_MODULES} cannot be right`)
  for (const source of seen)
    if (!rooms.some(({ path }) => new RegExp(path).test(source)))
      objections.push(`${source} stands in no room`)
  for (const name of STANDING) {
    const room = rooms.find((candidate) => candidate.name === name)
    if (room === undefined) objections.push(`there is no rule for the room ${name}`)
    else if (!seen.some((source) => new RegExp(room.path).test(source)))
      objections.push(`no module of the room ${name} was cruised`)
  }
  return objections
}

/** @param {readonly Module[]} modules */
function knownEdges(modules) {
  return KNOWN_EDGES.filter(
    ({ from, to }) =>
      !modules.some(
        ({ source, dependencies }) =>
          source === from && dependencies.some(({ resolved }) => to.test(resolved)),
      ),
  ).map(({ from, to }) => `${from} imports ${to}, and that was not seen`)
}

/** @param {string} directory */
function loadedByName(directory) {
  const objections = []
  for (const file of filesBelow(directory, 'src', (name) => name.endsWith('.ts'))) {
    const text = readFileSync(join(directory, file), 'utf8')
    for (const { name, place } of LOADED_BY_NAME)
      if (!place.test(file) && new RegExp(`['"\`]${name}['"\`]`).test(text))
        objections.push(`${file} names ${name} outside of its place`)
    if (LOADER.test(text) && !LOADED_BY_NAME.some(({ place }) => place.test(file)))
      objections.push(`${file} loads a module by name`)
  }
  return objections
}
