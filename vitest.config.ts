import { defineConfig } from 'vitest/config'

// The imports '#…' of package.json resolve to src under this condition, so that tests need no build.
const conditions = ['subrosa-source', 'node', 'import', 'module', 'default']

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    testTimeout: 30_000,
  },
})
