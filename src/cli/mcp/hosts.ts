/** The programs that use MCP servers, for which there is a snippet to paste. */
export const HOSTS = ['claude', 'vscode', 'cursor'] as const

/** One of {@link HOSTS}. */
export type HostName = (typeof HOSTS)[number]

/** How a host starts a program. */
export interface Launch {
  readonly command: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

/** What a host wants its configuration to be. */
export interface Host {
  readonly title: string
  /** The member of its file in which the servers stand, by name. */
  readonly member: string
  /** What each entry has besides. */
  readonly entry: Readonly<Record<string, string>>
  /** Whether it starts servers in the folder that is open in it, which anybody may have filled. */
  readonly startsInWorkspace: boolean
  /** Where the configuration stands. */
  readonly places: (platform: NodeJS.Platform) => string
  /** How the host shows whether it works. */
  readonly check: string
}

/** What there is to know of each host. */
export const HOST: Readonly<Record<HostName, Host>> = {
  claude: {
    title: 'Claude Desktop',
    member: 'mcpServers',
    entry: {},
    startsInWorkspace: false,
    places: (platform) => inFolder(platform, ['Claude', 'claude_desktop_config.json']),
    check: 'start Claude Desktop again; Settings, Developer shows the server and its log',
  },
  vscode: {
    title: 'VS Code',
    member: 'servers',
    entry: { type: 'stdio' },
    startsInWorkspace: true,
    places: (platform) =>
      `${inFolder(platform, ['Code', 'User', 'mcp.json'])}, or .vscode/mcp.json of a folder`,
    check: 'the command "MCP: List Servers" shows the server and its log',
  },
  cursor: {
    title: 'Cursor',
    member: 'mcpServers',
    entry: {},
    startsInWorkspace: true,
    places: (platform) => `${inHome(platform, ['.cursor', 'mcp.json'])}, or .cursor/mcp.json of a folder`,
    check: "the settings of Cursor show the server under MCP, and its log is in the output panel's MCP Logs",
  },
}

/** What a host's file has to hold for these servers. */
export function hostConfig({ member, entry }: Host, servers: ReadonlyMap<string, Launch>) {
  const entries = [...servers].map(([name, launch]) => [name, { ...entry, ...launch }])
  return { [member]: Object.fromEntries(entries) }
}

function inFolder(platform: NodeJS.Platform, parts: readonly string[]): string {
  if (platform === 'win32') return ['%APPDATA%', ...parts].join('\\')
  return [platform === 'darwin' ? '~/Library/Application Support' : '~/.config', ...parts].join('/')
}

function inHome(platform: NodeJS.Platform, parts: readonly string[]): string {
  return platform === 'win32' ? ['%USERPROFILE%', ...parts].join('\\') : ['~', ...parts].join('/')
}
