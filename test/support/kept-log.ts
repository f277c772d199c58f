import type { LogFields, Logger } from '../../src/base/logger.ts'

/** A logger that keeps its lines. */
export function keptLog(): { readonly log: Logger; readonly lines: (LogFields & { level: string })[] } {
  const lines: (LogFields & { level: string })[] = []
  const at = (level: string) => (fields: LogFields) => void lines.push({ level, ...fields })
  return { log: { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }, lines }
}
