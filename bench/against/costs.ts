import { startWorker } from '../lib/process.mjs'
import { bytes } from '../lib/report.ts'
import { orderOf } from '../lib/rounds.ts'
import type { CostRound, Kind } from '../workers/costs.ts'
import type { Metric } from './findings.ts'
import type { Sitting } from './sitting.ts'

const BATCH = 64
const MESSAGE_SIZE = 1024
const FRAME_SIZES = [128, 1024, 16_384]

const METRICS = {
  seal: { name: 'seal', unit: 'µs', better: 'lower' },
  open: { name: 'open', unit: 'µs', better: 'lower' },
} satisfies Readonly<Record<string, Metric>>

const KINDS: readonly Kind[] = [
  { engine: 'libsodium', size: MESSAGE_SIZE, recipients: 1 },
  { engine: 'libsodium', size: MESSAGE_SIZE, recipients: 3 },
  { engine: 'noble', size: MESSAGE_SIZE, recipients: 1 },
  ...FRAME_SIZES.flatMap((size): readonly Kind[] => [
    { engine: 'libsodium', size, mode: 'channel', batch: 1 },
    { engine: 'libsodium', size, mode: 'session', batch: BATCH },
    { engine: 'libsodium', size, mode: 'session', batch: 1 },
  ]),
]

/** Sealing and opening without any I/O, of both checkouts in one process, in short slices that take turns. */
export async function compareCosts({ folders, number, plan, findings, signal }: Sitting): Promise<void> {
  const worker = startWorker('costs.ts', { signal })
  const both = (['before', 'after'] as const).map((name) => ({ name, folder: folders[name] }))
  try {
    for (const kind of KINDS) {
      const row = nameOf(kind)
      const obstacle: string | undefined = await worker.call('obstacle', { folder: folders.before, kind })
      if (obstacle !== undefined) {
        findings.skip(`${row}: the commit before cannot be measured: ${obstacle}`)
        continue
      }
      const task = { kind, plan: plan.slices, folders: orderOf(both, number) }
      const rounds: readonly CostRound[] = await worker.call('measure', task)
      const isMessage = 'recipients' in kind
      const title = isMessage ? 'a message, without I/O' : 'a frame of an open session, without I/O'
      const each = isMessage ? 1 : kind.batch
      for (const part of ['seal', 'open'] as const)
        findings.add(
          { title, row, metric: METRICS[part] },
          rounds.map(({ before, after }) => ({ before: before[part] / each, after: after[part] / each })),
        )
    }
  } finally {
    await worker.stop()
  }
}

function nameOf(kind: Kind): string {
  const size = bytes(kind.size)
  if ('recipients' in kind) return `${size} to ${kind.recipients}, ${kind.engine}`
  if (kind.mode === 'channel') return `channel, ${size}`
  return `session, ${kind.batch === 1 ? 'one' : kind.batch} a turn, ${size}`
}
