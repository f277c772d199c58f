import { relative, sep } from 'node:path'
import { filesBelow, objectionsTo, runTool } from './run.mjs'

/**
 * The TypeScript compiler over src, test and examples, over the scripts, and over the JavaScript of bench, of conformance
 * and of the stack. It must have read every one of their files.
 *
 * @param {string} directory
 */
export function checkTypes(directory) {
  const typescript = filesBelow(directory, '', (name) => name.endsWith('.ts')).filter((path) =>
    /^(src|test|bench)\//.test(path),
  )
  const javascript = filesBelow(directory, '', (name) => name.endsWith('.mjs')).filter((path) =>
    /^(bench|conformance|stack|test\/stack|scripts\/(checks|stack))\/|^scripts\/(verify|self-test|stack)\./.test(
      path,
    ),
  )
  const scripts = filesBelow(directory, 'scripts', (name) => name.endsWith('.ts'))
  const examples = filesBelow(directory, 'examples', (name) => /\.(ts|mjs|cjs)$/.test(name))
  const objections = [
    ...compile(directory, 'tsconfig.json', typescript),
    ...compile(directory, 'scripts/tsconfig.json', [...javascript, ...scripts]),
    ...compile(directory, 'examples/tsconfig.json', examples),
  ]
  const all = [...typescript, ...javascript, ...scripts, ...examples]
  for (const room of ['src/', 'test/', 'bench/', 'conformance/', 'scripts/', 'examples/'])
    if (!all.some((path) => path.startsWith(room))) objections.push(`there is no file in ${room}`)
  return objectionsTo(objections, `${all.length} files`)
}

/**
 * @param {string} directory
 * @param {string} project
 * @param {readonly string[]} expected
 */
function compile(directory, project, expected) {
  const { status, output } = runTool(
    'typescript/bin/tsc',
    ['-p', project, '--noEmit', '--listFiles', '--pretty', 'false'],
    directory,
  )
  const lines = output.split('\n')
  const read = new Set(lines.map((line) => relative(directory, line.trim()).split(sep).join('/')))
  const errors = lines.filter((line) => line.includes('error TS'))
  const unread = expected
    .filter((path) => !read.has(path))
    .map((path) => `${path}: ${project} does not read it`)
  if (status !== 0 && errors.length === 0) return [output || `tsc ended with ${status}`, ...unread]
  return [...errors, ...unread]
}
