import type { HouseClock } from '../base/house-clock.ts'
import type { Timers } from '../base/timers.ts'
import type { PageFetches } from '../bus/realm/page-fetches.ts'
import type { CryptoEngine } from '../crypto/engine.ts'
import type { Trust } from '../identity/trust.ts'
import type { Epochs } from '../keys/epochs.ts'
import type { ProtocolSubjects } from '../keys/subjects.ts'
import type { RotationEventLog } from './event-log.ts'
import type { ServiceRecord } from './record.ts'

/** What every part of one rotation service works with. It is made once, by the service, and passed on as it is. */
export interface Parts {
  readonly engine: CryptoEngine
  readonly trust: Trust
  readonly clock: HouseClock
  readonly timers: Timers
  readonly subjects: ProtocolSubjects
  /** The own public key. */
  readonly own: string
  /** Of this process: the instance under which it asks others. */
  readonly process: Uint8Array
  /** Where it is answered. */
  readonly inbox: string
  readonly record: ServiceRecord
  readonly epochs: Epochs
  readonly fetches: PageFetches
  readonly events: RotationEventLog
  /** Reports what went wrong here. */
  readonly onError: (error: unknown) => void
}
