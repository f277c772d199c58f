import { randomUUID } from 'node:crypto'
import { nuid } from '@nats-io/transport-node'
import { MAX_MESSAGE_BYTES } from '../../base/limits.ts'

/** What a template can put in. */
export interface TemplateValues {
  /** The number of the message. */
  readonly count: number
  /** The request that is being answered. */
  readonly request?: string
  /** The tokens of its subject: `{{0}}` is the first. */
  readonly tokens?: readonly string[]
}

/** What `--help` says of templates. */
export const TEMPLATE_HELP = `
Templates in body, subject and header values:
  {{Count}}          the number of the message
  {{TimeStamp}}      the time, as in 2006-01-02T15:04:05+01:00
  {{Unix}}           seconds since 1970; {{UnixNano}} nanoseconds
  {{Time}}           the time, as in 3:04PM
  {{ID}} {{UUID}}    something unique
  {{Random 10 100}}  random letters and digits, 10 to 100 of them`

const EXPRESSION = /\{\{-?\s*(.*?)\s*-?\}\}/gs
const CALL = /^\.?(\w+)(?:\s+(\d+)\s+(\d+)|\s*\(\s*(\d+)\s*,\s*(\d+)\s*\))?$/
const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'

/**
 * Replaces `{{Count}}` and its like, by the names that the `nats` command has for them. What is put in is not looked
 * at again.
 *
 * @throws RangeError for an expression that is none
 */
export function expandTemplate(text: string, values: TemplateValues): string {
  const now = new Date()
  return text.replace(EXPRESSION, (_, expression: string) => evaluate(expression, values, now))
}

function evaluate(expression: string, { count, request, tokens }: TemplateValues, now: Date): string {
  const token = /^\d+$/.test(expression) ? tokens?.[Number(expression)] : undefined
  if (token !== undefined) return token
  const [, name, spacedMin, spacedMax, min = spacedMin, max = spacedMax] = CALL.exec(expression) ?? []
  if (name === 'Random' && min !== undefined && max !== undefined) return random(Number(min), Number(max))
  if (min !== undefined) throw unknown(expression)
  switch (name) {
    case 'Count':
    case 'Cnt':
      return String(count)
    case 'Unix':
      return String(Math.floor(now.getTime() / 1000))
    case 'UnixNano':
      return String(BigInt(now.getTime()) * 1_000_000n)
    case 'TimeStamp':
      return timeStamp(now)
    case 'Time':
      return kitchenTime(now)
    case 'ID':
      return nuid.next()
    case 'UUID':
      return randomUUID()
    case 'Request':
      if (request !== undefined) return request
  }
  throw unknown(expression)
}

function unknown(expression: string): RangeError {
  return new RangeError(`{{${expression}}} is no template; see --help, or use --no-templates`)
}

/** RFC 3339, in local time. */
function timeStamp(now: Date): string {
  const offset = -now.getTimezoneOffset()
  const local = new Date(now.getTime() + offset * 60_000).toISOString().slice(0, -'.000Z'.length)
  if (offset === 0) return `${local}Z`
  const [hours, minutes] = [Math.abs(offset) / 60, Math.abs(offset) % 60].map((part) =>
    String(Math.floor(part)).padStart(2, '0'),
  )
  return `${local}${offset < 0 ? '-' : '+'}${hours}:${minutes}`
}

/** As in 3:04PM, in local time. */
function kitchenTime(now: Date): string {
  const hours = now.getHours()
  return `${hours % 12 || 12}:${String(now.getMinutes()).padStart(2, '0')}${hours < 12 ? 'AM' : 'PM'}`
}

function random(one: number, other: number): string {
  const [shortest, longest] = [Math.min(one, other), Math.max(one, other)]
  if (longest > MAX_MESSAGE_BYTES)
    throw new RangeError(`{{Random}} makes at most ${MAX_MESSAGE_BYTES} letters`)
  // Filler, and no secret.
  const length = shortest + Math.floor(Math.random() * (longest - shortest + 1))
  return Array.from({ length }, () => LETTERS[Math.floor(Math.random() * LETTERS.length)]).join('')
}
