import { describe, expect, it } from 'vitest'
import { nameJudge, uriJudge } from '../../../src/mcp/policy/rules.ts'
import { readUri, type UriReadings } from '../../../src/mcp/policy/uri.ts'

function uris(patterns: readonly string[]): readonly UriReadings[] {
  return patterns.map(readUri).filter((uri) => uri !== undefined)
}

function judgeOf(allow: readonly string[], deny: readonly string[] = []) {
  return uriJudge({ allow: uris(allow), deny: uris(deny) })
}

const PUBLIC = 'file:///srv/public/'

/** Ways out of a folder, and what servers of one kind or another make of them. */
const WAYS_OUT = [
  '../secret',
  './../secret',
  '..',
  '.',
  'x/../../secret',
  '%2e%2e/secret',
  '%2E%2E/secret',
  '.%2e/secret',
  '..%2fsecret',
  '..%2Fsecret',
  '%2e%2e%2fsecret',
  '%252e%252e/secret',
  '..%252fsecret',
  '..\\secret',
  '..%5csecret',
  '%5c..%5csecret',
  'x\\y',
  '..;/secret',
  '..;a=b/secret',
  '..?x',
  '..#x',
  '.../secret',
  '..\0/secret',
  '..%00/secret',
  '.\t./secret',
  '.%09./secret',
  '.%0a./secret',
  '\uff0e\uff0e/secret',
  '%ef%bc%8e%ef%bc%8e/secret',
  '\u2025/secret',
  '.\u200d./secret',
  '.%e2%80%8d./secret',
  '%c0%ae%c0%ae/secret',
  '%u002e%u002e/secret',
  '%e0%80%ae./secret',
  '?path=../secret',
  '?path=..%2fsecret',
  '#../secret',
  'x:../secret',
  '(..)/secret',
  '%',
  '%zz',
  '%e9',
  'x%20',
  ' x/ ',
]

describe('rules for names', () => {
  const allows = nameJudge({ allow: ['read_*', 'list'], deny: ['read_secret', '*_private'] })

  it.each(['read_file', 'read_', 'list', 'read_Secret'])('allow %j', (name) => {
    expect(allows(name)).toBe(true)
  })

  it.each([
    'write_file',
    'read',
    'read_secret',
    'read_my_private',
    'LIST',
    'list ',
    ' list',
    'list\0',
    'read_\0secret',
    'read_\ud800',
    'read_\nx',
    '\uff52ead_file',
    'lis\u0074\u0301',
    '',
    'x'.repeat(9000),
    undefined,
    null,
    1,
    ['list'],
    { toString: 'list' },
    true,
  ])('do not allow %j', (name) => {
    expect(allows(name)).toBe(false)
  })

  it('allow nothing where nothing is allowed', () => {
    for (const deny of [[], ['x']]) {
      const judge = nameJudge({ allow: [], deny })
      for (const name of ['', '*', 'x', 'y']) expect(judge(name)).toBe(false)
    }
  })

  it('deny what is allowed by the same pattern', () => {
    expect(nameJudge({ allow: ['*'], deny: ['*'] })('x')).toBe(false)
  })
})

