import { attack } from '../demo/attacks.ts'
import { DemoFailure } from '../demo/checks.ts'
import { Screen } from '../demo/screen.ts'
import { announce, connectByTls, makeKeys, publish, request, rotate } from '../demo/steps.ts'
import { DemoWorld } from '../demo/world.ts'

/** Options of {@link runDemo}. */
export interface DemoOptions {
  /** Leave the broker and the agents running until Ctrl-C. */
  readonly keep: boolean
}

/**
 * Walks through what a user of end-to-end encryption expects, on a real server with TLS and logins, and checks each
 * step. It ends by itself.
 *
 * @returns the exit code: 1 when a step did not do what it says
 */
export async function runDemo({ keep }: DemoOptions): Promise<number> {
  const hasColour = process.stdout.isTTY === true && !process.env['NO_COLOR']
  const screen = new Screen((text) => process.stdout.write(text), hasColour)
  const started = performance.now()
  screen.title('subrosa: end-to-end encryption over a broker that you need not trust')
  let world: DemoWorld | undefined
  try {
    screen.step('A broker')
    world = await DemoWorld.create((message) => screen.say(message))
    screen.fact('nats-server', world.program.origin)
    screen.fact('folder', world.folder)
    await makeKeys(screen, world)
    const broker = await connectByTls(screen, world)
    const cast = await announce(screen, world, broker)
    await request(screen, cast)
    await publish(screen, cast)
    await rotate(screen, cast)
    await attack(screen, world, cast)
    screen.step(`Everything held, in ${Math.round((performance.now() - started) / 1000)} s`)
    if (keep) await waitForInterrupt(screen, world)
    return 0
  } catch (error) {
    screen.failed(error instanceof Error ? error.message : 'the demo failed')
    if (!(error instanceof DemoFailure)) throw error
    return 1
  } finally {
    await world?.close()
  }
}

async function waitForInterrupt(screen: Screen, world: DemoWorld): Promise<void> {
  screen.fact('server', world.realm.server)
  screen.fact('realm folder', world.realm.dir)
  screen.say('The broker, the rotation service and the agents run on until Ctrl-C.')
  await new Promise<void>((resolve) => {
    process.once('SIGINT', () => resolve())
    process.once('SIGTERM', () => resolve())
  })
}
