import fc from 'fast-check'

/** Subjects that may be published to, of any characters that these may have. */
export const subjects: fc.Arbitrary<string> = fc
  .array(
    fc
      .string({ unit: 'binary', minLength: 1, maxLength: 12 })
      .map((t) => t.replaceAll(/[\s\p{Cc}.*>]/gu, '-')),
    { minLength: 1, maxLength: 4 },
  )
  .map((tokens) => tokens.join('.'))

/** What a sender can seal in the place of a subject, and nobody may publish on. */
export const badSubjects: Readonly<Record<string, string>> = {
  'no text': '',
  'a line of the protocol of NATS': 'x 0\r\n\r\nPUB vault.open 4\r\nopen\r\nPUB y',
  'a line end': 'orders.new\n',
  'a space': 'orders new',
  'a NUL': 'orders.\0',
  'an escape character': 'orders.\u001b[2J',
  'a control character of two bytes': 'orders.\u009b2J',
  'a no-break space': 'orders.\u00a0',
  'a wildcard for a token': 'orders.*',
  'a wildcard for the rest': 'orders.>',
  'an empty token': 'orders..new',
  'an empty token at its end': 'orders.',
  'more than 1024 bytes': 'a'.repeat(1025),
}
