export { loadIdentity, loadPins } from '#key-file'
export { beginRecord, fileRotationStore } from '#rotation-store'
export { type Clock, systemClock } from './base/clock.ts'
export { SubrosaError, type SubrosaErrorCode } from './base/errors.ts'
export type { LogFields, Logger } from './base/logger.ts'
export {
  type PublishManyOptions,
  type PublishOptions,
  type RequestManyOptions,
  type RequestOptions,
  SecureConnection,
  type WaitForAudienceOptions,
} from './bus/connection.ts'
export type { SubjectMappings } from './bus/in/subject-policy.ts'
export type { WhyLeftOut } from './bus/left-out.ts'
export { type HeaderMatch, type HeadersLike, MessageHeaders } from './bus/messages/headers.ts'
export {
  type MessageLike,
  type Payload,
  type RespondOptions,
  SecureMessage,
  type Sender,
} from './bus/messages/message.ts'
export type { SealMode } from './bus/messages/opened.ts'
export {
  type MessageCallback,
  SecureSubscription,
  type SubscribeOptions,
} from './bus/messages/subscription.ts'
export type { NatsLike } from './bus/nats-like.ts'
export type { RequestManyStrategy } from './bus/requests.ts'
export { type SecureOptions, secure } from './bus/secure.ts'
export type { ConnectionStats, RejectReason, SessionRefusal, StatusEvent } from './bus/status.ts'
export type { EngineName } from './crypto/engine.ts'
export type { Padding } from './crypto/padding.ts'
export type { LeftOutReason } from './envelope/keys.ts'
export type { OpenFailure } from './envelope/open.ts'
export { fingerprint } from './identity/fingerprint.ts'
export { Identity } from './identity/identity.ts'
export type {
  IdentitySource,
  KeyAndName,
  KeyAndToken,
  LoadIdentityOptions,
} from './identity/keyfiles/identity-source.ts'
export type { AskPassphrase } from './identity/keyfiles/passphrase.ts'
export type { Permissions, SubjectRules } from './identity/permissions.ts'
export type { Pin, PinTrust } from './identity/pins.ts'
export type { IdentityClaims, Role } from './identity/token.ts'
export type { AuthorityTrust, TrustOptions } from './identity/trust.ts'
export type { KeptPlan } from './keys/plan-book.ts'
export type { EpochTimes } from './keys/schedules.ts'
export type { RotationEvent } from './rotation/events.ts'

export type { PeerDifference } from './rotation/peers.ts'
export { type RotationOptions, RotationService, startRotationService } from './rotation/service.ts'
export {
  type MemoryStoreOptions,
  memoryRotationStore,
  type RotationRecord,
  type RotationStore,
} from './rotation/store.ts'
