import { defineConfig } from 'vitest/config'

// The imports '#…' of package.json resolve to src under this condition, so that tests need no build.
const conditions = ['subrosa-source', 'node', 'import', 'module', 'default']

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    globalSetup: ['test/support/global-setup.ts'],
    testTimeout: 30_000,
    projects: [
      { extends: true, test: { name: 'all', include: ['test/**/*.test.ts'] } },
      // What goes over a connection, once more over the other client line.
      {
        extends: true,
        test: { name: 'nats 2.29', include: ['test/bus/**/*.test.ts'], env: { SUBROSA_TEST_CLIENT: 'nats' } },
      },
    ],
  },
})
