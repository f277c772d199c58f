import { setImmediate as turn } from 'node:timers/promises'
import type { Sending } from './client.ts'
import type { Measured } from './run.ts'

/** A turn of the event loop publishes so much at most. */
const TURN_MSGS = 256
const TURN_BYTES = 1024 * 1024
const TURN_MS = 10
/** How often within a turn the time is looked at: each look costs something too. */
const LOOK_AFTER_MSGS = 16
/** So much is on its way before the broker is asked whether it has it. */
const WINDOW_BYTES = 4 * 1024 * 1024
const WINDOW_MS = 100

/** What one client publishes. */
export interface PublishingShare {
  readonly sending: Sending
  /** How many together; default one by one. */
  readonly many: number | undefined
  readonly count: number
  /** Ends it early. */
  readonly signal: AbortSignal
}

/**
 * Publishes as fast as it goes. What counts is what the broker has: it is asked now and then, and publishing goes on
 * meanwhile, with no more than two windows under way.
 *
 * @throws what publishing and flushing throw
 */
export async function publishShare(
  { client, tally }: Measured,
  { sending, many = 1, count, signal }: PublishingShare,
): Promise<void> {
  const publish = client.publisher(sending, many > 1)
  const size = sending.payload.length
  const confirm = async (msgs: number): Promise<void> => {
    await client.flush()
    tally.add(msgs, msgs * size)
  }
  let left = count
  const send = (most: number): number => {
    const msgs = Math.min(most, left)
    publish(msgs)
    left -= msgs
    return msgs
  }
  tally.begin()
  // The first goes alone: it opens the session that the others are in.
  let confirming = confirm(send(1))
  await confirming
  while (left > 0 && !signal.aborted) {
    const endsAt = performance.now() + WINDOW_MS
    let msgs = 0
    while (left > 0 && !signal.aborted && msgs * size < WINDOW_BYTES && performance.now() < endsAt) {
      msgs += publishTurn(() => send(many), size)
      await turn()
    }
    await confirming
    confirming = confirm(msgs)
    // It is awaited after the next window.
    confirming.catch(() => {})
  }
  await confirming
}

function publishTurn(send: () => number, size: number): number {
  const endsAt = performance.now() + TURN_MS
  let msgs = 0
  const isFull = (): boolean => msgs >= TURN_MSGS || msgs * size >= TURN_BYTES
  while (!isFull() && performance.now() < endsAt) {
    for (const before = msgs; msgs < before + LOOK_AFTER_MSGS && !isFull(); ) {
      const sent = send()
      if (sent === 0) return msgs
      msgs += sent
    }
  }
  return msgs
}
