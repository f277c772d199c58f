import { relative, sep } from 'node:path'
import { filesBelow, objectionsTo, runTool } from './run.mjs'

/**
 * The TypeScript compiler over src and test, and over the JavaScript of bench and of these checks. It must have read every
 * one of their files.
 *
 * @param {string} directory
 */
export function checkTypes(directory) {
  const typescript = filesBelow(directory, '', (name) => name.endsWith('.ts')).filter((path) =>
    /^(src|test|bench)\//.test(path),
  )
  const javascript = filesBelow(directory, '', (name) => name.endsWith('.mjs')).filter((path) =>
    /^(bench|scripts\/checks)\/|^scripts\/(verify|self-test)\./.test(path),
  )
  const objections = [
    ...compile(directory, 'tsconfig.json', typescript),
    ...compile(directory, 'scripts/tsconfig.json', javascript),
  ]
  for (const room of ['src/', 'test/', 'bench/', 'scripts/'])
    if (![...typescript, ...javascript].some((path) => path.startsWith(room)))
      objections.push(`there is no file in ${room}`)
  return objectionsTo(objections, `${typescript.length} TypeScript and ${javascript.length} JavaScript files`)
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
