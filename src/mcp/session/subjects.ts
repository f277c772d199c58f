/** The subjects over which sessions with one MCP server go. SPEC, "MCP". */
export interface McpSubjects {
  /** Where sessions are opened: replicas of the server are one queue group here. */
  readonly open: string
  /** Where each replica is asked by itself whether it is there. */
  readonly presence: string
  /** Frames to this instance of the server. */
  readonly toServer: (instance: string) => string
  /** Frames of the server to this instance of a client. */
  readonly toClient: (instance: string) => string
}

/** The patterns that an agent needs in its identity token. */
export interface McpPermissions {
  readonly pub: readonly string[]
  readonly sub: readonly string[]
}

const PREFIX = 'mcp'

/** The subjects of the server that the agent of this name runs. */
export function mcpSubjects(server: string): McpSubjects {
  const root = `${PREFIX}.${server}`
  return {
    open: `${root}.open`,
    presence: `${root}.presence`,
    toServer: (instance) => `${root}.to.${instance}`,
    toClient: (instance) => `${root}.from.${instance}`,
  }
}

/** What an agent must be allowed that serves under its own name. */
export function serverPermissions(server: string): McpPermissions {
  const { open, presence, toServer, toClient } = mcpSubjects(server)
  return { pub: [toClient('*')], sub: [open, presence, toServer('*')] }
}

/** What an agent must be allowed that uses this server, or every one with `*`. */
export function clientPermissions(server: string): McpPermissions {
  const { open, presence, toServer, toClient } = mcpSubjects(server)
  return { pub: [open, presence, toServer('*')], sub: [toClient('*')] }
}
