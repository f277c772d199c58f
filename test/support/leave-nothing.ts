import { afterAll, vi } from 'vitest'

// The files of some projects share a process: what one has replaced must not be there for the next.
afterAll(() => {
  vi.restoreAllMocks()
  vi.unstubAllEnvs()
})
