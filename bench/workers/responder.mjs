import { join } from './agent.mjs'
import { serve } from './serve.mjs'

serve({
  /** Answers every request with its own payload, on a plain subject and on a sealed one. */
  async join(/** @type {{ plain: string, sealed: string }} */ { plain, sealed, ...who }) {
    const agent = await join(/** @type {any} */ (who))
    agent.plain.subscribe(plain, {
      callback: (_error, message) => {
        message.respond(message.data)
      },
    })
    agent.bus.subscribe(sealed, { callback: (_error, message) => message?.respond(message.data) })
    await agent.plain.flush()
    await agent.bus.flush()
  },
})
