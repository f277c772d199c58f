import { Argument, type Command } from 'commander'
import { isAgentName } from '../../identity/token.ts'
import { listFolder } from '../../setup/files.ts'
import { listInstalled } from '../../setup/installed.ts'
import { realmLayout } from '../../setup/layout.ts'
import { agentHome } from '../realm/agent-home.ts'
import { listContexts } from '../realm/contexts.ts'
import { DEFAULT_REALM } from '../realm/find-realm.ts'
import { COMPLETE, completionsOf } from '../terminal/completion-words.ts'
import { addExamples } from '../terminal/options.ts'
import type { Terminal } from '../terminal/terminal.ts'

/** For each shell what it has to load. The words themselves come from this program. */
const SCRIPTS = {
  bash: `# source <(subrosa completion bash)
_subrosa() {
  local word
  COMPREPLY=()
  while IFS= read -r word; do
    COMPREPLY+=("$word")
  done < <("\${COMP_WORDS[0]}" ${COMPLETE} -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _subrosa subrosa`,
  zsh: `#compdef subrosa
# source <(subrosa completion zsh)
_subrosa() {
  local -a found
  found=("\${(@f)$("\${words[1]}" ${COMPLETE} -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "\${found[1]}" ]]; then
    compadd -- "\${found[@]}"
  else
    _files
  fi
}
compdef _subrosa subrosa`,
  fish: `# subrosa completion fish | source
function __subrosa_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    test (count $current) -eq 0; and set current ''
    $words[1] ${COMPLETE} -- $words[2..-1] $current 2>/dev/null
end
complete -c subrosa -a '(__subrosa_complete)'`,
} as const

type Shell = keyof typeof SCRIPTS

/** Registers `subrosa completion`, and what its scripts ask. */
export function registerCompletion(program: Command, terminal: Terminal): void {
  const shells = Object.keys(SCRIPTS)
  const command = program
    .command('completion')
    .description('print what makes a shell complete commands, options, contexts and agents')
    .addArgument(new Argument('<shell>', 'which shell').choices(shells))
    .action((shell: Shell) => terminal.data(SCRIPTS[shell]))
  addExamples(
    command,
    'subrosa completion bash > ~/.local/share/bash-completion/completions/subrosa',
    'subrosa completion fish | source',
  )
  program
    .command(COMPLETE, { hidden: true })
    .argument('[words...]')
    .helpOption(false)
    .action(async (words: readonly string[]) => {
      for (const word of await completionsOf(program, words, (name) => wordsFor(terminal, name, words)))
        terminal.data(word)
    })
}

async function wordsFor(
  terminal: Terminal,
  name: string,
  words: readonly string[],
): Promise<readonly string[]> {
  if (name === 'context') return (await listContexts(terminal.env)).filter((word) => /^[\w.@+-]+$/.test(word))
  if (name === 'bundle') return installedNames(terminal)
  if (!['as', 'to', 'name'].includes(name)) return []
  const dir = realmIn(words) ?? terminal.env['SUBROSA_REALM']
  const files = await listFolder(realmLayout(dir || DEFAULT_REALM).agents)
  if (!dir && files.length === 0) return installedNames(terminal)
  return files
    .filter((file) => file.endsWith('.jwt'))
    .map((file) => file.slice(0, -'.jwt'.length))
    .filter(isAgentName)
}

async function installedNames({ env }: Terminal): Promise<readonly string[]> {
  return [...new Set((await listInstalled(agentHome(env))).map(({ name }) => name))].sort()
}

/** The folder that the command line names. */
function realmIn(words: readonly string[]): string | undefined {
  for (const [i, word] of words.entries()) {
    if (word === '--realm') return words[i + 1] === '=' ? words[i + 2] : words[i + 1]
    if (word.startsWith('--realm=')) return word.slice('--realm='.length)
  }
  return undefined
}
