import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'
import { filesBelow, objectionsTo } from './run.mjs'

const DOCUMENT = 'README.md'
const OVERVIEW = 'examples/README.md'
/** The languages of the blocks that have to be examples. */
const PROGRAM = /^(ts|mts|cts|tsx|js|mjs|cjs|jsx|typescript|javascript)$/

/** Examples that the README must show: without them something else was looked at. */
const KNOWN = ['examples/overview.ts', 'examples/orders.mjs', 'examples/billing.mjs']

/** The example that shows the other client line, and the one that it repeats. */
const TWIN = { name: 'orders-nats', client: 'nats', of: 'orders', ofClient: '@nats-io/transport-node' }

/**
 * The examples: each program that the README shows is a file of examples, or its marked parts, to the letter; each
 * TypeScript file has a JavaScript file of the same code; over the other client line only the import differs.
 *
 * @param {string} directory
 */
export function checkExamples(directory) {
  const read = (/** @type {string} */ path) => readFileSync(join(directory, path), 'utf8')
  const files = filesBelow(directory, 'examples', (name) => /\.(ts|mjs|cjs)$/.test(name))
  const shown = programsIn(read(DOCUMENT))
  const objections = [
    ...shown.flatMap((program) => compare(program, files, read)),
    ...pairs(files, read),
    ...twins(read),
  ]
  for (const known of KNOWN)
    if (!shown.some(({ path }) => path === known)) objections.push(`${DOCUMENT} does not show ${known}`)
  const table = read(OVERVIEW)
  for (const file of files)
    if (!table.includes(`\`${file.endsWith('.cjs') ? file.slice('examples/'.length) : baseName(file)}\``))
      objections.push(`${OVERVIEW} does not name ${file}`)
  return objectionsTo(objections, `${files.length} files, ${shown.length} of them in ${DOCUMENT}`)
}

/**
 * A program in a document, and the file and mark that it names in the comment above it.
 *
 * @typedef {{
 *   readonly line: number, readonly code: string, readonly path: string | undefined, readonly mark: string | undefined,
 * }} Shown
 * @typedef {(path: string) => string} Read
 */

/**
 * @param {string} text
 * @returns {readonly Shown[]}
 */
function programsIn(text) {
  const lines = text.split('\n')
  const shown = []
  for (let i = 0; i < lines.length; i++) {
    const language = /^```(\w*)/.exec(lines[i] ?? '')?.[1]
    if (language === undefined) continue
    const end = lines.indexOf('```', i + 1)
    const [, path, mark] = /^<!-- (examples\/[\w.-]+)(?:#(\w+))? -->$/.exec(lines[i - 1] ?? '') ?? []
    if (PROGRAM.test(language))
      shown.push({ line: i + 1, code: lines.slice(i + 1, end).join('\n'), path, mark })
    i = end < 0 ? lines.length : end
  }
  return shown
}

/**
 * @param {Shown} shown
 * @param {readonly string[]} files
 * @param {Read} read
 */
function compare({ line, code, path, mark }, files, read) {
  const where = `${DOCUMENT}:${line}`
  if (path === undefined)
    return [`${where}: the line above this program does not say which file of examples it is`]
  if (!files.includes(path)) return [`${where}: there is no ${path}`]
  const text = read(path)
  const wanted = mark === undefined ? text.trimEnd() : markedParts(text, mark)
  if (wanted === '') return [`${where}: no part of ${path} is marked as ${mark}`]
  return code === wanted ? [] : [`${DOCUMENT}:${line + 1 + sameLines(code, wanted)}: it is not as in ${path}`]
}

/**
 * The parts between `// #region MARK` and `// #endregion`, with an empty line in between.
 *
 * @param {string} text
 * @param {string} mark
 */
function markedParts(text, mark) {
  const parts = text.matchAll(new RegExp(`^// #region ${mark}\\n(.*?)^// #endregion$`, 'gms'))
  return [...parts].map(([, part = '']) => part.trim()).join('\n\n')
}

/**
 * @param {string} code
 * @param {string} wanted
 * @returns {number} how many lines are the same from the beginning
 */
function sameLines(code, wanted) {
  const others = wanted.split('\n')
  const lines = code.split('\n')
  const i = lines.findIndex((line, at) => line !== others[at])
  return i < 0 ? lines.length : i
}

/**
 * @param {readonly string[]} files
 * @param {Read} read
 */
function pairs(files, read) {
  const typescript = files.filter((file) => file.endsWith('.ts'))
  const javascript = files.filter((file) => file.endsWith('.mjs'))
  const names = new Set([...typescript, ...javascript].map(baseName))
  return [...names].flatMap((name) => {
    const [one, other] = [`examples/${name}.ts`, `examples/${name}.mjs`]
    if (!files.includes(one)) return [`${other} has no ${one} beside it`]
    if (!files.includes(other)) return [`${one} has no ${other} beside it`]
    return withoutTypes(read(one)) === withoutTypes(read(other))
      ? []
      : [`${one} and ${other} are not the same`]
  })
}

/**
 * The code alone: no types, no comments, no empty lines.
 *
 * @param {string} text
 */
function withoutTypes(text) {
  const { outputText } = ts.transpileModule(text, {
    compilerOptions: {
      target: ts.ScriptTarget.ESNext,
      module: ts.ModuleKind.ESNext,
      removeComments: true,
      verbatimModuleSyntax: true,
    },
  })
  return outputText.replaceAll(/\n\s*\n/g, '\n').trim()
}

/** @param {Read} read */
function twins(read) {
  const { name, client, of, ofClient } = TWIN
  const wanted = read(`examples/${of}.mjs`)
    .replace(`${of}.mjs`, `${name}.mjs`)
    .replace(`'${ofClient}'`, `'${client}'`)
  return read(`examples/${name}.mjs`) === wanted
    ? []
    : [`examples/${name}.mjs differs from examples/${of}.mjs in more than the client`]
}

/** @param {string} file */
function baseName(file) {
  return file.replace(/^examples\//, '').replace(/\.\w+$/, '')
}
