import type { Command } from 'commander'
import { hex } from '../../base/bytes.ts'
import { SubrosaError } from '../../base/errors.ts'
import { DEFAULT_LEAD_MS } from '../../base/limits.ts'
import { printable, printableJson } from '../../base/printable.ts'
import type { Observation } from '../../bus/realm/observe-realm.ts'
import { fingerprint } from '../../identity/fingerprint.ts'
import type { VerifiedClaims } from '../../identity/trust.ts'
import { instanceKey } from '../../keys/announcement-store.ts'
import type { AcceptedEpoch } from '../../keys/epochs.ts'
import { addBrokerOptions, type BrokerOptions } from '../realm/broker-options.ts'
import { observe } from '../realm/observe.ts'
import { addExamples } from '../terminal/options.ts'
import { formatTable } from '../terminal/table.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { durationShown, whenShown } from '../terminal/times.ts'

const HASH_PREFIX_DIGITS = 16

interface RotateStatusOptions extends BrokerOptions {
  readonly json?: true
}

/** Registers `subrosa rotate status`. */
export function registerRotateStatus(rotate: Command, terminal: Terminal): void {
  const command = rotate
    .command('status')
    .description('show the newest epoch, who has keys for it, and how the rotation service is')
    .option('--json', 'as JSON')
    .action((options: RotateStatusOptions) => status(terminal, options))
  addBrokerOptions(command)
  addExamples(
    command,
    'subrosa rotate status --as billing',
    'subrosa rotate status --context prod --authority AB… --json | jq .epoch.number',
  )
}

async function status(terminal: Terminal, options: RotateStatusOptions): Promise<void> {
  const view = statusOf(await observe(terminal, options, 'subrosa rotate status'))
  if (options.json) terminal.data(printableJson(view))
  else for (const line of formatTable(rowsOf(view))) terminal.data(line)
  if (view.epoch.isOver) {
    throw new SubrosaError(
      'ERR_STALE',
      `epoch ${view.epoch.number} is over, and the rotation service has published no other`,
      { hint: 'nobody can send anything until it has: look at what the rotation service says' },
    )
  }
}

type StatusView = ReturnType<typeof statusOf>

function statusOf(observation: Observation) {
  const { newest, previous, epochSigner, rotator, tick, tickCameAt, takenAt, revocations } = observation
  const live = observation.directory.live(takenAt)
  const announcedFor = (epoch: AcceptedEpoch): number =>
    live.filter(({ announcement }) => announcement.epoch === epoch.number).length
  const isOver = ({ notAfter }: AcceptedEpoch): boolean => notAfter <= takenAt
  return {
    realm: newest.realm,
    takenAt: whenShown(takenAt),
    instances: new Set(live.map(instanceKey)).size,
    epoch: {
      number: newest.number,
      hash: hex(newest.hash),
      since: whenShown(newest.notBefore),
      until: whenShown(newest.notAfter),
      leftMs: Math.max(0, newest.notAfter - takenAt),
      isOver: isOver(newest),
      /** By the usual lead: an epoch does not say its own. */
      nextUsually: whenShown(Math.max(newest.notBefore, newest.notAfter - DEFAULT_LEAD_MS)),
      graceMs: newest.graceMs,
      suites: newest.suites,
      signedBy: epochSigner === undefined ? 'an authority' : signerOf(epochSigner),
      announced: announcedFor(newest),
    },
    previous: previous && {
      number: previous.number,
      hash: hex(previous.hash),
      until: whenShown(previous.notAfter),
      isOver: isOver(previous),
      announced: announcedFor(previous),
    },
    rotator: signerOf(rotator),
    tick: { now: whenShown(tick.now), ageMs: takenAt - tickCameAt, clockAheadMs: tick.now - tickCameAt },
    revocations: revocations.length,
  }
}

function signerOf({ name, identity, expiresAt }: VerifiedClaims) {
  return { name, identity, fingerprint: fingerprint(identity), expires: whenShown(expiresAt * 1000) }
}

function rowsOf({ realm, instances, epoch, previous, rotator, tick, revocations }: StatusView): string[][] {
  const { signedBy } = epoch
  const rows = [
    ['realm', realm],
    ['epoch', `${epoch.number}  ${epoch.hash.slice(0, HASH_PREFIX_DIGITS)}`],
    ['  since', epoch.since],
    [
      '  until',
      epoch.isOver ? `${epoch.until} (over)` : `${epoch.until} (${durationShown(epoch.leftMs)} left)`,
    ],
    [
      '  next',
      `at the latest then; by the usual lead of ${durationShown(DEFAULT_LEAD_MS)} at ${epoch.nextUsually}`,
    ],
    ['  grace', durationShown(epoch.graceMs)],
    ['  suites', epoch.suites.join(', ')],
    ['  signed by', typeof signedBy === 'string' ? signedBy : `${signedBy.name} ${signedBy.identity}`],
    ['  announced', `by ${epoch.announced} of ${instances} live instances`],
    ...(previous === undefined ? [] : [previousRow(previous, instances)]),
    ['rotation service', `${rotator.name} ${rotator.identity}`],
    ['  its token', `expires ${rotator.expires}`],
    ['  its tick', `${tick.now}, ${durationShown(tick.ageMs)} ago`],
    ['  its clock', clockText(tick.clockAheadMs)],
    ['revocations', `${revocations} in force`],
  ]
  return rows.map((row) => row.map(printable))
}

function previousRow(
  { number, until, isOver, announced }: NonNullable<StatusView['previous']>,
  instances: number,
): string[] {
  const standing = isOver
    ? `over since ${until}`
    : `until ${until}, announced by ${announced} of ${instances} live instances`
  return ['previous epoch', `${number}  ${standing}`]
}

/** As far as can be seen from here: the way of the tick is part of it. */
function clockText(aheadMs: number): string {
  if (aheadMs === 0) return 'as here'
  return `${durationShown(Math.abs(aheadMs))} ${aheadMs > 0 ? 'ahead' : 'behind'}`
}
