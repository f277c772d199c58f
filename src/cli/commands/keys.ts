import { type Command, InvalidArgumentError, Option } from 'commander'
import { SubrosaError } from '../../base/errors.ts'
import { printable, printableJson } from '../../base/printable.ts'
import { isSubject } from '../../base/subject.ts'
import type { Observation } from '../../bus/realm/observe-realm.ts'
import type { SubjectRules } from '../../identity/permissions.ts'
import { listRevocations } from '../../setup/revocation-records.ts'
import { addBrokerOptions, type BrokerOptions, givenOptions } from '../realm/broker-options.ts'
import { findRealm } from '../realm/find-realm.ts'
import { observe } from '../realm/observe.ts'
import {
  type AgentView,
  agentsOf,
  type RevokedView,
  revokedOf,
  type SubjectView,
  subjectOf,
} from '../terminal/keys-view.ts'
import { addExamples, parseName } from '../terminal/options.ts'
import { formatTable } from '../terminal/table.ts'
import { note, type Terminal } from '../terminal/terminal.ts'
import { durationShown, whenShown } from '../terminal/times.ts'

interface KeysOptions extends BrokerOptions {
  readonly subject?: string
  readonly json?: true
}

type Rows = readonly (readonly string[])[]

/** Registers `subrosa keys`. */
export function registerKeys(program: Command, terminal: Terminal): void {
  const command = program
    .command('keys')
    .description('show who has announced keys in a realm, and who is revoked; looking announces nothing')
    .argument('[name]', 'this agent alone', parseName)
    .addOption(
      new Option(
        '--subject <subject>',
        'who would get a message on it, who may publish it, and who not and why',
      ).argParser(parseSubject),
    )
    .option('--json', 'as JSON, with everything that is known')
    .action((name: string | undefined, options: KeysOptions) => keys(terminal, name, options))
  addBrokerOptions(command)
  addExamples(
    command,
    'subrosa keys --as billing',
    'subrosa keys --as billing --subject orders.new',
    "subrosa keys billing --context prod --authority AB… --json | jq '.agents[].fingerprint'",
  )
}

function parseSubject(text: string): string {
  if (!isSubject(text)) throw new InvalidArgumentError('Use a subject without wildcards, such as orders.new.')
  return text
}

async function keys(terminal: Terminal, name: string | undefined, options: KeysOptions): Promise<void> {
  const { subject, json } = options
  const observation = await observe(terminal, options, 'subrosa keys')
  const isWanted = (item: { readonly name?: string }): boolean => name === undefined || item.name === name
  const agents = agentsOf(observation).filter(isWanted)
  const revoked = revokedOf(observation, await revokedNamesIn(terminal, options)).filter(isWanted)
  const about = subject === undefined ? undefined : only(subjectOf(observation, subject), isWanted)
  if (json) terminal.data(printableJson(allOf(observation, { agents, revoked, subject: about })))
  else if (about !== undefined) print(terminal, subjectRows(about))
  else printAll(terminal, agents, revoked)
  if (name !== undefined && agents.length === 0 && revoked.length === 0) {
    throw new SubrosaError('ERR_EMPTY_AUDIENCE', `nobody called ${name} has announced keys`, {
      hint: 'is it running, and is its clock right? `subrosa keys` shows who is there',
    })
  }
}

/** Whose identities the realm's folder knows as revoked: no service hands out their tokens any more. */
async function revokedNamesIn(
  terminal: Terminal,
  options: KeysOptions,
): Promise<ReadonlyMap<string, string>> {
  const { realm } = (await findRealm(terminal, givenOptions(terminal, options))) ?? {}
  const records = realm === undefined ? [] : await listRevocations(realm, 0)
  return new Map(records.map(({ identity, name }) => [identity, name]))
}

function only(view: SubjectView, isWanted: (item: { readonly name: string }) => boolean): SubjectView {
  const { recipients, publishers, absent } = view
  return {
    ...view,
    recipients: recipients.filter(isWanted),
    publishers: publishers.filter(isWanted),
    absent: absent.filter(isWanted),
  }
}

function allOf(
  { newest, previous, plan, services, takenAt }: Observation,
  found: {
    readonly agents: readonly AgentView[]
    readonly revoked: readonly RevokedView[]
    readonly subject: SubjectView | undefined
  },
) {
  const epochs = [newest, ...(previous === undefined ? [] : [previous])]
  return {
    realm: newest.realm,
    takenAt: whenShown(takenAt),
    plan: plan.version,
    rotators: services.map(({ rotator, condition }) => ({ key: rotator, condition })),
    epochs: epochs.map(({ number, notBefore, notAfter }) => ({
      number,
      since: whenShown(notBefore),
      until: whenShown(notAfter),
    })),
    ...found,
  }
}

function printAll(terminal: Terminal, agents: readonly AgentView[], revoked: readonly RevokedView[]): void {
  if (agents.length > 0) print(terminal, agentRows(agents))
  else note(terminal, 'nobody who is asked for has announced keys')
  if (revoked.length === 0) return
  if (agents.length > 0) terminal.data('')
  print(terminal, revokedRows(revoked))
}

function print(terminal: Terminal, rows: Rows): void {
  for (const line of formatTable(rows.map((row) => row.map(printable)))) terminal.data(line)
}

function agentRows(agents: readonly AgentView[]): Rows {
  const header = ['AGENT', 'INSTANCE', 'EPOCHS', 'AGE', 'MAY PUBLISH', 'MAY READ', 'EXPIRES', 'ROLES']
  const rows = agents.flatMap(({ name, instances }) =>
    instances.map(({ instance, epochs, ageMs, permissions, expires, roles }) => [
      name,
      instance,
      epochs.join(','),
      durationShown(ageMs),
      rulesText(permissions.pub),
      rulesText(permissions.sub),
      expires,
      roles.join(',') || '-',
    ]),
  )
  return [header, ...rows]
}

function revokedRows(revoked: readonly RevokedView[]): Rows {
  const header = ['REVOKED', 'IDENTITY', 'SINCE', 'REASON']
  return [
    header,
    ...revoked.map(({ name = '-', identity, since, reason }) => [name, identity, since, reason || '-']),
  ]
}

/** A line for each instance that would get it or may publish it, and for each agent that would not. */
function subjectRows({ recipients, publishers, absent }: SubjectView): Rows {
  const rows = new Map<string, { name: string; instance: string; reads: boolean; publishes: boolean }>()
  const at = ({ name, instance }: { readonly name: string; readonly instance: string }) => {
    const row = rows.get(instance) ?? { name, instance, reads: false, publishes: false }
    rows.set(instance, row)
    return row
  }
  for (const recipient of recipients) at(recipient).reads = true
  for (const publisher of publishers) at(publisher).publishes = true
  const present = [...rows.values()].map(({ name, instance, reads, publishes }) => [
    name,
    instance,
    reads ? 'yes' : 'no',
    publishes ? 'yes' : 'no',
    (reads ? undefined : absent.find((other) => other.name === name)?.why) ?? '',
  ])
  const shown = new Set([...rows.values()].map(({ name }) => name))
  const others = absent
    .filter(({ name }) => !shown.has(name))
    .map(({ name, why }) => [name, '-', 'no', 'no', why])
  return [['AGENT', 'INSTANCE', 'GETS IT', 'MAY PUBLISH', 'WHY NOT'], ...present, ...others]
}

/** Patterns, and with an exclamation mark those that are denied. */
function rulesText({ allow, deny }: SubjectRules): string {
  return [...allow, ...deny.map((pattern) => `!${pattern}`)].join(' ') || '-'
}
