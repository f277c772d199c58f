/** How the benchmark was asked to run. */
export interface Plan {
  readonly quick: boolean
  /** A folder for CPU profiles of the processes of pipe, latency and mcp. */
  readonly profile: string | undefined
}
