import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { objectionsTo, runTool } from './run.mjs'

const OUT = 'dist-docs'
/** Where the examples of the API pages are compiled. */
const EXAMPLES = `${OUT}/examples`

/** TypeDoc's numbers of what exists at run time: a variable, a function, a class. */
const AT_RUN_TIME = new Set([32, 64, 128])

/** Exports that the pages must have: without them something else was looked at. */
const KNOWN = [
  'secure',
  'SecureConnection',
  'loadIdentity',
  'SecureOptions',
  'SubrosaErrorCode',
  'startRotationService',
]
const MIN_EXAMPLES = 15

/** What the examples take for granted. Every export of the package is there besides. */
const GIVEN = [
  "const nc: import('@nats-io/transport-node').NatsConnection",
  'const bus: api.SecureConnection',
  'const identity: api.Identity',
  'const trust: api.TrustOptions',
  'const plan: api.KeptPlan',
  'const service: api.RotationService',
  'const store: api.RotationStore',
  'const bytes: Uint8Array',
]

/**
 * The API pages: TypeDoc, of which every warning counts (what is public is exported and documented, and every link leads
 * somewhere); each function, class and constant that the package exports has an example; and every example compiles.
 *
 * @param {string} directory
 */
export function checkDocs(directory) {
  const json = `${OUT}/api.json`
  // Warnings are counted here: where they are errors to TypeDoc itself it writes no pages, and the rest stays unsaid.
  const { status, output } = runTool(
    'typedoc/bin/typedoc',
    ['--treatWarningsAsErrors', 'false', '--html', OUT, '--json', json],
    directory,
  )
  if (status !== 0) return objectionsTo([output || `typedoc ended with ${status}`], 'nothing')
  const objections = /\[(warning|error)\]/.test(output) ? [output.replaceAll(/^\[info\].*\n?/gm, '')] : []
  /** @type {Reflection} */
  const project = JSON.parse(readFileSync(join(directory, json), 'utf8'))
  // A module for each entry point of the package.
  const exported = (project.children ?? []).flatMap(({ name, children = [] }) =>
    children.map((child) => ({ ...child, module: name })),
  )
  for (const known of KNOWN)
    if (!exported.some(({ name }) => name === known)) objections.push(`${known} is not in the API pages`)
  for (const { name } of exported.filter(isWithoutExample)) objections.push(`${name} has no @example`)
  const examples = examplesIn(project, '')
  if (examples.length < MIN_EXAMPLES)
    objections.push(`${examples.length} examples were read; fewer than ${MIN_EXAMPLES} cannot be right`)
  objections.push(...compile(directory, exported, examples))
  return objectionsTo(objections, `${exported.length} exports, ${examples.length} examples`)
}

/**
 * The part of TypeDoc's output that is read.
 *
 * @typedef {{ readonly tag: string, readonly content: readonly { readonly text: string }[] }} Tag
 * @typedef {{
 *   readonly name: string, readonly kind: number, readonly comment?: { readonly blockTags?: readonly Tag[] },
 *   readonly signatures?: readonly Reflection[], readonly children?: readonly Reflection[],
 * }} Reflection
 * @typedef {{ readonly of: string, readonly code: string }} Example
 */

/** @param {Reflection} reflection */
function isWithoutExample(reflection) {
  return AT_RUN_TIME.has(reflection.kind) && ownExamples(reflection).length === 0
}

/**
 * @param {Reflection} reflection
 * @returns {readonly Tag[]}
 */
function ownExamples({ comment, signatures = [] }) {
  const comments = [comment, ...signatures.map((signature) => signature.comment)]
  return comments.flatMap((each) => (each?.blockTags ?? []).filter(({ tag }) => tag === '@example'))
}

/**
 * @param {Reflection} reflection
 * @param {string} path
 * @returns {readonly Example[]}
 */
function examplesIn(reflection, path) {
  const own = ownExamples(reflection).map(({ content }) => {
    const text = content.map((part) => part.text).join('')
    return { of: path, code: /```ts\n([\s\S]*?)```/.exec(text)?.[1] ?? 'no block of TypeScript' }
  })
  return [
    ...own,
    ...(reflection.children ?? []).flatMap((child) => examplesIn(child, `${path}/${child.name}`)),
  ]
}

/**
 * @param {string} directory
 * @param {readonly (Reflection & { readonly module: string })[]} exported
 * @param {readonly Example[]} examples
 */
function compile(directory, exported, examples) {
  mkdirSync(join(directory, EXAMPLES), { recursive: true })
  const write = (/** @type {string} */ name, /** @type {string} */ text) =>
    writeFileSync(join(directory, EXAMPLES, name), text)
  examples.forEach(({ code }, i) => {
    write(`example-${i}.ts`, `${code}\nexport {}\n`)
  })
  const globals = exported.flatMap(({ name, kind, module }) => {
    const of = module === 'index' ? 'api' : module
    return [
      ...(AT_RUN_TIME.has(kind) ? [`const ${name}: typeof ${of}.${name}`] : []),
      ...(kind === 32 || kind === 64 ? [] : [`type ${name} = ${of}.${name}`]),
    ]
  })
  write(
    'given.d.ts',
    [
      "import type * as api from 'subrosa'",
      "import type * as mcp from 'subrosa/mcp'",
      'declare global {',
      ...GIVEN,
      ...globals,
      '}',
      '',
    ].join('\n'),
  )
  const compilerOptions = {
    noUnusedLocals: false,
    noUnusedParameters: false,
    paths: {
      subrosa: ['../../src/index.ts'],
      'subrosa/mcp': ['../../src/mcp.ts'],
    },
  }
  write(
    'tsconfig.json',
    JSON.stringify({ extends: '../../tsconfig.json', compilerOptions, include: ['*.ts'] }),
  )
  const { status, output } = runTool(
    'typescript/bin/tsc',
    ['-p', `${EXAMPLES}/tsconfig.json`, '--pretty', 'false'],
    directory,
  )
  const errors = output
    .split('\n')
    .filter((line) => line.includes('error TS'))
    .map((line) =>
      line.replace(/^.*\bexample-(\d+)\.ts/, (_, i) => `the example of ${examples[Number(i)]?.of}`),
    )
  return status !== 0 && errors.length === 0 ? [output || `tsc ended with ${status}`] : errors
}
