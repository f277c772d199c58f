import { join } from 'node:path'
import { SubrosaError } from '../../base/errors.ts'
import { listFolder, readFileIfAny } from '../../setup/files.ts'
import type { Terminal } from '../terminal/terminal.ts'

type Environment = Terminal['env']

/** What a context of the `nats` command says about how to connect. */
export interface NatsContext {
  readonly name: string
  readonly path: string
  readonly url: string | undefined
  readonly user: string | undefined
  readonly password: string | undefined
  readonly token: string | undefined
  /** Paths, with `~` and variables replaced. */
  readonly creds: string | undefined
  readonly nkey: string | undefined
  readonly cert: string | undefined
  readonly key: string | undefined
  readonly ca: string | undefined
  readonly userJwt: string | undefined
  readonly userSeed: string | undefined
  readonly inboxPrefix: string | undefined
  readonly tlsFirst: boolean
  /** Fields that nobody here has heard of. */
  readonly unknown: readonly string[]
}

/** They change how to connect, and nothing here does that. */
const REFUSED =
  /^(nsc|socks_proxy|windows_cert_store|windows_cert_match|windows_cert_match_by|windows_ca_certs_match)$/
/** They change nothing for live traffic. */
const IGNORED =
  /^(name|description|color_scheme|jetstream_domain|jetstream_api_prefix|jetstream_event_prefix)$/
/** A value that says where else to look. */
const REFERENCE = /^(op|nsc|env|data):/i

/**
 * Loads a context by its name, or by the path of its file.
 *
 * @throws SubrosaError ERR_SETUP when there is none, or it asks for what cannot be done here
 */
export async function loadContext(env: Environment, name: string): Promise<NatsContext> {
  const path = name.endsWith('.json') ? name : contextPath(env, name)
  const text = path === undefined ? undefined : await readFileIfAny(path)
  if (path === undefined || text === undefined) throw await unknownContext(env, name)
  const fields = parseFields(text)
  if (fields === undefined) throw contextError(`the context ${path} is no JSON object`)
  return toContext(env, { name, path, fields })
}

/** The name of the context that `nats context select` has chosen, where there is one. */
export async function selectedContext(env: Environment): Promise<string | undefined> {
  const folder = configFolder(env)
  const text = folder && (await readFileIfAny(join(folder, 'context.txt')))
  return text?.trim() || undefined
}

/** The names of the contexts that there are, sorted. */
export async function listContexts(env: Environment): Promise<readonly string[]> {
  const folder = configFolder(env)
  const files = folder === undefined ? [] : await listFolder(join(folder, 'context'))
  return files.filter((file) => file.endsWith('.json')).map((file) => file.slice(0, -'.json'.length))
}

function configFolder({ XDG_CONFIG_HOME, HOME, USERPROFILE }: Environment): string | undefined {
  const home = HOME || USERPROFILE
  if (XDG_CONFIG_HOME) return join(XDG_CONFIG_HOME, 'nats')
  return home ? join(home, '.config', 'nats') : undefined
}

function contextPath(env: Environment, name: string): string | undefined {
  const folder = configFolder(env)
  const isName = name !== '' && !name.includes('..') && !/[/\\]/.test(name)
  return folder !== undefined && isName ? join(folder, 'context', `${name}.json`) : undefined
}

type Fields = Readonly<Record<string, unknown>>

function parseFields(text: string): Fields | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Fields)
      : undefined
  } catch {
    return undefined
  }
}

interface ContextFile {
  readonly name: string
  readonly path: string
  readonly fields: Fields
}

function toContext(env: Environment, file: ContextFile): NatsContext {
  const { name, path, fields } = file
  for (const [field, value] of Object.entries(fields)) {
    if (REFUSED.test(field) && !isEmpty(value))
      throw contextError(`the context ${path} has ${field}, which is not supported here`)
  }
  const known = new Set<string>()
  const text = (field: string): string | undefined => {
    known.add(field)
    return readText(file, field)
  }
  const pathOf = (field: string): string | undefined => {
    const value = text(field)?.replace(/^file:\/\//, '')
    return value === undefined ? undefined : expand(env, value)
  }
  known.add('tls_first')
  const context = {
    url: text('url'),
    user: text('user'),
    password: text('password'),
    token: text('token'),
    creds: pathOf('creds'),
    nkey: pathOf('nkey'),
    cert: pathOf('cert'),
    key: pathOf('key'),
    ca: pathOf('ca'),
    userJwt: text('user_jwt'),
    userSeed: text('user_seed'),
    inboxPrefix: text('inbox_prefix'),
    tlsFirst: fields['tls_first'] === true,
  }
  const unknown = Object.entries(fields)
    .filter(([field, value]) => !known.has(field) && !IGNORED.test(field) && !isEmpty(value))
    .map(([field]) => field)
  return { name, path, unknown, ...context }
}

/** The text of a field; no text is none. A message never quotes it: it may be a secret. */
function readText({ path, fields }: ContextFile, field: string): string | undefined {
  const value = fields[field]
  if (isEmpty(value)) return undefined
  if (typeof value !== 'string') throw contextError(`${field} in the context ${path} is no text`)
  if (REFERENCE.test(value))
    throw contextError(`${field} in the context ${path} refers to something that is not supported here`)
  return value
}

/** As the `nats` command writes a field that is not set. */
function isEmpty(value: unknown): boolean {
  return value === undefined || value === null || value === '' || value === false
}

function expand(env: Environment, path: string): string {
  const replaced = path.replace(/\$(?:\{(\w+)\}|(\w+))/g, (_, braced?: string, plain?: string) => {
    return env[braced ?? plain ?? ''] ?? ''
  })
  return replaced.replace(/^~(?=$|[/\\])/, env['HOME'] || env['USERPROFILE'] || '~')
}

function contextError(message: string): SubrosaError {
  return new SubrosaError('ERR_SETUP', message, {
    hint: 'name another one with --context, or use none with --no-context and give --server and --creds',
  })
}

async function unknownContext(env: Environment, name: string): Promise<SubrosaError> {
  const known = await listContexts(env)
  return new SubrosaError('ERR_SETUP', `there is no context ${JSON.stringify(name)}`, {
    hint:
      known.length === 0
        ? 'there are none at all; make one with: nats context add NAME, or give --server'
        : `there are: ${known.join(', ')}`,
  })
}
