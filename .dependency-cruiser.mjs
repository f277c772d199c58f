/**
 * The rooms of the house, from the ground up: a file imports only from its own room and from rooms before it in this
 * list. A third-party package and a Node module each have their places too.
 */
export const rooms = [
  { name: 'base', path: '^src/base/' },
  { name: 'json', path: '^src/json/' },
  { name: 'wire', path: '^src/wire/' },
  { name: 'crypto', path: '^src/crypto/' },
  { name: 'identity', path: '^src/identity/' },
  { name: 'envelope', path: '^src/envelope/' },
  { name: 'session', path: '^src/session/' },
  { name: 'keys', path: '^src/keys/' },
  { name: 'bus', path: '^src/bus/' },
  { name: 'rotation', path: '^src/rotation/' },
  { name: 'mcp', path: '^src/mcp/' },
  { name: 'setup', path: '^src/setup/' },
  { name: 'cli', path: '^src/cli/' },
  { name: 'index', path: '^src/(index|mcp)\\.ts$' },
]

/** Where each third-party package may be imported. What is not named here may be imported nowhere in src. */
const packages = [
  { name: '@noble/', places: ['^src/crypto/'] },
  { name: 'sodium-native', places: ['^src/crypto/'] },
  { name: '@scure/base', places: ['^src/identity/'] },
  { name: 'sshpk', places: ['^src/identity/keyfiles/openssh-key\\.ts$'] },
  {
    name: '@nats-io/',
    places: ['^src/bus/', '^src/setup/', '^src/cli/'],
  },
  { name: '@peculiar/x509', places: ['^src/setup/'] },
  { name: 'reflect-metadata', places: ['^src/setup/'] },
  { name: 'commander', places: ['^src/cli/'] },
  { name: 'pino', places: ['^src/cli/terminal/log\\.ts$'] },
  { name: '@modelcontextprotocol/', places: ['^src/cli/mcp/'] },
  { name: 'fs-native-extensions', places: ['^src/keys/'] },
]

/** The only files and rooms that may import a Node module. */
const nodePlaces = [
  '^src/base/boot-clock\\.ts$',
  '^src/crypto/sodium\\.ts$',
  '^src/identity/keyfiles/(encrypted-pkcs8|text-file)\\.ts$',
  '^src/keys/(state-folder|statement-file)\\.ts$',
  '^src/rotation/file-store\\.ts$',
  '^src/setup/',
  '^src/cli/',
]

/** An installed package, or the bare name of one that is not installed. */
const inPackage = (name) => `(^|/)node_modules/${name}|^${name}`

// A command may import everything, the public API too; nothing imports a command.
const upward = rooms
  .filter(({ name }) => name !== 'cli' && name !== 'index')
  .map(({ name, path }) => ({
    name: `${name}-imports-upward`,
    comment: `${name} may import only from its own room and from the rooms below it`,
    severity: 'error',
    from: { path },
    to: { path: rooms.slice(rooms.findIndex((room) => room.name === name) + 1).map((room) => room.path) },
  }))

const placed = packages.map(({ name, places }) => ({
  name: `${name
    .replaceAll(/[^a-z0-9]+/g, ' ')
    .trim()
    .replaceAll(' ', '-')}-out-of-its-room`,
  comment: `${name} may be imported only in ${places.join(', ')}`,
  severity: 'error',
  from: { path: '^src/', pathNot: places },
  to: { path: inPackage(name) },
}))

/** @type {import('dependency-cruiser').IConfiguration} */
const rules = {
  forbidden: [
    ...upward,
    ...placed,
    {
      name: 'cli-is-imported',
      comment: 'nothing imports a command',
      severity: 'error',
      from: { pathNot: ['^src/cli/', '^test/'] },
      to: { path: '^src/cli/' },
    },
    {
      name: 'package-without-a-room',
      comment: 'a third-party package is imported in src only in the room that owns it',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '(^|/)node_modules/', pathNot: packages.map(({ name }) => inPackage(name)) },
    },
    {
      name: 'nats-client-at-run-time-in-bus',
      comment: 'the bus takes a connection of either client line: only their types may be imported there',
      severity: 'error',
      from: { path: '^src/bus/' },
      to: { path: inPackage('@nats-io/'), dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'development-dependency-in-src',
      comment: 'what src needs at run time is a dependency of the package',
      severity: 'error',
      from: { path: '^src/' },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg'], dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'node-module-out-of-its-place',
      comment:
        'Node modules stay behind import conditions, in setup and in cli, so that a browser can load the rest',
      severity: 'error',
      from: { path: '^src/', pathNot: nodePlaces },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'cycle',
      comment: 'no file imports itself through others; imports of types alone are no cycle',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'unresolvable',
      comment: 'an import that resolves to nothing is checked by no other rule',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: 'src-imports-outside-of-src',
      comment: 'what is published depends on no test, benchmark, script, example or build output',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^(test|bench|conformance|scripts|examples|dist)/' },
    },
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    // Imports of types count: a room that needs a type of a higher room is in the wrong place.
    tsPreCompilationDeps: true,
    doNotFollow: { path: '(^|/)node_modules/' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['subrosa-source', 'node', 'import', 'types', 'default'],
    },
  },
}

export default rules
