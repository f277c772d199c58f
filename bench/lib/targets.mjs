import { digits, table } from './report.ts'

/**
 * What is asked of the package, and what was reached.
 *
 * @typedef {import('./results.mjs').Results} Results
 * @typedef {'at least' | 'at most'} Direction
 * @typedef {{
 *   readonly what: string, readonly asked: number, readonly direction: Direction, readonly unit: string,
 *   readonly reached: number | undefined,
 * }} Measured
 * @typedef {{
 *   readonly what: string, readonly asked: number, readonly reached: number | null, readonly unit: string,
 *   readonly met: boolean,
 * }} Target `reached` is null where it could not be measured; that is not met
 */

/** A leak of one reference for each message is 8 bytes. */
const FLAT_BYTES = 4
const KIB = 1024

/**
 * The targets of the suites that ran.
 *
 * @param {Results} results
 * @returns {readonly Target[]}
 */
export function targetsOf(results) {
  return [
    ...pipeTargets(results),
    ...latencyTargets(results),
    ...mcpTargets(results),
    ...sealTargets(results),
    ...scaleTargets(results),
    ...memoryTargets(results),
  ].map(judged)
}

/**
 * @param {Measured} measured
 * @returns {Target}
 */
export function judged({ what, asked, direction, unit, reached }) {
  const known = reached !== undefined && Number.isFinite(reached) ? reached : null
  const met = known !== null && (direction === 'at least' ? known >= asked : known <= asked)
  return { what, asked, reached: known, unit: `${unit}, ${direction}`, met }
}

/** @param {readonly Target[]} targets */
export function printTargets(targets) {
  table(
    'targets',
    ['what', 'asked', 'reached', 'unit', 'met'],
    targets.map(({ what, asked, reached, unit, met }) => [
      what,
      digits(asked),
      reached === null ? 'not measured' : digits(reached),
      unit,
      met ? 'yes' : 'no',
    ]),
  )
}

/**
 * @param {Results} results
 * @returns {readonly Measured[]}
 */
function pipeTargets({ pipe }) {
  if (pipe === undefined) return []
  const asked = [
    { name: 'channel', what: 'channel ÷ plaintext', least: { 128: 0.5, 1024: 0.55, 16384: 0.6 } },
    {
      name: 'session to 3',
      what: 'session, 3 recipients ÷ plaintext',
      least: { 128: 0.3, 1024: 0.3, 16384: 0.4 },
    },
    { name: 'publishMany(64)', what: 'publishMany(64), session ÷ plaintext', least: { 128: 2 } },
  ]
  return asked.flatMap(({ name, what, least }) =>
    Object.entries(least).map(([size, ratio]) => ({
      what: `${what}, ${size} B`,
      asked: ratio,
      direction: /** @type {const} */ ('at least'),
      unit: 'ratio',
      reached: pipe.sizes
        .find((measured) => measured.size === Number(size))
        ?.variants.find((variant) => variant.name === name)?.ratio.median,
    })),
  )
}

/**
 * @param {Results} results
 * @returns {readonly Measured[]}
 */
function latencyTargets({ latency }) {
  if (latency === undefined) return []
  const variants = latency.transports.find(({ tls }) => !tls)?.variants
  const asked = [
    { name: 'channel', ratio: 1.25 },
    { name: 'session', ratio: 1.4 },
  ]
  return asked.map(({ name, ratio }) => ({
    what: `request/reply p50 ÷ plaintext, ${name}`,
    asked: ratio,
    direction: 'at most',
    unit: 'ratio',
    reached: variants?.find((variant) => variant.name === name)?.p50Ratio.median,
  }))
}

/**
 * @param {Results} results
 * @returns {readonly Measured[]}
 */
function mcpTargets({ mcp }) {
  if (mcp === undefined) return []
  const sealed = mcp.echoes.find(({ size }) => size === 128)?.variants.find(({ name }) => name === 'sealed')
  const call = 'MCP tools/call p50, sealed ÷'
  return [
    { what: `${call} the same pipe in plaintext`, asked: 1.3, reached: sealed?.p50Ratio.median },
    { what: `${call} Streamable HTTP in plaintext`, asked: 1, reached: sealed?.p50ToHttp.median },
  ].map((target) => ({ ...target, direction: 'at most', unit: 'ratio' }))
}

/**
 * @param {Results} results
 * @returns {readonly Measured[]}
 */
function sealTargets({ seal }) {
  if (seal === undefined) return []
  const work = 'seal + open, 1 recipient, 1 KiB, against'
  const [fastest, next] = peersAlike(seal.peers)
  const against = [
    { what: `${work} the fastest peer with the same properties`, peer: fastest },
    // libsodium called directly is no message format: it is what our own key agreements are made of.
    { what: `${work} the next one`, peer: next },
  ]
  return [
    {
      what: 'sealing for 1000 recipients ÷ 1000 bare DH',
      asked: 1.4,
      direction: 'at most',
      unit: 'ratio',
      reached: seal.agreements.find(({ recipients }) => recipients === 1000)?.ratio.median,
    },
    ...against.map(({ what, peer }) => ({
      what: `${what} (${peer?.name ?? 'none is installed'})`,
      asked: 10,
      direction: /** @type {const} */ ('at least'),
      unit: 'times as fast',
      reached: peer?.timesOwn.median,
    })),
    ...seal.primitives
      .filter(({ engine }) => engine === 'libsodium')
      .map(({ size, ratio }) => ({
        what: `seal + open, 1 recipient ÷ bare primitives, ${size} B`,
        asked: 1.5,
        direction: /** @type {const} */ ('at most'),
        unit: 'ratio',
        reached: ratio.median,
      })),
  ]
}

/**
 * Those whose messages are signed by the sender and sealed with a fresh ephemeral key, as ours are; the fastest first.
 *
 * @param {NonNullable<Results['seal']>['peers']} peers
 */
export function peersAlike(peers) {
  const alone = peers.find(({ recipients }) => recipients === 1)
  return (alone?.rows ?? [])
    .filter(({ properties }) => properties?.senderSigned && properties.freshEphemeral)
    .toSorted((a, b) => a.sum.median - b.sum.median)
}

/**
 * @param {Results} results
 * @returns {readonly Measured[]}
 */
function scaleTargets({ scale }) {
  if (scale === undefined) return []
  const most = scale.agents.rows.find(({ agents }) => agents === 10_000)
  return [
    {
      what: 'directory of 10,000 agents: ready, everyone proved',
      asked: 5,
      direction: 'at most',
      unit: 's',
      reached: most === undefined ? undefined : most.readyMs.median / 1000,
    },
    {
      what: 'directory of 10,000 agents: memory of each',
      asked: 2,
      direction: 'at most',
      unit: 'KiB',
      reached: most === undefined ? undefined : most.bytesEach.median / KIB,
    },
  ]
}

/**
 * @param {Results} results
 * @returns {readonly Measured[]}
 */
function memoryTargets({ memory }) {
  if (memory === undefined) return []
  return /** @type {const} */ (['publisher', 'subscriber']).map((end) => ({
    what: `memory over ${memory.messages.toLocaleString('en')} messages, ${end}: left behind by each`,
    asked: FLAT_BYTES,
    direction: 'at most',
    unit: 'B',
    reached: memory[end].heap,
  }))
}
