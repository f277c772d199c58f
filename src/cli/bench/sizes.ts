import { InvalidArgumentError } from 'commander'
import { MAX_MESSAGE_BYTES } from '../../base/limits.ts'

const KIB = 1024
const MIB = KIB * KIB
const GIB = MIB * KIB

/**
 * Bytes of a size such as `128`, `1KB` or `2MiB`. As to the `nats` command, a KB has 1024.
 *
 * @throws InvalidArgumentError for anything else, and for what no message can hold
 */
export function parseSize(text: string): number {
  const [, count, unit = ''] = /^(\d+)(b|[km]i?b?)?$/i.exec(text) ?? []
  if (count === undefined) throw new InvalidArgumentError('Use a size such as 128, 1KB or 1MB.')
  const bytes = Number(count) * bytesOf(unit.toLowerCase())
  if (bytes < 1 || bytes > MAX_MESSAGE_BYTES)
    throw new InvalidArgumentError(`A message has 1 to ${MAX_MESSAGE_BYTES} bytes.`)
  return bytes
}

/** Bytes for people, such as `1.5 MiB`. */
export function sizeShown(bytes: number): string {
  if (bytes < KIB) return `${Math.round(bytes)} B`
  if (bytes < MIB) return `${rounded(bytes / KIB)} KiB`
  if (bytes < GIB) return `${rounded(bytes / MIB)} MiB`
  return `${rounded(bytes / GIB)} GiB`
}

function bytesOf(unit: string): number {
  if (unit.startsWith('m')) return MIB
  return unit.startsWith('k') ? KIB : 1
}

function rounded(count: number): string {
  return String(Number(count.toFixed(1)))
}
