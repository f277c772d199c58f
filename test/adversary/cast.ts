import type { Permissions } from '../../src/identity/permissions.ts'
import type { ClientLine } from '../support/client.ts'
import { may } from '../support/identities.ts'

/** The agents that take part in every schedule. */
export const AGENTS = ['alice', 'bob', 'carol', 'dave'] as const
export type AgentName = (typeof AGENTS)[number]
/** What whoever runs the realm is called on the line. */
export const OPERATOR = 'operator'
/** What rotation services are called: this, and a number. */
export const ROTATOR = 'rotator-'
/** What a member is called that will be revoked: this, and a number. */
export const OUTCAST = 'eve-'
/** The agent whose keys and token somebody hostile has too: a {@link HostileMember}. */
export const TRAITOR: AgentName = 'carol'

/** One of an agent's standing subscriptions, without the prefix of its schedule. */
interface Standing {
  readonly pattern: string
  readonly queue?: string
  /** Whether it responds to what it gets. */
  readonly responds?: boolean
}

/** What an agent is for. Misrouting matters: carol may chat and no more, and bob's handlers do not look at subjects. */
interface Part {
  readonly client: ClientLine
  /** Subjects that its token lets it publish on, and those that it does publish on. */
  readonly pub: readonly string[]
  readonly publishes: readonly string[]
  /** Patterns that its token lets it read. */
  readonly sub: readonly string[]
  readonly standing: readonly Standing[]
}

export const CAST: Readonly<Record<AgentName, Part>> = {
  alice: {
    client: '@nats-io',
    pub: ['chat.>', 'payments.>', 'work.>', 'tools.>'],
    publishes: ['chat.room', 'chat.side', 'payments.approve', 'payments.review', 'work.jobs'],
    sub: ['chat.>', 'alerts.>'],
    standing: [{ pattern: 'chat.>' }, { pattern: 'alerts.fire' }],
  },
  bob: {
    client: 'nats',
    pub: ['chat.>', 'alerts.>'],
    publishes: ['chat.room', 'alerts.fire', 'alerts.flood'],
    sub: ['payments.>', 'chat.>', 'work.>', 'tools.>'],
    standing: [
      { pattern: 'payments.approve' },
      { pattern: 'payments.review' },
      { pattern: 'chat.>' },
      { pattern: 'work.jobs', queue: 'workers' },
      { pattern: 'tools.echo', responds: true },
    ],
  },
  carol: {
    client: '@nats-io',
    pub: ['chat.>', 'tools.>'],
    publishes: ['chat.room', 'chat.side'],
    sub: ['chat.>', 'alerts.>'],
    standing: [{ pattern: 'chat.room' }, { pattern: 'chat.*' }, { pattern: 'alerts.fire' }],
  },
  dave: {
    client: 'nats',
    pub: ['chat.>', 'payments.review', 'tools.>'],
    publishes: ['chat.side', 'payments.review'],
    sub: ['work.>', 'tools.>', 'chat.>', 'payments.review'],
    standing: [
      { pattern: 'work.jobs', queue: 'workers' },
      { pattern: 'chat.>' },
      { pattern: 'payments.review' },
      { pattern: 'tools.sum', responds: true },
    ],
  },
}

/** Where requests go, and who may make them. */
export const TOOLS = ['tools.echo', 'tools.sum'] as const
export const REQUESTERS: readonly AgentName[] = ['alice', 'carol', 'dave']

/** What subscriptions that come and go are to: what the agent may read of these. */
export const PASSING_PATTERNS = [
  'chat.room',
  'chat.*',
  'payments.*',
  'alerts.>',
  'work.jobs',
  'payments.approve',
]

/** The permissions of an agent in a schedule whose subjects begin with this prefix. */
export function permissionsOf(name: AgentName, prefix: string): Permissions {
  const { pub, sub } = CAST[name]
  const prefixed = (patterns: readonly string[]): string[] => patterns.map((one) => `${prefix}.${one}`)
  return may(prefixed(pub), prefixed(sub))
}
