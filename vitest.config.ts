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

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    globalSetup: ['test/support/global-setup.ts'],
    testTimeout: 30_000,
    // The tests wait for servers and timers more than they compute.
    maxWorkers: availableParallelism() + 1,
    projects: [
      { extends: true, test: { name: 'all', include: ['test/**/*.test.ts'] } },
      // What goes over a connection, once more over the other client line.
      {
        extends: true,
        test: { name: 'nats 2.29', include: ['test/bus/**/*.test.ts'], env: { SUBROSA_TEST_CLIENT: 'nats' } },
      },
      // And once more in messages that stand for themselves, where the others go over sessions.
      {
        extends: true,
        test: { name: 'messages', include: CARRYING, env: { SUBROSA_TEST_MODE: 'message' } },
      },
    ],
  },
})
