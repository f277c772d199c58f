export { type JetStreamLogOptions, jetStreamRotationLog } from './rotation/jetstream-log.ts'
