/**
 * What a peer promises about a message, as far as it goes without more work by its user.
 *
 * @typedef {{
 *   readonly senderSigned: boolean,
 *   readonly freshEphemeral: boolean,
 *   readonly oneBody: boolean,
 * }} Properties `senderSigned`: a signature of the sender, that a co-recipient cannot make. `freshEphemeral`: a key pair
 *   of its own for each message, so that nothing of the sender's opens it later. `oneBody`: the content is encrypted
 *   once for all recipients.
 *
 * @typedef {{
 *   readonly seal: () => Promise<unknown> | unknown,
 *   readonly open: (sealed: any) => Promise<Uint8Array> | Uint8Array,
 *   readonly change: (sealed: any) => readonly unknown[],
 *   readonly size: (sealed: any) => number,
 *   readonly isAsync: boolean,
 *   readonly addMember?: () => Promise<void>,
 * }} PeerWork `open` is by the last recipient. `change` gives copies of what was sealed with something changed.
 *
 * @typedef {{
 *   readonly name: string,
 *   readonly packages: readonly string[],
 *   readonly properties: Properties,
 *   readonly lacks: string,
 *   readonly prepare: (of: { readonly recipients: number, readonly payload: Uint8Array }) => Promise<PeerWork>,
 * }} Peer
 */

/**
 * Loads a package that only the benchmark needs. Its types are not known here: the peers are no dependency of the
 * package that is measured.
 *
 * @param {string} name
 * @returns {Promise<any>}
 */
export async function load(name) {
  return import(name)
}

/**
 * Copies of bytes with one of them changed: the first, one in the middle, the last.
 *
 * @param {Uint8Array} bytes
 * @returns {readonly Uint8Array[]}
 */
export function changedBytes(bytes) {
  return [0, Math.floor(bytes.length / 2), bytes.length - 1].map((at) => bytes.with(at, (bytes[at] ?? 0) ^ 1))
}
