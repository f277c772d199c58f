import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { filesBelow, objectionsTo, run } from './run.mjs'

const MIN_FILES = 40

/** What no file of the repository may say. The patterns are written so that they do not find themselves. */
const FORBIDDEN = [
  { what: 'a path of one machine', pattern: /(?<![\w.~-])\/(?:work|root|home\/\w+|Users\/\w+|mnt\/\w+)\// },
  {
    what: 'a folder that is not in the repository',
    pattern: /\bshared[/](?:design|vectors|hooks)|\/[.]library\b/,
  },
  { what: 'a document that is not in the repository', pattern: /\b(?:ARCHITECTURE|STYLE|TOOLS)[.]md\b/ },
  {
    what: 'the host of a package registry',
    pattern: /\b(?:registry|npm|verdaccio|artifactory|nexus)[.][\w-]+[.]\w+/i,
  },
  { what: 'a token of a registry', pattern: /\bnpm_[A-Za-z0-9]{30,}|[:]_(?:authToken|auth|password)\b/ },
  { what: 'a token of a code host', pattern: /\bgh[pousr]_[A-Za-z0-9]{30,}|\bglpat-[\w-]{20,}/ },
  { what: 'a key of a cloud', pattern: /\bAKIA[0-9A-Z]{16}\b/ },
]

/** Secrets that tests and vectors have on purpose. */
const FORBIDDEN_OUTSIDE_OF_TESTS = [
  { what: 'a private key', pattern: /-----BEGIN [A-Z ]*PRIVATE KEY-----/ },
  { what: 'the seed of an nkey', pattern: /\bS[ACNOUX][A-Z2-7]{56}\b/ },
]

/**
 * The text of every file: no secrets, no host of a registry, and nothing that is true on one machine only.
 *
 * @param {string} directory
 */
export function checkText(directory) {
  const files = filesBelow(directory, '', () => true).filter(
    (path) => !/^(node_modules|dist|dist-docs|\.git|coverage)\//.test(path),
  )
  const patterns = [...FORBIDDEN, ...configuredRegistry(directory)]
  const objections = files.flatMap((file) => {
    const lines = readFileSync(join(directory, file), 'utf8').split('\n')
    const wanted = file.startsWith('test/') ? patterns : [...patterns, ...FORBIDDEN_OUTSIDE_OF_TESTS]
    return lines.flatMap((line, i) =>
      wanted.filter(({ pattern }) => pattern.test(line)).map(({ what }) => `${file}:${i + 1}: ${what}`),
    )
  })
  if (files.length < MIN_FILES)
    objections.push(`${files.length} files were read; fewer than ${MIN_FILES} cannot be right`)
  for (const known of ['package.json', 'package-lock.json', 'src/index.ts'])
    if (!files.includes(known)) objections.push(`${known} was not read`)
  return objectionsTo(objections, `${files.length} files`)
}

/**
 * The host from which this machine installs packages, whatever its name.
 *
 * @param {string} directory
 */
function configuredRegistry(directory) {
  const { stdout } = run('npm', ['config', 'get', 'registry'], directory)
  const host = URL.canParse(stdout.trim()) ? new URL(stdout.trim()).hostname : undefined
  if (host === undefined || host === 'localhost') return []
  return [
    { what: 'the host of a package registry', pattern: new RegExp(`\\b${host.replaceAll('.', '[.]')}\\b`) },
  ]
}
