import { fromUtf8, utf8 } from '../../base/bytes.ts'
import { printable } from '../../base/printable.ts'
import type { SecureMessage } from '../../bus/messages/message.ts'

/** What of a message is shown. */
export interface MessageParts {
  readonly message: SecureMessage
  /** Its payload, or what became of it. */
  readonly data: Uint8Array
  /** Leaves out the payload. */
  readonly headersOnly?: boolean | undefined
  /** Leaves out payload and headers. */
  readonly subjectsOnly?: boolean | undefined
}

/**
 * A message as one line of JSON, by the names that it has in the programming interface. A payload that is no UTF-8 is
 * `dataBase64` instead of `data`.
 */
export function messageJson({ message, data, headersOnly, subjectsOnly }: MessageParts): string {
  const { subject, sender, sentAt, epoch, reply, headers } = message
  const text = fromUtf8(data)
  const payload = text === undefined ? { dataBase64: Buffer.from(data).toString('base64') } : { data: text }
  const shown = {
    subject,
    sender,
    sentAt: sentAt.toISOString(),
    epoch,
    ...(reply !== undefined && { reply }),
    ...(headers !== undefined && !subjectsOnly && { headers: Object.fromEntries(headers) }),
    ...(headersOnly || subjectsOnly ? {} : payload),
  }
  // A terminal must not obey what a stranger has written. In JSON an escape means the same.
  return printable(JSON.stringify(shown))
}

/** Headers and payload for a person, as the `nats` command shows them. */
export function messageText({ message, data, headersOnly, subjectsOnly }: MessageParts): string {
  if (subjectsOnly) return ''
  const headers = headerLines(message)
  const head = headers.length === 0 ? '' : `${headers.join('\n')}\n\n`
  return headersOnly ? head : `${head}${payloadText(data)}\n\n`
}

/** Headers for a person. */
export function headerLines({ headers }: SecureMessage): readonly string[] {
  return [...(headers ?? [])].flatMap(([name, values]) =>
    values.map((value) => `${printable(name)}: ${printable(value)}`),
  )
}

/** A payload for a person. */
export function payloadText(data: Uint8Array): string {
  if (data.length === 0) return 'nil body'
  const text = Buffer.from(data).toString()
  // Line ends and tabs are what a person expects; everything else that steers a terminal is shown as an escape.
  const lines = (text.endsWith('\n') ? text.slice(0, -1) : text).split('\n')
  return lines.map((line) => line.split('\t').map(printable).join('\t')).join('\n')
}

/** A subject in quotes, for people. */
export function quoted(text: string): string {
  return printable(JSON.stringify(text))
}

/** Who sealed a message, in the form that `--to` takes. */
export function senderText({ sender }: SecureMessage): string {
  return `${sender.name}/${sender.instance}`
}

/** A payload as it is, with the line end that makes it a line. */
export function rawPayload(data: Uint8Array): Uint8Array {
  return data.at(-1) === NEWLINE ? data : Buffer.concat([data, utf8('\n')])
}

const NEWLINE = 0x0a
