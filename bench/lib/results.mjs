/**
 * What the suites have measured, by their names; those that did not run are missing.
 *
 * @typedef {{
 *   readonly pipe?: Awaited<ReturnType<typeof import('../suites/pipe.mjs').pipeSuite>>,
 *   readonly latency?: Awaited<ReturnType<typeof import('../suites/latency.mjs').latencySuite>>,
 *   readonly mcp?: Awaited<ReturnType<typeof import('../suites/mcp.mjs').mcpSuite>>,
 *   readonly seal?: Awaited<ReturnType<typeof import('../suites/seal.mjs').sealSuite>>,
 *   readonly scale?: Awaited<ReturnType<typeof import('../suites/scale.mjs').scaleSuite>>,
 *   readonly bytes?: Awaited<ReturnType<typeof import('../suites/bytes.mjs').bytesSuite>>,
 *   readonly memory?: Awaited<ReturnType<typeof import('../suites/memory.mjs').memorySuite>>,
 *   readonly freshness?: Awaited<ReturnType<typeof import('../suites/freshness.ts').freshnessSuite>>,
 * }} Results
 */
export {}
