import { RealmLink } from '../../../dist/bus/realm/realm-link.js'
import { memoryState } from '../../../dist/keys/state.js'
import { type Agent, AgentNotes, type AgentOptions, agentContext } from './agent.ts'
import { SUBJECT } from './realm.ts'

const JOIN_TIMEOUT_MS = 30_000

/**
 * A whole agent: the link that every sealed connection has with its realm, with keys, plan, directory and all that keeps them in
 * step. It seals nothing.
 *
 * @returns once it has joined
 */
export async function joinLinked(options: AgentOptions): Promise<Agent> {
  const { realm, nc, clock, name } = options
  const notes = new AgentNotes(clock)
  const context = agentContext(options, ({ event, identity: of }) => {
    if (event === 'stale') notes.wasAlwaysFresh = false
    if (event === 'revoked') notes.acted(String(of))
  })
  const identity = realm.identity(name)
  const link = new RealmLink(nc, {
    ...context,
    identity,
    claims: context.trust.verify(identity.token, clock.now()),
    state: memoryState(),
    plan: undefined,
    onHandshake: () => {},
    onForgotten: () => {},
    onTime: () => {},
  })
  await link.join(JOIN_TIMEOUT_MS)
  return {
    isFresh: () => !link.isStale(),
    get wasAlwaysFresh() {
      return notes.wasAlwaysFresh
    },
    actedAt: (of) => notes.actedAt(of),
    audience: () =>
      link.directory.audience(SUBJECT, context.clock.now())?.members.map((member) => member.name) ?? [],
    close() {
      link.close()
      nc.close()
    },
  }
}
