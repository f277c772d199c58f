/**
 * How the benchmark was asked to run.
 *
 * @typedef {{
 *   readonly quick: boolean,
 *   readonly profile: string | undefined,
 * }} Plan `profile` is a folder for CPU profiles of the processes of pipe, latency and mcp
 */
export {}
