const INBOX = /^(_INBOX[^.]*|_R_)\./

/** Whether a subject is an inbox by its usual name, or what a server puts in the place of one between accounts. */
export function isUsualInbox(subject: string): boolean {
  return INBOX.test(subject)
}
