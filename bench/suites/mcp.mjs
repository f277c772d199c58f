import { randomBytes } from 'node:crypto'
import { startMcpWorld } from '../lib/mcp/world.mjs'
import { startWorker } from '../lib/process.mjs'
import { bytes, duration, ratioText, table } from '../lib/report.mjs'
import { interleaved, ratio, valuesOf } from '../lib/rounds.mjs'
import { quantile } from '../lib/stats.mjs'

export const PLAIN = 'plaintext pipe'
export const SEALED = 'sealed'
export const HTTP = 'Streamable HTTP'
const DIRECT = 'stdio, no bridge'
const HTTP_JSON = 'Streamable HTTP, JSON'

/** @type {readonly { readonly name: string, readonly sees: 'nothing' | 'plaintext' | 'sealed' }[]} */
const VARIANTS = [
  { name: DIRECT, sees: 'nothing' },
  { name: PLAIN, sees: 'plaintext' },
  { name: SEALED, sees: 'sealed' },
  { name: HTTP, sees: 'nothing' },
  { name: HTTP_JSON, sees: 'nothing' },
]

/** The size that the targets are about. */
export const SIZE = 128
const MANY_TEXTS = 200
const LONG_TEXT = 300_000

/**
 * How much is measured.
 *
 * @typedef {{
 *   readonly warmUp: number,
 *   readonly echoes: readonly { readonly size: number, readonly rounds: number, readonly calls: number }[],
 *   readonly result: { readonly length: number, readonly rounds: number },
 * }} McpPlan
 */

/** @type {McpPlan} */
const WHOLE = {
  warmUp: 500,
  echoes: [
    { size: SIZE, rounds: 21, calls: 150 },
    { size: 64 * 1024, rounds: 9, calls: 40 },
  ],
  result: { length: 5 * 2 ** 20, rounds: 7 },
}

/** @type {McpPlan} */
const QUICK = {
  warmUp: 200,
  echoes: [
    { size: SIZE, rounds: 7, calls: 100 },
    { size: 64 * 1024, rounds: 3, calls: 20 },
  ],
  result: { length: 5 * 2 ** 20, rounds: 3 },
}

/**
 * A host calls a tool of an MCP server, one call after the other: through `subrosa mcp connect` and `serve`, through
 * the same pipe with nothing sealed, and over Streamable HTTP in the clear.
 *
 * @param {import('../lib/plan.mjs').Plan} plan
 */
export function mcpSuite({ quick, profile }) {
  return measureMcp(quick ? QUICK : WHOLE, { profile })
}

/**
 * @param {McpPlan} plan
 * @param {{ readonly profile?: string | undefined }} [options]
 */
export async function measureMcp(plan, { profile } = {}) {
  const world = await startMcpWorld({ profile })
  const http = startWorker('mcp-http.mjs', { profile })
  const host = startWorker('mcp-host.mjs', { profile })
  try {
    const { env, commands } = world
    /** @type {Readonly<Record<string, import('../workers/mcp-host.mjs').Reach>>} */
    const reaches = {
      [DIRECT]: { command: commands.direct, env },
      [PLAIN]: { command: commands.plain, env },
      [SEALED]: { command: commands.sealed, env },
      [HTTP]: { url: await http.call('listen', false) },
      [HTTP_JSON]: { url: await http.call('listen', true) },
    }
    for (const { name } of VARIANTS) await host.call('join', { name, reach: reaches[name] })
    await prove(world, host)
    for (const { name } of VARIANTS) await host.call('echo', { name, size: SIZE, count: plan.warmUp })
    const echoes = []
    for (const { size, rounds, calls } of plan.echoes) {
      const measured = await interleaved(VARIANTS, { rounds }, async ({ name }) => {
        const took = [...(await host.call('echo', { name, size, count: calls }))]
        return { p50: quantile(took, 0.5), p99: quantile(took, 0.99) }
      })
      echoes.push({ size, variants: VARIANTS.map(({ name }) => echoOf(measured, name)), rounds: measured })
    }
    const { length, rounds } = plan.result
    const measured = await interleaved(VARIANTS, { rounds }, ({ name }) =>
      host.call('print', { name, length }),
    )
    const variants = VARIANTS.map(({ name }) => ({
      name,
      us: valuesOf(measured, name),
      ratio: ratio(measured, name, PLAIN),
    }))
    const result = { plan, echoes, result: { length, variants, rounds: measured } }
    print(result)
    return result
  } finally {
    await host.call('leave').catch(() => {})
    await host.stop()
    await http.stop()
    await world.stop()
  }
}

/**
 * Proves that each way works before it is timed: what comes back is what was sent, whatever it holds; and the broker
 * reads what goes by the plaintext pipe, sees what goes sealed, and can read nothing of it.
 *
 * @param {import('../lib/mcp/world.mjs').McpWorld} world
 * @param {import('../lib/process.mjs').Worker} host
 */
async function prove(world, host) {
  const broker = await world.tap()
  /** @type {Buffer[]} */
  let seen = []
  broker.subscribe('>', {
    callback: (_error, { subject, data }) => {
      if (subject.startsWith('mcp.')) seen.push(Buffer.from(data))
    },
  })
  await broker.flush()
  for (const { name, sees } of VARIANTS) {
    seen = []
    const marker = randomBytes(24).toString('hex')
    const texts = [marker, '', '\r\n\u2028"\\\u0000', '𝄞 ä', 'x'.repeat(LONG_TEXT)]
    await host.call('echoAll', { name, texts })
    await host.call('echoAll', { name, texts: Array.from({ length: MANY_TEXTS }, (_, i) => `${i}`) })
    await broker.flush()
    const isSeen = seen.length > 0
    const isReadable = seen.some((data) => data.includes(marker))
    if (isSeen !== (sees !== 'nothing') || isReadable !== (sees === 'plaintext'))
      throw new Error(`${name}: the broker saw ${seen.length} messages, ${isReadable ? '' : 'not '}readable`)
  }
  await broker.close()
}

/**
 * @param {readonly Readonly<Record<string, { readonly p50: number, readonly p99: number }>>[]} measured
 * @param {string} name
 */
function echoOf(measured, name) {
  const of = (/** @type {'p50' | 'p99'} */ share) =>
    measured.map((round) =>
      Object.fromEntries(Object.entries(round).map(([key, value]) => [key, value[share]])),
    )
  return {
    name,
    p50: valuesOf(of('p50'), name),
    p99: valuesOf(of('p99'), name),
    p50Ratio: ratio(of('p50'), name, PLAIN),
    p99Ratio: ratio(of('p99'), name, PLAIN),
    p50ToHttp: ratio(of('p50'), name, HTTP),
  }
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
