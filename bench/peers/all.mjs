import { age } from './age.mjs'
import { hpke } from './hpke.mjs'
import { jose } from './jose.mjs'
import { mls } from './mls.mjs'
import { nkeys } from './nkeys.mjs'
import { openpgp } from './openpgp.mjs'
import { sodiumBoxes } from './sodium.mjs'

/** @type {readonly import('./peer.mjs').Peer[]} */
export const PEERS = [sodiumBoxes, jose, hpke, openpgp, mls, age, nkeys]
