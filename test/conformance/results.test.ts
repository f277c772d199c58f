import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { differences, objectionsTo, readResults, tally } from '../../conformance/lib/results.mjs'

const TIME = '2026-01-31T12-00-00-000Z'

type Status = 'SUCCESS' | 'FAILURE' | 'WARNING'
type Results = ReadonlyMap<string, readonly { id: string; status: Status; error: string | undefined }[]>

function results(scenarios: Readonly<Record<string, readonly Status[]>>): Results {
  return new Map(
    Object.entries(scenarios).map(([name, statuses]) => [
      name,
      statuses.map((status, i) => ({ id: `${name}-${i}`, status, error: undefined })),
    ]),
  )
}

describe('the results of the conformance suite', () => {
  const expected = { scenarios: ['ping', 'tools-list'], checks: 3 }
  const complete = results({ ping: ['SUCCESS'], 'tools-list': ['SUCCESS', 'SUCCESS', 'WARNING'] })

  it('are fine when every scenario ran and every check passed', () => {
    expect(objectionsTo('bridged', complete, expected)).toEqual([])
    expect(tally([...complete.values()].flat())).toEqual({ passed: 3, failed: 0, warnings: 1 })
  })

  it('are not fine when nothing ran', () => {
    expect(objectionsTo('bridged', results({}), expected)).toEqual([
      'bridged: ping did not run',
      'bridged: tools-list did not run',
      'bridged: 0 checks, and the suite has 3',
    ])
  })

  it('are not fine when scenarios ran without a check', () => {
    expect(objectionsTo('bridged', results({ ping: [], 'tools-list': [] }), expected)).toEqual([
      'bridged: 0 checks, and the suite has 3',
    ])
  })

  it('are not fine when a check failed', () => {
    const failed: Results = new Map([
      ['ping', [{ id: 'ping', status: 'FAILURE', error: 'no answer' }]],
      ['tools-list', complete.get('tools-list') ?? []],
    ])
    expect(objectionsTo('bridged', failed, expected)).toEqual(['bridged: ping: ping: no answer'])
  })

  it('are not fine when a check became a warning', () => {
    const warned = results({ ping: ['WARNING'], 'tools-list': ['SUCCESS', 'SUCCESS'] })
    expect(objectionsTo('bridged', warned, expected)).toEqual(['bridged: 2 checks, and the suite has 3'])
  })

  it('are not fine when there are more checks than the suite had when they were counted', () => {
    const more = results({ ping: ['SUCCESS', 'SUCCESS'], 'tools-list': ['SUCCESS', 'SUCCESS'] })
    expect(objectionsTo('bridged', more, expected)).toEqual(['bridged: 4 checks, and the suite has 3'])
  })

  it('of two runs are compared check by check', () => {
    const direct = { name: 'directly', results: complete }
    expect(differences(direct, { name: 'bridged', results: complete })).toEqual([])
    const other = results({ ping: ['SUCCESS'], 'tools-list': ['SUCCESS', 'WARNING', 'SUCCESS'] })
    expect(differences(direct, { name: 'bridged', results: other })).toEqual([
      'tools-list: directly tools-list-0 SUCCESS, tools-list-1 SUCCESS, tools-list-2 WARNING; ' +
        'bridged tools-list-0 SUCCESS, tools-list-1 WARNING, tools-list-2 SUCCESS',
    ])
  })

  it('of two runs differ where only one ran a scenario', () => {
    const [one, other] = [results({ ping: ['SUCCESS'] }), results({ resources: [] })]
    expect(differences({ name: 'directly', results: one }, { name: 'bridged', results: other })).toEqual([
      'ping: directly ping-0 SUCCESS; bridged did not run',
      'resources: directly did not run; bridged has no check',
    ])
  })
})

describe('what the conformance suite writes', () => {
  let folder: string
  let out: string

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'subrosa-results-'))
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))
  beforeEach(async () => {
    out = await mkdtemp(join(folder, 'out-'))
  })

  async function write(name: string, checks: unknown): Promise<void> {
    await mkdir(join(out, name))
    await writeFile(join(out, name, 'checks.json'), JSON.stringify(checks))
  }

  it('is read without what only tells what went over the wire', async () => {
    await write(`server-tools-call-error-${TIME}`, [
      { id: 'outgoing-request', status: 'INFO' },
      { id: 'tools-call-error', status: 'FAILURE', errorMessage: 'no error' },
      { id: 'other', status: 'SUCCESS' },
    ])
    expect(readResults(out)).toEqual(
      new Map([
        [
          'tools-call-error',
          [
            { id: 'tools-call-error', status: 'FAILURE', error: 'no error' },
            { id: 'other', status: 'SUCCESS', error: undefined },
          ],
        ],
      ]),
    )
  })

  it('is not guessed at where a status is not known', async () => {
    await write(`server-ping-${TIME}`, [{ id: 'ping', status: 'SKIPPED' }])
    expect(() => readResults(out)).toThrow('SKIPPED')
  })

  it('is not guessed at where a folder has another name', async () => {
    await write('ping', [])
    expect(() => readResults(out)).toThrow('a folder of another name: ping')
  })

  it('is not guessed at where there is no list of checks', async () => {
    await write(`server-ping-${TIME}`, { id: 'ping', status: 'SUCCESS' })
    expect(() => readResults(out)).toThrow('no list of checks for ping')
  })
})
