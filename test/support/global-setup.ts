import { findNatsServer } from '../../src/setup/nats-server.ts'

/** Finds or unpacks the server once, before the first test, so that test files that run side by side share it. */
export async function setup(): Promise<void> {
  const { command, args, origin } = await findNatsServer({ onProgress: (message) => console.log(message) })
  console.log(`nats-server: ${origin}`)
  if (args.length === 0) process.env['SUBROSA_NATS_SERVER'] = command
}
