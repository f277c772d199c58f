import type { NatsMessage } from '../bus/nats-like.ts'
import type { ProtocolSubjects } from '../keys/subjects.ts'

/** Who has asked something, as the subject says. A broker that lets each login publish below its own name makes that true. */
export interface Asker {
  /** The agent's name; `_` of whoever has no identity. */
  readonly name: string
  /** In hexadecimal. */
  readonly instance: string
  /** Where the answer goes. */
  readonly inbox: string
}

const INSTANCE = /^[0-9a-f]{16}$/

/**
 * The asker of a ping or a query: the last two tokens of its subject.
 *
 * @returns `undefined` where the answer would not go to the inbox of that very instance: nothing is reflected elsewhere
 */
export function askerOf(
  { subject, reply }: Pick<NatsMessage, 'subject' | 'reply'>,
  { root }: Pick<ProtocolSubjects, 'root'>,
): Asker | undefined {
  const [name, instance] = subject.split('.').slice(-2)
  if (name === undefined || instance === undefined || !INSTANCE.test(instance)) return undefined
  const inbox = `${root}.inbox.${instance}`
  return reply === inbox ? { name, instance, inbox } : undefined
}
