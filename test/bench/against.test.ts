import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it } from 'vitest'
import { compareCosts } from '../../bench/against/costs.ts'
import { Findings } from '../../bench/against/findings.ts'
import { comparePipes } from '../../bench/against/pipes.ts'
import { compareRequests } from '../../bench/against/requests.ts'
import type { Sitting } from '../../bench/against/sitting.ts'
import { type Checkout, loadCheckout } from '../../bench/lib/checkout.ts'

const TIMEOUT_MS = 120_000
const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url))

function sittingOf(checkout: Checkout, before = REPOSITORY): Sitting {
  return {
    checkouts: { before: checkout, after: checkout },
    folders: { before, after: REPOSITORY },
    plan: {
      sittings: 1,
      rounds: 1,
      warmUp: 0,
      flowMs: 1,
      firstRequests: 3,
      requests: 3,
      memoryMessages: 64,
      slices: { rounds: 1, slices: 1, sliceMs: 1, warmUpMs: 1 },
    },
    number: 0,
    suites: ['bytes', 'memory'],
    findings: new Findings(),
    counts: new Map(),
    signal: new AbortController().signal,
  }
}

describe('a comparison of a checkout with itself', { timeout: TIMEOUT_MS }, () => {
  let checkout: Checkout
  beforeAll(async () => {
    checkout = await loadCheckout(REPOSITORY)
  })

  it('finds the same bytes on the wire, and measures the memory of both ends', async () => {
    const sitting = sittingOf(checkout)
    await comparePipes(sitting)
    const { findings } = sitting
    const entries = findings.entries()
    const weighed = entries.filter(({ metric }) => metric.unit === 'bytes')
    expect(weighed.length).toBeGreaterThan(10)
    for (const { row, verdict, rounds } of weighed) {
      expect(verdict, row).toBe('same')
      expect(rounds[0]?.after, row).toBeGreaterThan(0)
    }
    expect(entries.filter(({ metric }) => metric.unit === 'MiB').map(({ row }) => row)).toEqual([
      'publisher',
      'subscriber',
    ])
  })

  it('measures requests of both', async () => {
    const sitting = sittingOf(checkout)
    await compareRequests(sitting)
    const { findings } = sitting
    expect(findings.entries().map(({ row }) => row)).toEqual(['channel', 'session'])
    for (const { rounds } of findings.entries()) expect(rounds[0]?.before).toBeGreaterThan(0)
  })

  it('measures what sealing and opening cost both', async () => {
    const sitting = sittingOf(checkout)
    await compareCosts(sitting)
    const { findings } = sitting
    expect(findings.skipped).toEqual([])
    expect(findings.entries().map(({ row }) => row)).toContain('1 KiB to 3, libsodium')
    for (const { row, ratio } of findings.entries()) expect(ratio.median, row).toBeGreaterThan(0)
  })
})

describe('a checkout that lacks something', { timeout: TIMEOUT_MS }, () => {
  it('is refused where it has no benchmark, by the name of the file', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'subrosa-empty-'))
    try {
      await expect(loadCheckout(folder)).rejects.toThrow('it has no bench/lib/world.mjs')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('is skipped where only what it costs to seal cannot be measured, and the reason is kept', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'subrosa-empty-'))
    try {
      const sitting = sittingOf(await loadCheckout(REPOSITORY), folder)
      await compareCosts(sitting)
      const { findings } = sitting
      expect(findings.entries()).toEqual([])
      expect(findings.skipped.join()).toContain('it has no dist/crypto/engine.js')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
