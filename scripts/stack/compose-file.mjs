import { readFileSync } from 'node:fs'
import { parse } from 'yaml'

/**
 * A service of docker-compose.yml, as far as it can be run as a plain process.
 *
 * @typedef {{
 *   readonly name: string, readonly command: readonly string[], readonly environment: Readonly<Record<string, string>>,
 *   readonly dependsOn: readonly { readonly service: string, readonly condition: string }[],
 *   readonly healthcheck: readonly string[] | undefined, readonly restarts: boolean,
 * }} Service
 */

/**
 * The services and the names of the volumes in docker-compose.yml, so that it alone says what the stack is made of.
 *
 * @param {string | URL} path
 * @param {NodeJS.ProcessEnv} env what `${NAME:-default}` is taken from
 */
export function readComposeFile(path, env) {
  const { services, volumes } = parse(interpolate(readFileSync(path, 'utf8'), env), { merge: true })
  return {
    services: Object.entries(services).map(([name, service]) => toService(name, service)),
    volumes: Object.keys(volumes),
  }
}

/**
 * @param {string} text
 * @param {NodeJS.ProcessEnv} env
 */
function interpolate(text, env) {
  return text.replaceAll(/\$\{(\w+):-([^}]*)\}/g, (_, name, byDefault) =>
    JSON.stringify(env[name] || byDefault),
  )
}

/**
 * @param {string} name
 * @param {any} service
 * @returns {Service}
 */
function toService(name, service) {
  const { entrypoint = [], command, environment = {}, depends_on = {}, healthcheck, restart } = service
  const conditions = /** @type {[string, { readonly condition: string }][]} */ (Object.entries(depends_on))
  return {
    name,
    command: [...entrypoint, ...command],
    environment,
    dependsOn: conditions.map(([other, { condition }]) => ({ service: other, condition })),
    // The first word says how the rest is run: here always as a command.
    healthcheck: healthcheck?.test.slice(1),
    restarts: restart !== 'no',
  }
}
