export { loadIdentity, loadPins } from '#key-file'
export { fileRotationStore } from '#rotation-store'
export {
  type PublishManyOptions,
  type PublishOptions,
  type RequestManyOptions,
  type RequestOptions,
  SecureConnection,
  type WaitForAudienceOptions,
} from './bus/connection.ts'
export { type HeaderMatch, type HeadersLike, MessageHeaders } from './bus/headers.ts'
export {
  type MessageLike,
  type Payload,
  type RespondOptions,
  SecureMessage,
  type Sender,
} from './bus/message.ts'
export type { NatsLike } from './bus/nats-like.ts'
export type { SealMode } from './bus/opened.ts'
export type { RequestManyStrategy } from './bus/requests.ts'
export { type SecureOptions, secure } from './bus/secure.ts'
export type { ConnectionStats, RejectReason, StatusEvent } from './bus/status.ts'
export type { SubjectMappings } from './bus/subject-policy.ts'
export { type MessageCallback, SecureSubscription, type SubscribeOptions } from './bus/subscription.ts'
export { type Clock, systemClock } from './clock.ts'
export type { EngineName } from './crypto/engine.ts'
export type { Padding } from './crypto/padding.ts'
export type { OpenFailure } from './envelope/open.ts'
export { SubrosaError, type SubrosaErrorCode } from './errors.ts'
export { fingerprint } from './identity/fingerprint.ts'
export { Identity } from './identity/identity.ts'
export type {
  IdentitySource,
  KeyAndName,
  KeyAndToken,
  LoadIdentityOptions,
} from './identity/identity-source.ts'
export type { AskPassphrase } from './identity/passphrase.ts'
export type { Permissions, SubjectRules } from './identity/permissions.ts'
export type { Pin, PinTrust } from './identity/pins.ts'
export type { IdentityClaims, Role } from './identity/token.ts'
export type { AuthorityTrust, TrustOptions } from './identity/trust.ts'
export type { Lease, LogEntry, LogKind, LogReading, OpenLog, RotationLog } from './rotation/log.ts'
export {
  type RotationEvent,
  type RotationOptions,
  type RotationRole,
  RotationService,
  startRotationService,
} from './rotation/service.ts'
export { memoryRotationStore, type RotationRecord, type RotationStore } from './rotation/store.ts'
export type { RotationTimes } from './rotation/times.ts'
