export { loadIdentity } from '#key-file'
export { fileRotationStore } from '#rotation-store'
export {
  type PublishOptions,
  type RequestOptions,
  SecureConnection,
  type WaitForAudienceOptions,
} from './bus/connection.ts'
export { type HeadersLike, MessageHeaders } from './bus/headers.ts'
export { type Payload, type RespondOptions, SecureMessage, type Sender } from './bus/message.ts'
export type { NatsLike } from './bus/nats-like.ts'
export { type SecureOptions, secure } from './bus/secure.ts'
export type { RejectReason, StatusEvent } from './bus/status.ts'
export { type MessageCallback, SecureSubscription, type SubscribeOptions } from './bus/subscription.ts'
export { type Clock, systemClock } from './clock.ts'
export type { EngineName } from './crypto/engine.ts'
export type { Padding } from './crypto/padding.ts'
export { SubrosaError, type SubrosaErrorCode } from './errors.ts'
export { Identity } from './identity/identity.ts'
export type { TrustOptions } from './identity/trust.ts'
export {
  type RotationEvent,
  type RotationOptions,
  RotationService,
  startRotationService,
} from './rotation/service.ts'
export { memoryRotationStore, type RotationStore } from './rotation/store.ts'
