import type { SecureConnection } from '../bus/connection.ts'
import type { Sender } from '../bus/message.ts'

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
 * @throws SubrosaError ERR_TIMEOUT with a hint that says who is missing and why; where somebody is named, sending
 *   says that
 */
export async function awaitAudience(
  bus: SecureConnection,
  subject: string,
  { to, atLeast, timeoutMs }: AudienceOptions,
): Promise<void> {
  if (to === undefined) {
    if (atLeast > 0) await bus.waitForAudience(subject, { atLeast, timeout: timeoutMs })
    return
  }
  const deadline = performance.now() + timeoutMs
  while (!hasAll(bus.audience(subject), to) && performance.now() < deadline)
    await new Promise((resolve) => setTimeout(resolve, CHECK_MS))
}
