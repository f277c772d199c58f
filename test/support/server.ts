import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findNatsServer } from '../../src/setup/nats-server.ts'
import { type RunningServer, startNatsServer } from '../../src/setup/run-server.ts'

/** A real nats-server without logins, on a free port of the loopback interface, with a folder of its own. */
export interface TestServer extends RunningServer {
  readonly url: string
  /** Starts it again on the same port after `kill()` or `stop()`. */
  restart(): Promise<TestServer>
}

export async function startTestServer(extraConfig = '', port = -1): Promise<TestServer> {
  const folder = await mkdtemp(join(tmpdir(), 'subrosa-server-'))
  const configPath = join(folder, 'server.conf')
  await writeFile(configPath, `listen: "127.0.0.1:${port}"\n${extraConfig}\n`)
  const running = await startNatsServer({ program: await findNatsServer(), configPath, folder })
  const cleanUp = (): Promise<void> => rm(folder, { recursive: true, force: true })
  return {
    port: running.port,
    pid: running.pid,
    url: `127.0.0.1:${running.port}`,
    stop: () => running.stop().finally(cleanUp),
    kill: () => running.kill().finally(cleanUp),
    restart: () => startTestServer(extraConfig, running.port),
  }
}
