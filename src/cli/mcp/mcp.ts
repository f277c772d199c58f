import type { Command } from 'commander'
import { addExamples } from '../terminal/options.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { registerMcpConfig } from './config.ts'
import { registerConnect } from './connect.ts'
import { registerLs } from './ls.ts'
import { registerPing } from './ping.ts'
import { registerServe } from './serve.ts'
import { registerTools } from './tools.ts'

/** Registers `subrosa mcp`, the commands for MCP servers and hosts. */
export function registerMcp(program: Command, terminal: Terminal): void {
  const mcp = program.command('mcp').description('put MCP servers and hosts behind end-to-end encryption')
  addExamples(mcp, 'subrosa mcp config claude files')
  registerServe(mcp, terminal)
  registerConnect(mcp, terminal)
  registerLs(mcp, terminal)
  registerPing(mcp, terminal)
  registerTools(mcp, terminal)
  registerMcpConfig(mcp, terminal)
}
