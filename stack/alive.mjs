// The health check of an agent: whether a sealed message has come and was opened in the last 15 seconds.
import { statSync } from 'node:fs'
import { join } from 'node:path'

const MAX_AGE_MS = 15_000
const written = statSync(join(process.env['SUBROSA_REALM'] ?? '.', 'alive'), { throwIfNoEntry: false })
const isAlive = written !== undefined && Date.now() - written.mtimeMs < MAX_AGE_MS
console.log(isAlive ? 'messages come' : 'no message has come for 15 s')
process.exitCode = isAlive ? 0 : 1
