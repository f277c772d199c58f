import { Engine } from './engine.mjs'
import { NoEngine } from './programs.mjs'
import { Project } from './project.mjs'
import { prove } from './proof.mjs'

/**
 * Proves docker-compose.yml and the Dockerfile on a real engine: `node test/stack/compose.mjs`, after `npm run build`.
 *
 * It takes Debian's docker.io and docker-compose 1.29 from a cache folder, starts an engine of its own, and imports
 * base images made of this machine's files under the names that are used, since nothing can be pulled. The image is
 * then built as the Dockerfile says. Where no engine can be started it says so and ends well; where one runs and the
 * proof fails it ends with 1. It leaves nothing behind but the cache folder.
 */

try {
  const engine = await Engine.start()
  const interrupt = () => engine.stop().finally(() => process.exit(1))
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt)
  const project = new Project(engine, 'subrosa-proof')
  try {
    await prove(project)
    console.log('compose: everything held')
  } catch (error) {
    if (!(error instanceof NoEngine)) console.error(project.lastWords())
    throw error
  } finally {
    await engine.stop()
  }
} catch (error) {
  if (error instanceof NoEngine) {
    console.log(`compose: no engine can be started here: ${error.message}`)
  } else {
    console.error(`compose: error: ${error instanceof Error ? error.message : 'unknown'}`)
    process.exitCode = 1
  }
}
