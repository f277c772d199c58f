import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bars, lines, rows } from './charts.mjs'
import { bytesCharts, memoryCharts, scaleCharts } from './growth-figures.mjs'
import { bytes, duration, tickDuration } from './report.ts'

/**
 * @typedef {import('./results.mjs').Results} Results
 * @typedef {import('./stats.ts').Spread} Spread
 * @typedef {{ readonly name: string, readonly draw: (theme: import('./charts.mjs').Theme) => string }} Chart
 */

/**
 * Writes the charts of whatever was measured, each for light and for dark pages.
 *
 * @param {Results} results
 * @param {string} folder
 * @returns {readonly string[]} the names of the files
 */
export function writeCharts(results, folder) {
  const charts = [
    ...pipeCharts(results),
    ...latencyCharts(results),
    ...mcpCharts(results),
    ...sealCharts(results),
    ...scaleCharts(results),
    ...bytesCharts(results),
    ...memoryCharts(results),
  ]
  mkdirSync(folder, { recursive: true })
  return charts.flatMap(({ name, draw }) =>
    /** @type {const} */ (['light', 'dark']).map((theme) => {
      const file = `${name}-${theme}.svg`
      writeFileSync(join(folder, file), draw(theme))
      return file
    }),
  )
}

/**
 * @param {Results} results
 * @returns {readonly Chart[]}
 */
function pipeCharts({ pipe }) {
  if (pipe === undefined) return []
  const shown = ['channel', 'session to 1', 'session to 3', 'publishMany(64)', 'message']
  const find = (/** @type {typeof pipe.sizes[number]} */ { variants }, /** @type {string} */ name) =>
    figure(variants.find((variant) => variant.name === name)?.ratio)
  const audiences = [1, 3, 10, 100]
  return [
    {
      name: 'pipe',
      draw: (theme) =>
        bars(
          {
            title: 'Throughput, as a share of plaintext NATS',
            subtitle:
              'messages a second from one process to another through nats-server; dashed: plaintext in the same round',
            yLabel: '÷ plaintext',
            series: shown,
            reference: 1,
            groups: pipe.sizes.map((size) => ({
              label: bytes(size.size),
              bars: shown.map((name) => find(size, name)),
            })),
          },
          theme,
        ),
    },
    {
      name: 'pipe-audience',
      draw: (theme) =>
        lines(
          {
            title: 'Throughput by audience, mode session',
            subtitle:
              'sealed to so many instances, of which one subscribes; what goes to one alone shares frames',
            xLabel: 'recipients',
            yLabel: '÷ plaintext',
            scale: 'linear',
            xScale: 'log',
            formatX: (x) => `${x}`,
            formatY: (y) => `${y}`,
            series: pipe.sizes.map((size) => ({
              name: bytes(size.size),
              points: audiences.map((x) => ({ x, y: find(size, `session to ${x}`)?.value ?? Number.NaN })),
            })),
          },
          theme,
        ),
    },
  ]
}

/**
 * @param {Results} results
 * @returns {readonly Chart[]}
 */
function latencyCharts({ latency }) {
  if (latency === undefined) return []
  const series = ['channel', 'session', 'message']
  const groups = latency.transports.flatMap(({ tls, variants }) =>
    /** @type {const} */ (['p50Ratio', 'p99Ratio']).map((share) => ({
      label: `${share.slice(0, 3)}, ${tls ? 'with TLS' : 'without TLS'}`,
      bars: series.map((name) => figure(variants.find((variant) => variant.name === name)?.[share])),
    })),
  )
  return [
    {
      name: 'latency',
      draw: (theme) =>
        bars(
          {
            title: 'Request and reply, as a multiple of plaintext NATS',
            subtitle: `${bytes(latency.plan.size)} there and back, one request after the other; dashed: plaintext in the same round`,
            yLabel: '÷ plaintext',
            series,
            reference: 1,
            groups,
          },
          theme,
        ),
    },
  ]
}

/**
 * @param {Results} results
 * @returns {readonly Chart[]}
 */
function mcpCharts({ mcp }) {
  if (mcp === undefined) return []
  const inMs = (/** @type {Spread} */ { median, lower, upper }) => ({
    value: median / 1000,
    low: lower / 1000,
    high: upper / 1000,
  })
  return [
    {
      name: 'mcp',
      draw: (theme) =>
        bars(
          {
            title: 'Calling a tool of an MCP server',
            subtitle: 'tools/call echo, one after the other: the middle one',
            yLabel: 'ms',
            series: mcp.echoes[0]?.variants.map(({ name }) => name) ?? [],
            groups: mcp.echoes.map(({ size, variants }) => ({
              label: bytes(size),
              bars: variants.map(({ p50 }) => inMs(p50)),
            })),
          },
          theme,
        ),
    },
  ]
}

/**
 * @param {Results} results
 * @returns {readonly Chart[]}
 */
function sealCharts({ seal }) {
  if (seal === undefined) return []
  const alone = seal.peers.find(({ recipients }) => recipients === 1)
  const frames = seal.frames.find(({ size }) => size === 1024)
  const costs = [
    ...(frames?.kinds ?? []).map(({ name, seal: sealing, open }) => ({
      label: `frame, ${name}`,
      kind: 'subrosa, open session',
      figure: { value: sealing.median + open.median },
    })),
    ...(alone?.rows ?? []).map(({ name, sum, properties }) => ({
      label: name,
      kind: name.startsWith('subrosa')
        ? 'subrosa, message'
        : properties?.senderSigned && properties.freshEphemeral
          ? 'peer, same properties'
          : 'peer, without one of them',
      figure: { value: sum.median },
    })),
  ]
  const names = alone?.rows.map(({ name }) => name) ?? []
  return [
    {
      name: 'seal',
      draw: (theme) =>
        rows(
          {
            title: 'Sealing 1 KiB for one recipient and opening it',
            subtitle: 'without any I/O; logarithmic',
            xLabel: 'time of both together',
            format: duration,
            formatTick: tickDuration,
            rows: costs.toSorted((a, b) => a.figure.value - b.figure.value),
          },
          theme,
        ),
    },
    {
      name: 'seal-recipients',
      draw: (theme) =>
        lines(
          {
            title: 'Sealing 1 KiB for many recipients',
            subtitle: 'one message; both axes logarithmic',
            xLabel: 'recipients',
            yLabel: 'time to seal',
            scale: 'log',
            formatX: (x) => x.toLocaleString('en'),
            formatY: tickDuration,
            series: names.map((name) => ({
              name: name.replace('subrosa message', 'subrosa').replace('libsodium sealed box', 'sealed box'),
              points: seal.peers.flatMap(({ recipients, rows: all }) => {
                const y = all.find((row) => row.name === name)?.seal.median
                return y === undefined ? [] : [{ x: recipients, y }]
              }),
            })),
          },
          theme,
        ),
    },
  ]
}

/**
 * @param {Spread | undefined} spread
 * @returns {import('./charts.mjs').Figure | undefined}
 */
function figure(spread) {
  return spread === undefined ? undefined : { value: spread.median, low: spread.lower, high: spread.upper }
}
