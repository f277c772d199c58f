import { setTimeout as pause } from 'node:timers/promises'
import { SubrosaError } from '../../base/errors.ts'
import type { SecureConnection } from '../../bus/connection.ts'
import type { Sender } from '../../bus/messages/message.ts'

const CHECK_MS = 50

/** Whom a message must reach before it is sent. */
export interface AudienceOptions {
  /** These recipients, and nobody else. */
  readonly to: readonly string[] | undefined
  /** So many other instances, where nobody is named. */
  readonly atLeast: number
  readonly timeoutMs: number
}

/**
 * Waits until somebody else can read the subject, or everyone who is named: who has just started may not know the
 * others yet. A message that only its sender could read would be lost without a word.
 *
 * @throws SubrosaError ERR_EMPTY_AUDIENCE with a hint that says who is missing and why; where somebody is named,
 *   sending says that
 */
export async function awaitAudience(
  bus: SecureConnection,
  subject: string,
  { to, atLeast, timeoutMs }: AudienceOptions,
): Promise<void> {
  if (to !== undefined) await awaitNamed(bus, subject, { to, timeoutMs })
  else if (atLeast > 0) await awaitOthers(bus, subject, { atLeast, timeoutMs })
}

/** Those instances of an audience that recipients name, by an agent's name or by `name/instance`. */
export function namedIn(audience: readonly Sender[], to: readonly string[] | undefined): readonly Sender[] {
  return to === undefined ? audience : audience.filter((member) => to.some((name) => isNamed(member, name)))
}

async function awaitNamed(
  bus: SecureConnection,
  subject: string,
  { to, timeoutMs }: { readonly to: readonly string[]; readonly timeoutMs: number },
): Promise<void> {
  const deadline = performance.now() + timeoutMs
  const isComplete = (): boolean => {
    const audience = bus.audience(subject)
    return to.every((name) => audience.some((member) => isNamed(member, name)))
  }
  while (!isComplete() && performance.now() < deadline) await pause(CHECK_MS)
}

async function awaitOthers(
  bus: SecureConnection,
  subject: string,
  { atLeast, timeoutMs }: { readonly atLeast: number; readonly timeoutMs: number },
): Promise<void> {
  try {
    await bus.waitForAudience(subject, { atLeast, timeout: timeoutMs })
  } catch (error) {
    if (!(error instanceof SubrosaError) || error.code !== 'ERR_TIMEOUT') throw error
    throw new SubrosaError('ERR_EMPTY_AUDIENCE', `nothing was sent: ${error.message}`, {
      hint: `${error.hint}; --wait-for 0 sends at once to whoever is there`,
    })
  }
}

function isNamed({ name, instance }: Sender, wanted: string): boolean {
  return wanted === name || wanted === `${name}/${instance}`
}
