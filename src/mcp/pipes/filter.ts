/** What becomes of a message that passes a filter. */
export interface Filtered {
  /** What goes on in its direction: the message itself, or another in its place. */
  readonly forward?: Uint8Array
  /** What goes back to where the message came from. */
  readonly answer?: Uint8Array
}

/** Stands between a client and a server, and decides on every message of either. It never throws. */
export interface MessageFilter {
  /** A message of the client's, on its way to the server. */
  toServer(message: Uint8Array): Filtered
  /** A message of the server's, on its way to the client. */
  toClient(message: Uint8Array): Filtered
}
