import { SubrosaError } from '../../../base/errors.ts'
import { type BrokerOptions, givenOptions } from '../../realm/broker-options.ts'
import type { Terminal } from '../../terminal/terminal.ts'

/**
 * The folder under which pinned tools are kept, `undefined` for the usual one.
 *
 * @throws SubrosaError ERR_SETUP when the agent is to keep nothing on disk: it would pin anew whatever it is shown
 */
export function pinRoot(terminal: Terminal, options: BrokerOptions): string | undefined {
  const { state } = givenOptions(terminal, options).all
  if (state !== 'memory') return state
  throw new SubrosaError('ERR_SETUP', "pinned tools are kept in a folder, and the state is 'memory'", {
    hint: 'give another --state or SUBROSA_STATE, or pin no tools',
  })
}
