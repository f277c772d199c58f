import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

// The imports '#…' of package.json resolve to src under this condition, so that tests need no build.
const conditions = ['subrosa-source', 'node', 'import', 'module', 'default']

/** Tests in which something is carried, and that do not choose the mode themselves. */
const CARRYING = [
  'errors',
  'exchange',
  'joining',
  'pins',
  'restart',
  'rotation',
  'schedules',
  'staleness',
  'subscriptions',
].map((name) => `test/bus/${name}.test.ts`)

/** Rooms whose tests leave nothing behind in their process: files share one, and do not load everything for each. */
const ROOMS = [
  'base',
  'bus',
  'cli',
  'crypto',
  'envelope',
  'identity',
  'json',
  'keys',
  'mcp',
  'rotation',
  'session',
  'setup',
  'wire',
]
const TOGETHER = ROOMS.map((room) => `test/${room}/**/*.test.ts`)

/** In these rooms, what measures memory, and what replaces a module that others in its process would get. */
const REPLACES_MODULE = 'test/bus/session-refusals.test.ts'
const APART = [
  REPLACES_MODULE,
  'test/bus/in/known-wires.test.ts',
  'test/bus/in/session-memory.test.ts',
  'test/cli/mcp/child/guardian.test.ts',
  'test/keys/key-memory.test.ts',
]

/** For projects whose files share a process. */
const SHARED = { isolate: false, setupFiles: ['test/support/leave-nothing.ts'] }

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    globalSetup: ['test/support/global-setup.ts'],
    // Several times what the longest takes: machines are busy with other things too.
    testTimeout: 90_000,
    // The tests wait for servers and timers more than they compute.
    maxWorkers: availableParallelism() + 1,
    projects: [
      {
        extends: true,
        test: {
          name: 'apart',
          include: ['test/*.test.ts', `test/!(${ROOMS.join('|')})/**/*.test.ts`, ...APART],
        },
      },
      { extends: true, test: { name: 'together', include: TOGETHER, exclude: APART, ...SHARED } },
      // What goes over a connection, once more over the other client line.
      {
        extends: true,
        test: {
          name: 'nats 2.29',
          include: ['test/bus/**/*.test.ts'],
          exclude: APART,
          env: { SUBROSA_TEST_CLIENT: 'nats' },
          ...SHARED,
        },
      },
      {
        extends: true,
        test: { name: 'nats 2.29, apart', include: [REPLACES_MODULE], env: { SUBROSA_TEST_CLIENT: 'nats' } },
      },
      // And once more in messages that stand for themselves, where the others go over sessions.
      {
        extends: true,
        test: { name: 'messages', include: CARRYING, env: { SUBROSA_TEST_MODE: 'message' }, ...SHARED },
      },
    ],
  },
})
