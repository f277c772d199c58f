import { bars, lines } from './charts.mjs'
import { bytes, digits, tickDuration } from './report.ts'

/**
 * @typedef {import('./results.mjs').Results} Results
 * @typedef {import('./stats.ts').Spread} Spread
 * @typedef {import('./figures.mjs').Chart} Chart
 */

/** Of the chart over sizes. */
const SIZE_TICKS = [64, 1024, 16_384, 262_144, 1_048_576]

/**
 * @param {Results} results
 * @returns {readonly Chart[]}
 */
export function scaleCharts({ scale }) {
  if (scale === undefined) return []
  const { agents, sizes, recipients } = scale
  const log = {
    scale: /** @type {const} */ ('log'),
    formatX: (/** @type {number} */ x) => x.toLocaleString('en'),
    formatY: tickDuration,
  }
  return [
    {
      name: 'scale-agents',
      draw: (theme) =>
        lines(
          {
            ...log,
            title: 'Agents in the realm',
            subtitle: `slope from 100 agents on: ready ${digits(agents.slopes.ready)}, rotation settled ${digits(agents.slopes.settle)} (1: proportional)`,
            xLabel: 'agents that have announced themselves',
            yLabel: 'time',
            series: [
              {
                name: 'ready: all proved',
                points: agents.rows.map(({ agents: x, readyMs }) => us(x, readyMs)),
              },
              {
                name: 'secure() resolves',
                points: agents.rows.map(({ agents: x, joinedMs }) => us(x, joinedMs)),
              },
              {
                name: 'rotation settled',
                points: agents.rows.map(({ agents: x, settleMs }) => us(x, settleMs)),
              },
            ],
          },
          theme,
        ),
    },
    {
      name: 'scale-size',
      draw: (theme) =>
        lines(
          {
            ...log,
            title: 'Size of a message: sealing and opening',
            subtitle: `one recipient, libsodium; slope from 16 KiB on: message ${digits(sizes.slopes.message)}, session ${digits(sizes.slopes.session)}, channel ${digits(sizes.slopes.channel)}`,
            xLabel: 'payload',
            xTicks: SIZE_TICKS,
            formatX: bytes,
            yLabel: 'time of both together',
            series: /** @type {const} */ (['message', 'session', 'channel']).map((kind) => ({
              name: kind,
              points: sizes.rows.map((row) => ({ x: row.size, y: row[kind].median })),
            })),
          },
          theme,
        ),
    },
    {
      name: 'scale-recipients',
      draw: (theme) =>
        lines(
          {
            ...log,
            title: 'Recipients of a self-contained message of 1 KiB',
            subtitle: `libsodium; slope from 10 recipients on: seal ${digits(recipients.slopes.seal)}, open ${digits(recipients.slopes.open)}`,
            xLabel: 'recipients',
            yLabel: 'time',
            series: /** @type {const} */ (['seal', 'open']).map((part) => ({
              name: part,
              points: recipients.rows.map((row) => ({ x: row.recipients, y: row[part].median })),
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
export function bytesCharts({ bytes: measured }) {
  if (measured === undefined) return []
  const padded = measured.rows.filter(({ recipients, padding }) => recipients === 1 && padding === 'padme')
  const kinds = /** @type {const} */ ([
    ['channel', 'channel'],
    ['publishMany(64)', 'many'],
    ['session, one a turn', 'sessionAlone'],
    ['session, 64 a turn', 'sessionBatch'],
    ['message', 'message'],
  ])
  return [
    {
      name: 'bytes',
      draw: (theme) =>
        bars(
          {
            title: 'Bytes that sealing adds to a message',
            subtitle: 'one recipient, lengths padded (the default); a handshake of each session comes once',
            yLabel: 'bytes',
            series: kinds.map(([name]) => name),
            groups: padded.map((row) => ({
              label: bytes(row.size),
              bars: kinds.map(([, key]) => {
                const value = row[key]
                return value === undefined ? undefined : { value }
              }),
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
export function memoryCharts({ memory }) {
  if (memory === undefined) return []
  const mib = 2 ** 20
  const series = /** @type {const} */ (['publisher', 'subscriber']).flatMap((end) => [
    {
      name: `${end}, heap`,
      points: memory.samples.map((sample) => ({
        x: sample.messages,
        y: (sample[end].heapUsed + sample[end].external) / mib,
      })),
    },
    {
      name: `${end}, RSS`,
      points: memory.samples.map((sample) => ({ x: sample.messages, y: sample[end].rss / mib })),
    },
  ])
  return [
    {
      name: 'memory',
      draw: (theme) =>
        lines(
          {
            title: `Memory over ${memory.messages.toLocaleString('en')} messages`,
            subtitle: `mode session, ${bytes(memory.size)}; after garbage collection`,
            xLabel: 'messages',
            yLabel: 'MiB',
            scale: 'linear',
            formatX: (x) => x.toLocaleString('en'),
            formatY: (y) => `${y}`,
            series,
          },
          theme,
        ),
    },
  ]
}

/**
 * @param {number} x
 * @param {Spread} ms
 */
function us(x, ms) {
  return { x, y: ms.median * 1000 }
}
