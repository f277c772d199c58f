import { changedBytes, load } from './peer.mjs'

const SUITE = 'MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519'

/**
 * An application message in an MLS group (RFC 9420) of one sender and so many others. The group was made by a single
 * commit of its founder: nobody else has committed since, so the inner nodes of its tree are blank, and a commit costs
 * more than in a group that has lived for a while.
 *
 * @type {import('./peer.mjs').Peer}
 */
export const mls = {
  name: 'ts-mls',
  packages: ['ts-mls'],
  properties: { senderSigned: true, freshEphemeral: false, oneBody: true },
  lacks:
    'no key agreement for each message (keys are ratcheted forward instead); whoever joins or leaves needs a commit that everybody applies in the same order',
  async prepare({ recipients, payload }) {
    const mlsPackage = await load('ts-mls')
    const { createApplicationMessage, createCommit, createGroup, defaultCapabilities, defaultLifetime } =
      mlsPackage
    const { encodeMlsMessage, decodeMlsMessage, emptyPskIndex, generateKeyPackage, joinGroup } = mlsPackage
    const suite = await mlsPackage.getCiphersuiteImpl(mlsPackage.getCiphersuiteFromName(SUITE))
    const newMember = (/** @type {string} */ name) => {
      const credential = { credentialType: 'basic', identity: new TextEncoder().encode(name) }
      return generateKeyPackage(credential, defaultCapabilities(), defaultLifetime, [], suite)
    }
    const founder = await newMember('sender')
    const members = []
    for (let n = 0; n < recipients; n++) members.push(await newMember(`recipient ${n}`))
    const adding = (/** @type {any[]} */ added) =>
      added.map(({ publicPackage }) => ({ proposalType: 'add', add: { keyPackage: publicPackage } }))
    const group = new TextEncoder().encode('bench')
    const founded = await createGroup(group, founder.publicPackage, founder.privatePackage, [], suite)
    const { newState, welcome } = await createCommit(
      { state: founded, cipherSuite: suite },
      { extraProposals: adding(members) },
    )
    const own = members.at(-1)
    let sending = newState
    let receiving = await joinGroup(
      welcome,
      own.publicPackage,
      own.privatePackage,
      emptyPskIndex,
      suite,
      newState.ratchetTree,
    )
    const late = await newMember('late')
    return {
      isAsync: true,
      async seal() {
        const { newState: next, privateMessage } = await createApplicationMessage(sending, payload, suite)
        sending = next
        return encodeMlsMessage({ privateMessage, wireformat: 'mls_private_message', version: 'mls10' })
      },
      async open(bytes) {
        const [message] = decodeMlsMessage(bytes, 0)
        const result = await mlsPackage.processPrivateMessage(
          receiving,
          message.privateMessage,
          emptyPskIndex,
          suite,
        )
        receiving = result.newState
        return result.message
      },
      change: (bytes) => changedBytes(bytes).slice(1),
      size: (bytes) => bytes.length,
      async addMember() {
        await createCommit({ state: sending, cipherSuite: suite }, { extraProposals: adding([late]) })
      },
    }
  },
}
