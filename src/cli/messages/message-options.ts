import { InvalidArgumentError, Option } from 'commander'
import { isPattern, isSubject } from '../../base/subject.ts'
import { isAgentName } from '../../identity/token.ts'

/** A header as it was given; its value may be a template. */
export interface HeaderOption {
  readonly name: string
  readonly value: string
}

/** `-H, --header`, as often as there are headers. */
export function headerOption(): Option {
  return new Option('-H, --header <K:V>', 'a header; give it again for another one').argParser(collectHeaders)
}

/** `--to`, as often as there are recipients. */
export function toOption(): Option {
  return new Option(
    '--to <name>',
    'seal to this agent, or to NAME/INSTANCE, and to nobody else; again for others (default: all who may read it)',
  ).argParser(collectRecipients)
}

/** `--translate`. */
export function translateOption(): Option {
  return new Option(
    '--translate <command>',
    'show what this command makes of the payload on its standard input',
  )
}

/** The subject of a subscription. @throws InvalidArgumentError */
export function parsePattern(text: string): string {
  if (!isPattern(text))
    throw new InvalidArgumentError('Use a subject, or a pattern such as orders.* or orders.>.')
  return text
}

/** Several of them. @throws InvalidArgumentError */
export function collectSubjects(text: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), parsePattern(text)]
}

/** A subject to publish on. @throws InvalidArgumentError */
export function parseSubject(text: string): string {
  if (!isSubject(text))
    throw new InvalidArgumentError('Use dot-separated tokens without wildcards and spaces.')
  return text
}

function collectHeaders(text: string, before: readonly HeaderOption[] | undefined): readonly HeaderOption[] {
  const colon = text.indexOf(':')
  const name = text.slice(0, colon).trim()
  if (colon < 1 || name === '') throw new InvalidArgumentError('Use NAME:VALUE.')
  return [...(before ?? []), { name, value: text.slice(colon + 1).trim() }]
}

function collectRecipients(text: string, before: readonly string[] | undefined): readonly string[] {
  const names = text.split(',')
  for (const recipient of names) {
    const [name = '', instance, ...more] = recipient.split('/')
    const isInstance = instance === undefined || /^[0-9a-f]+$/.test(instance)
    if (!isAgentName(name) || !isInstance || more.length > 0)
      throw new InvalidArgumentError('Use an agent, or NAME/INSTANCE.')
  }
  return [...(before ?? []), ...names]
}
