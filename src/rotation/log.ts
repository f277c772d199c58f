/** What a log may hold. */
export type LogKind = 'epoch' | 'revocation'

/** One entry of a log: whatever somebody has put there. Nothing of it is verified. */
export interface LogEntry {
  readonly kind: LogKind
  readonly bytes: Uint8Array
}

/** What was read of a log, oldest first. */
export interface LogReading {
  readonly entries: readonly LogEntry[]
  /** Whether this is all that the log holds, and not only what came since the last reading. */
  readonly isWhole: boolean
}

/** What the replicas of a rotation service share, and where it is. `jetStreamRotationLog` of `subrosa/jetstream` makes one. */
export interface RotationLog {
  /**
   * Opens it, and makes it where it is not there.
   *
   * @param root the first tokens of the realm's subjects
   * @param onAppended called when something may have been appended, by whomever
   * @throws SubrosaError ERR_SETUP, ERR_STATE, ERR_TIMEOUT
   */
  open(root: string, onAppended: () => void): Promise<OpenLog>
}

/**
 * A log that is open. The replicas do not believe it: what they read they verify, and compare with their own records.
 * SPEC, "Replicas".
 */
export interface OpenLog {
  readonly lease: Lease
  /**
   * What was appended since the last reading. It is everything at first, after {@link rewind}, and where this is not
   * the log any more that was read before: made anew, or set back.
   *
   * @throws SubrosaError ERR_SETUP, ERR_STATE, ERR_TIMEOUT
   */
  read(): Promise<LogReading>
  /** Has the next reading begin at the beginning. */
  rewind(): void
  /**
   * Appends an epoch, unless there is one that has not been read yet. It is durable when this resolves.
   *
   * @returns whether it was appended
   * @throws SubrosaError when it is not known whether it was: ERR_SETUP, ERR_STATE, ERR_TIMEOUT
   */
  appendEpoch(bytes: Uint8Array): Promise<boolean>
  /** Appends a revocation. It is durable when this resolves. @throws SubrosaError ERR_SETUP, ERR_STATE, ERR_TIMEOUT */
  appendRevocation(bytes: Uint8Array): Promise<void>
  /** Tells of nothing any more. What was appended stays. */
  close(): void
}

/** What at most one replica holds at a time, for as long as it renews it. It ends by itself. */
export interface Lease {
  /** How long it is held after it was taken or renewed, in milliseconds. */
  readonly durationMs: number
  /** Takes it where nobody holds it, and renews it where this one does. @returns whether it is held now */
  take(): Promise<boolean>
  /** Ends it at once, where this one holds it. */
  giveBack(): Promise<void>
}
