import type { Direction } from '../support/hostile-line/nats-op.ts'

/** What the line does to single messages. */
export const MESSAGE_FAULTS = [
  'drop',
  'delay',
  'duplicate',
  'reorder',
  'replay',
  'inject junk',
  'inject copied key ids',
  'alter payload',
  'alter headers',
  'move to another subject',
  'move to another sid',
  'rewrite reply',
  'partition',
] as const
type MessageFault = (typeof MESSAGE_FAULTS)[number]

/** What happens to agents, beside what happens to messages. */
const AGENT_FAULTS = [
  'clock ahead',
  'clock behind',
  'suspend',
  'cut',
  'restart in a storm',
  'resubscribe',
  'hostile member',
] as const
type AgentFault = (typeof AGENT_FAULTS)[number]

/** What happens to the realm: its rotation services, its plans and its members. */
const REALM_FAULTS = [
  'service restarts',
  'service lost',
  'service clock',
  'service suspended',
  'plan renewed',
  'service replaced',
  'revocation',
  'outcast speaks',
  'divided',
] as const
type RealmFault = (typeof REALM_FAULTS)[number]

export const FAULT_KINDS: readonly FaultKind[] = [...MESSAGE_FAULTS, ...AGENT_FAULTS, ...REALM_FAULTS]
export type FaultKind = MessageFault | AgentFault | RealmFault

/** Sorts of the protocol's subjects, by the token after their root. */
export const PROTOCOL_AIMS = [
  'ping',
  'tick',
  'plan',
  'revoke',
  'announce',
  'query',
  'inbox',
  'session',
  'handshake',
] as const

/** Which messages a fault is for: those of applications, or those of the protocol, or one sort of the latter. */
export type FaultAim = 'application' | 'protocol' | 'everything' | (typeof PROTOCOL_AIMS)[number]

/** A fault that lasts for one storm. */
export interface Fault {
  readonly kind: MessageFault
  readonly aim: FaultAim
  readonly direction: Direction
  /** Of the messages that it is for, on each connection, every so-manieth is hit. */
  readonly every: number
  /** Chooses how, in the way of the kind. */
  readonly amount: number
}
