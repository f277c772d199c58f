import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { copyTree, removeCopy } from './checks/copy.mjs'
import { outcome, repository, run } from './checks/run.mjs'

/**
 * A way to break the tree, and what the check must say then. What is only a file more is tried together with all others
 * of its check that are, and what the check says must stand in a line that names the file.
 *
 * @typedef {{
 *   readonly check: string, readonly name: string, readonly says: RegExp,
 *   readonly breaks?: (tree: Tree) => void,
 *   readonly adds?: { readonly path: string, readonly line: string },
 * }} Breakage
 */

/** The copy that is broken: it changes files in it and nowhere else, and can be mended. */
class Tree {
  #root
  /** @type {{ readonly path: string, readonly saved: string | undefined }[]} */
  #changed = []

  /** @param {string} root */
  constructor(root) {
    this.#root = root
  }

  /**
   * @param {string} path
   * @param {string} text
   */
  write(path, text) {
    this.#save(path)
    mkdirSync(dirname(join(this.#root, path)), { recursive: true })
    writeFileSync(join(this.#root, path), text)
  }

  /**
   * @param {string} path
   * @param {string} text
   */
  append(path, text) {
    this.write(path, `${readFileSync(join(this.#root, path), 'utf8')}\n${text}`)
  }

  /** @param {string} path */
  remove(path) {
    this.#save(path)
    rmSync(join(this.#root, path), { recursive: true })
  }

  /**
   * Changes a JSON file.
   *
   * @param {string} path
   * @param {(json: any) => void} change
   */
  edit(path, change) {
    const json = JSON.parse(readFileSync(join(this.#root, path), 'utf8'))
    change(json)
    this.write(path, JSON.stringify(json, undefined, 2))
  }

  /** Puts everything back as it was. */
  mend() {
    for (const { path, saved } of this.#changed.splice(0).reverse()) {
      rmSync(join(this.#root, path), { recursive: true, force: true })
      if (saved === undefined) continue
      cpSync(join(saved, 'it'), join(this.#root, path), { recursive: true })
      rmSync(saved, { recursive: true })
    }
  }

  /** @param {string} path */
  #save(path) {
    const from = join(this.#root, path)
    const saved = existsSync(from) ? mkdtempSync(join(tmpdir(), 'subrosa-mend-')) : undefined
    if (saved !== undefined) cpSync(from, join(saved, 'it'), { recursive: true })
    this.#changed.push({ path, saved })
  }

  /**
   * Packs the package again, with another manifest.
   *
   * @param {(manifest: any) => void} change
   */
  repack(change) {
    this.edit('package.json', change)
    const packed = run('npm', ['pack', '--ignore-scripts', '--pack-destination', '..'], this.#root)
    if (packed.status !== 0) throw new Error(packed.output)
  }
}

/**
 * Puts a new file there.
 *
 * @param {string} path
 * @param {string} line
 * @returns {(tree: Tree) => void}
 */
const file = (path, line) => (tree) => tree.write(path, `${line}\n`)

/** A row of the list of defences. */
const aDefence = () => JSON.parse(readFileSync(join(repository, 'test/defences/mcp.json'), 'utf8'))[0]

/** @type {readonly Breakage[]} */
const breakages = [
  {
    check: 'rooms',
    name: 'wire imports the higher room bus',
    says: /wire-imports-upward/,
    adds: {
      path: 'src/wire/broken.ts',
      line: "import { secure } from '../bus/secure.ts'\nexport const broken = secure",
    },
  },
  {
    check: 'rooms',
    name: 'keys imports a type of the higher room rotation',
    says: /keys-imports-upward/,
    adds: { path: 'src/keys/broken.ts', line: "export type { RotationStore } from '../rotation/store.ts'" },
  },
  {
    check: 'rooms',
    name: 'a leaf imports wire',
    says: /base-imports-upward/,
    adds: { path: 'src/base/broken.ts', line: "export { pack } from '../wire/msgpack.ts'" },
  },
  {
    check: 'rooms',
    name: 'crypto reaches identity through a subpath import',
    says: /crypto-imports-upward/,
    adds: { path: 'src/crypto/broken.ts', line: "export { loadIdentity } from '#key-file'" },
  },
  {
    check: 'rooms',
    name: 'a room imports a command',
    says: /cli-is-imported/,
    adds: { path: 'src/mcp/broken.ts', line: "export { runCli } from '../cli/program.ts'" },
  },
  {
    check: 'rooms',
    name: 'noble is imported in envelope',
    says: /noble-out-of-its-room/,
    adds: { path: 'src/envelope/broken.ts', line: "export { sha256 } from '@noble/hashes/sha2.js'" },
  },
  {
    check: 'rooms',
    name: 'commander is imported in setup',
    says: /commander-out-of-its-room/,
    adds: { path: 'src/setup/broken.ts', line: "export { Command } from 'commander'" },
  },
  {
    check: 'rooms',
    name: 'the bus imports a NATS client at run time',
    says: /nats-client-at-run-time-in-bus/,
    adds: { path: 'src/bus/broken.ts', line: "export { headers } from '@nats-io/nats-core'" },
  },
  {
    check: 'rooms',
    name: 'a package that no room owns is imported',
    says: /package-without-a-room/,
    adds: { path: 'src/cli/broken.ts', line: "export { default } from 'typescript'" },
  },
  {
    check: 'rooms',
    name: 'an import that resolves to nothing',
    says: /unresolvable/,
    adds: { path: 'src/cli/broken-2.ts', line: "export { nothing } from 'there-is-no-such-package'" },
  },
  {
    check: 'rooms',
    name: 'envelope imports a Node module',
    says: /node-module-out-of-its-place/,
    adds: { path: 'src/envelope/broken-2.ts', line: "export { readFileSync } from 'node:fs'" },
  },
  {
    check: 'rooms',
    name: 'a second file of keys imports a Node module',
    says: /node-module-out-of-its-place/,
    adds: { path: 'src/keys/broken-2.ts', line: "export { join } from 'path'" },
  },
  {
    check: 'rooms',
    name: 'an import leads back to its file',
    says: /cycle/,
    adds: { path: 'src/wire/broken-2.ts', line: "export * as own from './broken-2.ts'" },
  },
  {
    check: 'rooms',
    name: 'src imports a test',
    says: /src-imports-outside-of-src/,
    adds: { path: 'src/cli/broken-3.ts', line: "export { until } from '../../test/support/until.ts'" },
  },
  {
    check: 'rooms',
    name: 'a file stands in no room',
    says: /src\/utils\.ts stands in no room/,
    adds: { path: 'src/utils.ts', line: 'export const broken = 1' },
  },
  {
    check: 'rooms',
    name: 'the native module is loaded by name elsewhere',
    says: /names sodium-native outside of its place/,
    adds: { path: 'src/envelope/broken-3.ts', line: "export const broken = 'sodium-native'" },
  },
  {
    check: 'rooms',
    name: 'nothing is cruised: every module is excluded',
    says: /0 modules were cruised/,
    breaks: (tree) => tree.append('.dependency-cruiser.mjs', "rules.options.includeOnly = '^nowhere/'\n"),
  },
  {
    check: 'rooms',
    name: 'nothing is cruised: src is empty',
    says: /.+/,
    breaks: (tree) => {
      tree.remove('src')
      tree.write('src/.keep', '')
    },
  },
  {
    check: 'rooms',
    name: 'one room is not cruised',
    says: /src\/bus\/secure\.ts was not cruised/,
    breaks: (tree) => tree.append('.dependency-cruiser.mjs', "rules.options.exclude = '^src/bus/'\n"),
  },
  {
    check: 'rooms',
    name: 'aliases do not resolve',
    says: /engine\.ts imports .*sodium.* was not seen|unresolvable/,
    breaks: (tree) =>
      tree.edit('package.json', (manifest) => {
        manifest.imports = {}
      }),
  },
  {
    check: 'style',
    name: 'a file is not formatted',
    says: /src\/wire\/broken\.ts/,
    breaks: file('src/wire/broken.ts', 'export const   broken = "1";'),
  },
  {
    check: 'style',
    name: 'a lint rule is broken',
    says: /noExplicitAny/,
    breaks: file('src/wire/broken.ts', 'export type Broken = any'),
  },
  {
    check: 'style',
    name: 'only a warning',
    says: /src\/wire\/broken\.ts/,
    breaks: file(
      'src/wire/broken.ts',
      '// biome-ignore lint/suspicious/noExplicitAny: nothing is here\nexport const broken = 1',
    ),
  },
  {
    check: 'style',
    name: 'biome looks at nothing',
    says: /biome looked at [01] files/,
    breaks: (tree) =>
      tree.edit('biome.json', (config) => {
        config.files.includes = ['nowhere/**']
      }),
  },
  {
    check: 'style',
    name: 'biome looks past src',
    says: /and there are \d+ programs/,
    breaks: (tree) =>
      tree.edit('biome.json', (config) => {
        config.files.includes.push('!src')
      }),
  },
  {
    check: 'text',
    name: 'a path of one machine',
    says: /src\/wire\/broken\.ts:1: a path of one machine/,
    adds: { path: 'src/wire/broken.ts', line: `// see ${['', 'work', 'main', ''].join('/')}` },
  },
  {
    check: 'text',
    name: 'a document that is not in the repository',
    says: /a folder that is not in the repository/,
    breaks: file('README.md', `see ${['shared', 'design'].join('/')}`),
  },
  {
    check: 'text',
    name: 'the host of a registry in the lockfile',
    says: /package-lock\.json:\d+: the host of a package registry/,
    breaks: (tree) =>
      tree.edit('package-lock.json', (lock) => {
        lock.packages['node_modules/typescript'].resolved =
          `https://${['registry', 'npmjs', 'org'].join('.')}/x.tgz`
      }),
  },
  {
    check: 'text',
    name: 'a private key outside of the tests',
    says: /a private key/,
    adds: { path: 'src/wire/broken-2.ts', line: `// -----BEGIN ${'PRIVATE'} KEY-----` },
  },
  {
    check: 'text',
    name: 'the seed of an nkey outside of the tests',
    says: /the seed of an nkey/,
    adds: { path: 'src/wire/broken-3.ts', line: `// SU${'A'.repeat(56)}` },
  },
  {
    check: 'text',
    name: 'no text is read',
    says: /src\/index\.ts was not read/,
    breaks: (tree) => tree.remove('src'),
  },
  {
    check: 'security',
    name: 'the table says of a threat what the list does not say',
    says: /SECURITY\.md: the table is not what the list says/,
    breaks: (tree) =>
      tree.edit('test/defences/threats.json', (threats) => {
        threats[0].answer = 'nothing happens'
      }),
  },
  {
    check: 'security',
    name: 'the table is not in SECURITY.md',
    says: /SECURITY\.md does not have, once each, the lines/,
    breaks: (tree) => tree.write('SECURITY.md', '# Security\n'),
  },
  {
    check: 'security',
    name: 'nothing shows a threat',
    says: /threats\.json: nothing shows broken/,
    breaks: (tree) =>
      tree.edit('test/defences/threats.json', (threats) => {
        threats.push({ ...threats[0], id: 'broken' })
      }),
  },
  {
    check: 'security',
    name: 'the text that a row takes out is not in its file any more',
    says: /the text to take out occurs 0 times/,
    breaks: (tree) => tree.write(aDefence().file, 'export const broken = 1\n'),
  },
  {
    check: 'security',
    name: 'the text that a row takes out occurs twice',
    says: /the text to take out occurs 2 times/,
    breaks: (tree) => tree.append(aDefence().file, readFileSync(join(repository, aDefence().file), 'utf8')),
  },
  {
    check: 'security',
    name: 'the test file of a row is gone',
    says: /\.test\.ts does not exist/,
    breaks: (tree) => tree.remove(aDefence().test),
  },
  {
    check: 'security',
    name: 'there is no list',
    says: /ENOENT/,
    breaks: (tree) => tree.remove('test/defences'),
  },
  {
    check: 'security',
    name: 'the list is empty, and the table with it',
    says: /0 threats were read; fewer than/,
    breaks: (tree) => {
      tree.remove('test/defences')
      tree.write('test/defences/threats.json', '[]')
      tree.write(
        'SECURITY.md',
        '<!-- The threats, from test/defences: npm run defences -- --table -->\n\n<!-- End of the threats. -->\n',
      )
    },
  },
  {
    check: 'lockfile',
    name: 'a package says where it comes from',
    says: /typescript: the lockfile says where it comes from/,
    breaks: (tree) =>
      tree.edit('package-lock.json', (lock) => {
        lock.packages['node_modules/typescript'].resolved = 'https://example.com/x.tgz'
      }),
  },
  {
    check: 'lockfile',
    name: 'a package without a hash',
    says: /typescript: the lockfile has no SHA-512/,
    breaks: (tree) =>
      tree.edit('package-lock.json', (lock) => {
        delete lock.packages['node_modules/typescript'].integrity
      }),
  },
  {
    check: 'lockfile',
    name: 'a package with an install script',
    says: /typescript: it has an install script/,
    breaks: (tree) =>
      tree.edit('package-lock.json', (lock) => {
        lock.packages['node_modules/typescript'].hasInstallScript = true
      }),
  },
  {
    check: 'lockfile',
    name: 'a dependency that the lockfile does not have',
    says: /dependencies differ/,
    breaks: (tree) =>
      tree.edit('package.json', (manifest) => {
        manifest.dependencies['left-pad'] = '1.0.0'
      }),
  },
  {
    check: 'lockfile',
    name: 'a peer that the lockfile does not have',
    says: /peerDependencies differ/,
    breaks: (tree) =>
      tree.edit('package.json', (manifest) => {
        manifest.peerDependencies['left-pad'] = '1.0.0'
      }),
  },
  {
    check: 'lockfile',
    name: 'an empty lockfile',
    says: /the lockfile has 0 packages/,
    breaks: (tree) => tree.write('package-lock.json', '{"lockfileVersion":3,"packages":{}}'),
  },
  {
    check: 'examples',
    name: 'README shows other lines than the example',
    says: /README\.md:\d+: it is not as in examples\/orders\.mjs/,
    breaks: (tree) => tree.append('examples/orders.mjs', '// more\n'),
  },
  {
    check: 'examples',
    name: 'README shows other lines than the marked parts of the example',
    says: /README\.md:\d+: it is not as in examples\/overview\.ts/,
    breaks: (tree) => tree.append('examples/overview.ts', '// #region readme\nbus.close()\n// #endregion\n'),
  },
  {
    check: 'examples',
    name: 'a program in README is no example',
    says: /README\.md:\d+: the line above this program does not say which file/,
    breaks: (tree) => tree.append('README.md', '```ts\nconst broken = 1\n```\n'),
  },
  {
    check: 'examples',
    name: 'README shows an example that is not there',
    says: /there is no examples\/nowhere\.ts/,
    breaks: (tree) =>
      tree.append('README.md', '<!-- examples/nowhere.ts -->\n```ts\nconst broken = 1\n```\n'),
  },
  {
    check: 'examples',
    name: 'README shows no program',
    says: /README\.md does not show examples\/orders\.mjs/,
    breaks: (tree) => tree.write('README.md', '# subrosa\n'),
  },
  {
    check: 'examples',
    name: 'an example in TypeScript alone',
    says: /examples\/broken\.ts has no examples\/broken\.mjs beside it/,
    breaks: file('examples/broken.ts', 'console.log(1)'),
  },
  {
    check: 'examples',
    name: 'an example that is not the same in JavaScript',
    says: /examples\/monitor\.ts and examples\/monitor\.mjs are not the same/,
    breaks: (tree) => tree.append('examples/monitor.mjs', 'console.log(1)\n'),
  },
  {
    check: 'examples',
    name: 'the other client line needs other code',
    says: /orders-nats\.mjs differs from examples\/orders\.mjs in more than the client/,
    breaks: (tree) => tree.append('examples/orders-nats.mjs', 'console.log(1)\n'),
  },
  {
    check: 'examples',
    name: 'an example that the overview does not name',
    says: /examples\/README\.md does not name examples\/broken\.cjs/,
    breaks: file('examples/broken.cjs', 'console.log(1)'),
  },
  {
    check: 'docs',
    name: 'a public function without an example',
    says: /broken has no @example/,
    breaks: (tree) => {
      tree.write('src/broken.ts', '/** Does nothing. */\nexport function broken(): void {}\n')
      tree.append('src/index.ts', "export { broken } from './broken.ts'\n")
    },
  },
  {
    check: 'docs',
    name: 'a public type without a word',
    says: /Broken .*does not have any documentation/,
    breaks: (tree) => {
      tree.write('src/broken.ts', 'export type Broken = string\n')
      tree.append('src/index.ts', "export type { Broken } from './broken.ts'\n")
    },
  },
  {
    check: 'docs',
    name: 'a public function takes a type that is not public',
    says: /Hidden, .*is referenced by index\.broken/,
    breaks: (tree) => {
      tree.write(
        'src/broken.ts',
        'type Hidden = { a: 1 }\n/** Does nothing. */\nexport function broken(hidden: Hidden): Hidden {\n  return hidden\n}\n',
      )
      tree.append('src/index.ts', "export { broken } from './broken.ts'\n")
    },
  },
  {
    check: 'docs',
    name: 'a link that leads nowhere',
    says: /Failed to resolve link to "nowhere"/,
    breaks: (tree) => {
      tree.write('src/broken.ts', '/** See {@link nowhere}. */\nexport type Broken = string\n')
      tree.append('src/index.ts', "export type { Broken } from './broken.ts'\n")
    },
  },
  {
    check: 'docs',
    name: 'an example that does not compile',
    says: /the example of \/index\/broken\b.*TS2345/,
    breaks: (tree) => {
      tree.write(
        'src/broken.ts',
        '/**\n * Does nothing.\n *\n * @example\n * ```ts\n * broken(1)\n * ```\n */\nexport function broken(text: string): string {\n  return text\n}\n',
      )
      tree.append('src/index.ts', "export { broken } from './broken.ts'\n")
    },
  },
  {
    check: 'docs',
    name: 'the pages are of something else',
    says: /secure is not in the API pages/,
    breaks: (tree) => tree.write('src/index.ts', "export { SubrosaError } from './errors.ts'\n"),
  },
  {
    check: 'unused',
    name: 'an export that nothing uses',
    says: /exports: unusedThing/,
    breaks: (tree) => tree.append('src/base/bytes.ts', 'export const unusedThing = 1\n'),
  },
  {
    check: 'unused',
    name: 'a file that nothing imports',
    says: /src\/wire\/broken\.ts: files/,
    breaks: file('src/wire/broken.ts', 'export const broken = 1'),
  },
  {
    check: 'unused',
    name: 'a dependency that nothing imports',
    says: /dependencies: left-pad/,
    breaks: (tree) =>
      tree.edit('package.json', (manifest) => {
        manifest.dependencies['left-pad'] = '1.0.0'
      }),
  },
  {
    check: 'unused',
    name: 'a package that is not a dependency',
    says: /unlisted: semver/,
    breaks: (tree) => tree.append('src/base/bytes.ts', "import 'semver'\n"),
  },
  {
    check: 'unused',
    name: 'knip looks at nothing',
    says: /knip found 0 of the 2/,
    breaks: (tree) =>
      tree.edit('knip.json', (config) => {
        config.project = ['nowhere/**']
        config.entry = ['nowhere/**']
      }),
  },
  {
    check: 'build',
    name: 'src does not compile',
    says: /error TS2322/,
    breaks: file('src/wire/broken.ts', "export const broken: number = '1'"),
  },
  {
    check: 'build',
    name: 'the build compiles nothing',
    says: /dist\/index\.js was not built/,
    breaks: (tree) =>
      tree.edit('tsconfig.build.json', (config) => {
        config.include = ['src/wire']
        config.compilerOptions.rootDir = 'src/wire'
      }),
  },
  {
    check: 'build',
    name: 'the package holds no module',
    says: /dist\/index\.js is not in the package/,
    breaks: (tree) =>
      tree.edit('package.json', (manifest) => {
        manifest.files = ['SPEC.md']
      }),
  },
  {
    check: 'types',
    name: 'a test does not compile',
    says: /test\/broken\.ts.*TS2322/,
    breaks: file('test/broken.ts', "export const broken: number = '1'"),
  },
  {
    check: 'types',
    name: 'a benchmark does not compile',
    says: /bench\/broken\.mjs.*TS2322/,
    breaks: file('bench/broken.mjs', "/** @type {number} */\nexport const broken = '1'"),
  },
  {
    check: 'types',
    name: 'the conformance run does not compile',
    says: /conformance\/broken\.mjs.*TS2322/,
    breaks: file('conformance/broken.mjs', "/** @type {number} */\nexport const broken = '1'"),
  },
  {
    check: 'types',
    name: 'an example does not compile',
    says: /examples\/broken\.mjs.*TS2322/,
    breaks: file('examples/broken.mjs', "/** @type {number} */\nexport const broken = '1'"),
  },
  {
    check: 'types',
    name: 'the compiler is given no file',
    says: /TS18002|TS18003|does not read it/,
    breaks: (tree) =>
      tree.edit('tsconfig.json', (config) => {
        config.include = []
        config.files = []
      }),
  },
  {
    check: 'types',
    name: 'the compiler does not read the tests',
    says: /test\/.*: tsconfig\.json does not read it/,
    breaks: (tree) =>
      tree.edit('tsconfig.json', (config) => {
        config.include = ['src']
      }),
  },
  {
    check: 'types',
    name: 'there are no benchmarks',
    says: /there is no file in bench\//,
    breaks: (tree) => tree.remove('bench'),
  },
  {
    check: 'package',
    name: 'there is no packed package',
    says: /there is no packed package/,
    breaks: (tree) => tree.remove('../subrosa-0.1.0.tgz'),
  },
  {
    check: 'package',
    name: 'the packed package is empty',
    says: /.+/,
    breaks: (tree) => tree.write('../subrosa-0.1.0.tgz', ''),
  },
  {
    check: 'package-types',
    name: 'there is no packed package',
    says: /there is no packed package/,
    breaks: (tree) => tree.remove('../subrosa-0.1.0.tgz'),
  },
  {
    check: 'package-types',
    name: 'types that are not in the package',
    says: /no types/,
    breaks: (tree) =>
      tree.repack((manifest) => {
        manifest.exports['.'] = './dist/index.js'
        manifest.files = ['dist/**/*.js']
        delete manifest.types
      }),
  },
  {
    check: 'package',
    name: 'an entry point that is not in the package',
    says: /nowhere\.js/,
    breaks: (tree) =>
      tree.repack((manifest) => {
        manifest.exports['./nowhere'] = './dist/nowhere.js'
      }),
  },
  {
    check: 'package',
    name: 'a package that exports nothing',
    says: /exports nothing/,
    breaks: (tree) =>
      tree.repack((manifest) => {
        delete manifest.exports
      }),
  },
  {
    check: 'browser',
    name: 'a module that a browser loads imports a Node module',
    says: /dist\/envelope\/seal\.js -> node:fs/,
    breaks: (tree) => tree.append('dist/envelope/seal.js', "import 'node:fs'\n"),
  },
  {
    check: 'browser',
    name: 'a Node module behind an import condition that a browser takes',
    says: /dist\/crypto\/sodium\.js -> node:crypto/,
    breaks: (tree) =>
      tree.edit('package.json', (manifest) => {
        manifest.imports['#sodium'].default = './dist/crypto/sodium.js'
      }),
  },
  {
    check: 'browser',
    name: 'a module is missing',
    says: /dist\/envelope\/seal\.js is not there/,
    breaks: (tree) => tree.remove('dist/envelope/seal.js'),
  },
  {
    check: 'browser',
    name: 'nothing was built',
    says: /1 modules were seen/,
    breaks: (tree) => tree.remove('dist'),
  },
]

/**
 * Breaks a copy of the repository in every way that is listed above, one after the other, and tells whether each check
 * saw it: it must fail, and for the reason that was given. What a check said before does not count.
 *
 * @param {readonly import('./checks/run.mjs').Check[]} checks
 * @param {import('./checks/run.mjs').Check} build makes what the checks of the built package look at
 * @returns {Promise<boolean>}
 */
export async function selfTest(checks, build) {
  let missed = 0
  let total = 0
  for (const check of checks) {
    const looking = new Looking(check, build)
    try {
      const result = await tryAll(check, looking)
      total += result.total
      missed += result.missed
    } finally {
      looking.end()
    }
  }
  console.log(`\nself-test: ${total - missed} of ${total} breakages were seen`)
  return missed === 0 && total > 0
}

/**
 * @param {import('./checks/run.mjs').Check} check
 * @param {Looking} looking
 */
async function tryAll(check, looking) {
  let missed = 0
  const before = await looking.lookAt(() => {})
  const own = breakages.filter((breakage) => breakage.check === check.name)
  if (own.length === 0) throw new Error(`nothing breaks the check ${check.name}`)
  const added = own.flatMap(({ adds }) => adds ?? [])
  if (new Set(added.map(({ path }) => path)).size < added.length)
    throw new Error(`two breakages of ${check.name} add the same file`)
  const addAll = (/** @type {Tree} */ tree) => {
    for (const { path, line } of added) tree.write(path, `${line}\n`)
  }
  const withAll = added.length === 0 ? before : await looking.lookAt(addAll)
  for (const { name, says, breaks, adds } of own) {
    const { ok, output } = breaks === undefined ? withAll : await looking.lookAt(breaks)
    const lines = linesNotIn(before.output, output)
    const seen =
      !ok && says.test(lines.filter((line) => adds === undefined || line.includes(adds.path)).join('\n'))
    if (!seen) missed++
    console.log(`${seen ? 'seen  ' : 'MISSED'} ${check.name}: ${name}`)
    if (!seen) console.log(`       it said: ${ok ? 'ok' : lines.join('\n') || output}`)
  }
  return { total: own.length, missed }
}

/** Looks with one check at one copy, which is broken and mended again; where a build is looked at, at one copy each. */
class Looking {
  #check
  #build
  #copy

  /**
   * @param {import('./checks/run.mjs').Check} check
   * @param {import('./checks/run.mjs').Check} build
   */
  constructor(check, build) {
    this.#check = check
    this.#build = build
    this.#copy = ''
  }

  /** @param {(tree: Tree) => void} breaks */
  async lookAt(breaks) {
    if (this.#copy === '') await this.#prepare()
    const tree = new Tree(this.#copy)
    try {
      breaks(tree)
      const result = await outcome(this.#check, this.#copy)
      return { ...result, output: result.output.replaceAll(`${this.#copy}/`, '') }
    } finally {
      tree.mend()
      // A check or what breaks it may build.
      if (this.#check.needsBuild || this.#check === this.#build) this.end()
    }
  }

  end() {
    if (this.#copy !== '') removeCopy(this.#copy)
    this.#copy = ''
  }

  async #prepare() {
    this.#copy = copyTree(repository)
    if (this.#check.needsBuild) await outcome(this.#build, this.#copy)
  }
}

/**
 * @param {string} before
 * @param {string} output
 */
function linesNotIn(before, output) {
  const known = new Set(before.split('\n'))
  return output.split('\n').filter((line) => !known.has(line))
}
