import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { isInstalled } from '../support/tools.ts'

/** The repository. */
export const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url))

const KEYGEN = /^ssh-keygen -q -t ed25519 -N '(.*)' -f (\S+)$/

/** The commands of a document's block of shell lines that has this text in it, without comments. */
export async function commandsOf(document: string, known: string): Promise<readonly string[]> {
  const text = await readFile(`${REPOSITORY}/${document}`, 'utf8')
  const blocks = [...text.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block = '']) => block)
  const block = blocks.find((candidate) => candidate.includes(known))
  if (block === undefined) throw new Error(`${document} has no block of commands with "${known}"`)
  return block
    .split('\n')
    .map((line) => line.replace(/\s+#.*$/, '').trim())
    .filter((line) => line !== '')
    .map(withoutKeygen)
}

/** Where there is no ssh-keygen, keys that it has made earlier; their passphrase is that of the examples. */
function withoutKeygen(line: string): string {
  const [, passphrase, file] = KEYGEN.exec(line) ?? []
  if (file === undefined || isInstalled('ssh-keygen')) return line
  const key = `${REPOSITORY}/test/vectors/keys/openssh${passphrase === '' ? '' : '-encrypted'}`
  const publicKey = `${REPOSITORY}/test/vectors/keys/openssh.pub`
  return `install -m 600 '${key}' ${file} && cp '${publicKey}' ${file}.pub`
}
