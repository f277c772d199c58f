import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

/** The repository. */
export const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url))

/** The commands of a document's block of shell lines that has this line in it, without comments. */
export async function commandsOf(document: string, known: string): Promise<readonly string[]> {
  const text = await readFile(`${REPOSITORY}/${document}`, 'utf8')
  const blocks = [...text.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, block = '']) => block)
  const block = blocks.find((candidate) => candidate.includes(known))
  if (block === undefined) throw new Error(`${document} has no block of commands with "${known}"`)
  return block
    .split('\n')
    .map((line) => line.replace(/\s+#.*$/, '').trim())
    .filter((line) => line !== '')
}