describe('rules for URIs', () => {
  it.each([
    `${PUBLIC}`,
    `${PUBLIC}a.txt`,
    `${PUBLIC}a/b/c.tar.gz`,
    `${PUBLIC}.git/config`,
    `${PUBLIC}..hidden`,
    `${PUBLIC}a..b`,
    `${PUBLIC}what...`,
    `${PUBLIC}a%20b%2Fc`,
    `${PUBLIC}a b`,
    `${PUBLIC}caf%C3%A9`,
    `${PUBLIC}cafe\u0301`,
    `${PUBLIC}{name}.{ext}`,
    `${PUBLIC}{+path}`,
    `${PUBLIC}x?range=1..5`,
    `${PUBLIC}x#top`,
    `${PUBLIC}https://example.com/`,
  ])('allow %j in its folder', (uri) => {
    expect(judgeOf([`${PUBLIC}*`])(uri)).toBe(true)
    expect(judgeOf(['*'])(uri)).toBe(true)
  })

  it.each(WAYS_OUT)('do not allow a way out: %j', (way) => {
    expect(judgeOf([`${PUBLIC}*`])(PUBLIC + way)).toBe(false)
    expect(judgeOf([`${PUBLIC}*`, '*'])(PUBLIC + way)).toBe(false)
  })

  it.each([
    'file:///srv/secret',
    'file:///srv/publi',
    'file:///srv/public',
    'file:///srv/publicity/x',
    'file://evil/srv/public/x',
    'file://localhost/srv/public/x',
    'file:/srv/public/x',
    'FILE:///srv/public/x',
    'file:///SRV/public/x',
    'file:///srv/public%2Fx',
    'file:///srv%2Fpublic/x',
    'file:///srv/%70ublic/x',
    'file:///srv//public/x',
    'x file:///srv/public/x',
    '',
    undefined,
    7,
    ['file:///srv/public/x'],
  ])('do not allow what is not in the folder as it is written: %j', (uri) => {
    expect(judgeOf([`${PUBLIC}*`])(uri)).toBe(false)
  })

  it.each(['secret.txt#.md', 'secret.txt?.md', 'secret.txt%23.md', 'secret.txt%3F.md', 'secret.txt?#.md'])(
    'do not allow by its query or fragment: %j',
    (name) => {
      expect(judgeOf([`${PUBLIC}*.md`])(`${PUBLIC}notes.md`)).toBe(true)
      expect(judgeOf([`${PUBLIC}*.md`])(PUBLIC + name)).toBe(false)
    },
  )

  it('allow a query where the pattern has one', () => {
    const allows = judgeOf(['db://orders?id=*', 'db://orders#*'])
    expect([allows('db://orders?id=7'), allows('db://orders#x')]).toEqual([true, true])
    expect([allows('db://orders'), allows('db://orders?x=7'), allows('db://ordersx')]).toEqual([
      false,
      false,
      false,
    ])
  })

  it.each([
    'file:///srv/secret/key',
    'file:///srv/secret/',
    'FILE:///srv/secret/key',
    'file:///srv/SECRET/key',
    'file:///srv//secret/key',
    'file:////srv/secret///key',
    'file:/srv/secret/key',
    'file://localhost/srv/secret/key',
    'file://LOCALHOST/srv/secret/key',
    'file:///srv/%73ecret/key',
    'file:///srv/%53ecret/key',
    'file:///srv%2Fsecret/key',
    'file:///srv/se\u00adcret/key',
    'file:///srv/se%C2%ADcret/key',
    'file:///srv/secret/key?x',
    'file:///srv/secret/?/../x',
    'file:///srv/secret.txt',
    'file:///srv/secret.txt/',
    'file:///srv/secret.txt?',
    'file:///srv/secret.txt#',
    'file:///srv/secret.txt?a#b',
    'file:///srv/secret%2Etxt',
    'file:///srv/caf\u00e9',
    'file:///srv/cafe\u0301',
    'file:///srv/caf%C3%A9',
    'file:///srv/CAFE%CC%81',
  ])('deny in whatever way it is written: %j', (uri) => {
    const deny = ['file:///srv/secret/*', 'file:///srv/secret.txt', 'file:///srv/caf\u00e9']
    expect(judgeOf(['*'], deny)(uri)).toBe(false)
  })

  it('allow with patterns that are encoded as the URIs are', () => {
    const allows = judgeOf(['file:///my%20files/*', 'file:///caf%C3%A9/*'])
    expect([allows('file:///my%20files/x'), allows('file:///caf%C3%A9/x')]).toEqual([true, true])
    expect([allows('file:///my files/x'), allows('file:///caf\u00e9/x')]).toEqual([false, false])
  })

  it('deny nothing besides', () => {
    const allows = judgeOf(['*'], ['file:///srv/secret/*', '*.key'])
    for (const uri of [
      'file:///srv/secrets/x',
      'file:///srv/x',
      'other:///srv/secret/x',
      'file:///x.key.txt',
    ])
      expect(allows(uri)).toBe(true)
  })

  it('read patterns and URIs at once, whatever they hold', () => {
    const start = performance.now()
    for (const piece of ['.', '/', '%2e', '/.', '?', '%2F', 'a*', '{', '\u00ad', 'é', ';', '#'])
      judgeOf([`*${piece.repeat(300)}*`, '*'], ['*x*y'])(`file:${piece.repeat(2000)}`)
    expect(performance.now() - start).toBeLessThan(2000)
  })
})
