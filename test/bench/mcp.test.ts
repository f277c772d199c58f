import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { assertText } from '../../bench/lib/mcp/echo-server.mjs'
import { DIRECT, PLAIN, proveWay, SEALED, startWays, WAYS } from '../../bench/lib/mcp/ways.mjs'
import { measureMcp } from '../../bench/suites/mcp.mjs'

const TIMEOUT_MS = 60_000

describe('the ways to an MCP server', { timeout: TIMEOUT_MS }, () => {
  let ways: Awaited<ReturnType<typeof startWays>>
  beforeAll(async () => {
    ways = await startWays()
  }, TIMEOUT_MS)
  afterAll(() => ways.stop(), TIMEOUT_MS)

  it('are proved, measured in turn and compared', async () => {
    const { echoes, result } = await measureMcp(ways, {
      warmUp: 1,
      echoes: [{ size: 128, rounds: 2, calls: 4 }],
      result: { length: 200_000, rounds: 1 },
    })
    const [{ variants, rounds }] = echoes
    const names = WAYS.map(({ name }: { name: string }) => name)
    for (const measured of [variants, result.variants])
      expect(measured.map(({ name }: { name: string }) => name)).toEqual(names)
    expect(rounds).toHaveLength(2)
    for (const { name, p50, p99, p50Ratio, p50ToHttp } of variants) {
      expect(p50.count, name).toBe(2)
      expect(p50.median, name).toBeGreaterThan(0)
      expect(p99.median, name).toBeGreaterThanOrEqual(p50.median)
      expect(p50ToHttp.median, name).toBeGreaterThan(0)
      if (name === PLAIN) expect(p50Ratio).toMatchObject({ min: 1, max: 1 })
    }
    for (const { name, us } of result.variants) expect(us.median, name).toBeGreaterThan(0)
  })

  it.each([
    { name: PLAIN, broker: 'sees it sealed', said: 'could read them' },
    { name: PLAIN, broker: 'sees nothing', said: 'could read them' },
    { name: SEALED, broker: 'reads it', said: 'could not read them' },
    { name: SEALED, broker: 'sees nothing', said: 'could not read them' },
    { name: DIRECT, broker: 'sees it sealed', said: 'could not read them' },
  ])('are not measured where the broker sees something else: $name, $broker', async (way) => {
    await expect(proveWay(ways, way)).rejects.toThrow(way.said)
  })
})

describe('what a call has brought', () => {
  const result = { content: [{ type: 'text', text: 'as it was' }] }

  it('is what was sent', () => {
    expect(() => assertText(result, 'as it was', 'pipe')).not.toThrow()
  })

  it.each([
    { name: 'another text', wrong: { content: [{ type: 'text', text: 'as it was ' }] } },
    { name: 'more than it', wrong: { content: [...result.content, ...result.content] } },
    { name: 'nothing', wrong: { content: [] } },
    { name: 'no content', wrong: {} },
    { name: 'an error', wrong: { ...result, isError: true } },
  ])('is not $name', ({ wrong }) => {
    expect(() => assertText(wrong, 'as it was', 'pipe')).toThrow('pipe: another text came back')
  })
})
