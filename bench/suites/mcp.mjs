import { HTTP, PLAIN, proveWay, startWays, WAYS } from '../lib/mcp/ways.mjs'
import { bytes, duration, ratioText, table } from '../lib/report.ts'
import { interleaved, ratio, valuesOf } from '../lib/rounds.ts'
import { quantile } from '../lib/stats.ts'

/**
 * How much is measured.
 *
 * @typedef {{
 *   readonly warmUp: number,
 *   readonly echoes: readonly { readonly size: number, readonly rounds: number, readonly calls: number }[],
 *   readonly result: { readonly length: number, readonly rounds: number },
 * }} McpPlan
 */

/** The size that the targets are about. */
const SIZE = 128
const LARGE = 64 * 1024
const RESULT = 5 * 2 ** 20

/** @type {McpPlan} */
const WHOLE = {
  warmUp: 500,
  echoes: [
    { size: SIZE, rounds: 21, calls: 150 },
    { size: LARGE, rounds: 9, calls: 40 },
  ],
  result: { length: RESULT, rounds: 7 },
}

/** @type {McpPlan} */
const QUICK = {
  warmUp: 200,
  echoes: [
    { size: SIZE, rounds: 7, calls: 100 },
    { size: LARGE, rounds: 3, calls: 20 },
  ],
  result: { length: RESULT, rounds: 3 },
}

/**
 * A host calls a tool of an MCP server, one call after the other: through `subrosa mcp connect` and `serve`, through
 * the same pipe with nothing sealed, and over Streamable HTTP in the clear.
 *
 * @param {import('../lib/plan.ts').Plan} plan
 */
export async function mcpSuite({ quick, profile }) {
  const ways = await startWays({ profile })
  try {
    const result = await measureMcp(ways, quick ? QUICK : WHOLE)
    print(result)
    return result
  } finally {
    await ways.stop()
  }
}

/**
 * @param {import('../lib/mcp/ways.mjs').Ways} ways
 * @param {McpPlan} plan
 */
export async function measureMcp(ways, plan) {
  for (const way of WAYS) await proveWay(ways, way)
  for (const { name } of WAYS) await ways.echo(name, { size: SIZE, count: plan.warmUp })
  const echoes = []
  for (const echo of plan.echoes) echoes.push(await measureEcho(ways, echo))
  return { plan, echoes, result: await measureResult(ways, plan.result) }
}

/**
 * @param {import('../lib/mcp/ways.mjs').Ways} ways
 * @param {McpPlan['echoes'][number]} plan
 */
async function measureEcho(ways, { size, rounds, calls }) {
  const measured = await interleaved(WAYS, { rounds }, async ({ name }) => {
    const took = await ways.echo(name, { size, count: calls })
    return { p50: quantile(took, 0.5), p99: quantile(took, 0.99) }
  })
  const of = (/** @type {'p50' | 'p99'} */ share) =>
    measured.map((round) =>
      Object.fromEntries(Object.entries(round).map(([name, value]) => [name, value[share]])),
    )
  const [p50, p99] = [of('p50'), of('p99')]
  const variants = WAYS.map(({ name }) => ({
    name,
    p50: valuesOf(p50, name),
    p99: valuesOf(p99, name),
    p50Ratio: ratio(p50, name, PLAIN),
    p99Ratio: ratio(p99, name, PLAIN),
    p50ToHttp: ratio(p50, name, HTTP),
  }))
  return { size, variants, rounds: measured }
}

/**
 * @param {import('../lib/mcp/ways.mjs').Ways} ways
 * @param {McpPlan['result']} plan
 */
async function measureResult(ways, { length, rounds }) {
  const measured = await interleaved(WAYS, { rounds }, ({ name }) => ways.print(name, length))
  const variants = WAYS.map(({ name }) => ({
    name,
    us: valuesOf(measured, name),
    ratio: ratio(measured, name, PLAIN),
  }))
  return { length, variants, rounds: measured }
}

/** @param {Awaited<ReturnType<typeof measureMcp>>} results */
function print({ echoes, result }) {
  for (const { size, variants } of echoes)
    table(
      `MCP, tools/call echo of ${bytes(size)}, one at a time`,
      ['', 'p50', '÷ plaintext pipe', '÷ Streamable HTTP', 'p99', '÷ plaintext pipe'],
      variants.map(({ name, p50, p99, p50Ratio, p99Ratio, p50ToHttp }) => [
        name,
        duration(p50.median),
        ratioText(p50Ratio),
        ratioText(p50ToHttp),
        duration(p99.median),
        ratioText(p99Ratio),
      ]),
    )
  table(
    `MCP, one result of ${bytes(result.length)}`,
    ['', 'time', '÷ plaintext pipe'],
    result.variants.map(({ name, us, ratio: toPlain }) => [name, duration(us.median), ratioText(toPlain)]),
  )
}
