/** What a broker's configuration is made of. Paths are absolute. */
export interface ServerConfigInput {
  readonly listen: string
  readonly certificate: string
  readonly key: string
  /** The folder of JetStream. */
  readonly jetStream: string
  readonly operatorJwt: string
  readonly systemAccount: { readonly publicKey: string; readonly jwt: string }
  readonly account: { readonly publicKey: string; readonly jwt: string }
}

/** A configuration that nats-server starts with as it is, from any folder. */
export function formatServerConfig(input: ServerConfigInput): string {
  const { listen, certificate, key, jetStream, operatorJwt, systemAccount, account } = input
  return `# A broker for one subrosa realm. Start it with: nats-server -c THIS_FILE
# Agents do not have to trust it: what passes here is sealed. Logins and TLS keep strangers and the network out.

server_name: "subrosa"

# Where clients connect. With an address of the loopback interface only this machine can.
listen: ${quote(listen)}

# The certificate lasts one year. Clients trust ca.crt, which stands beside it.
tls {
  cert_file: ${quote(certificate)}
  key_file: ${quote(key)}
  # Seconds that a client may take to shake hands.
  timeout: 5
}

# Where streams are kept, for agents that use them.
jetstream {
  store_dir: ${quote(jetStream)}
}

# Logins carry their permissions: a long list of patterns does not fit into the 4 KB of the default.
max_control_line: 64KB

# Who may log in: users whose token the account signed, an account that the operator signed.
# These tokens are public. The seeds that sign them are not needed here.
operator: ${quote(operatorJwt)}
system_account: ${quote(systemAccount.publicKey)}
resolver: MEMORY
resolver_preload {
  # The account of the agents.
  ${account.publicKey}: ${quote(account.jwt)}
  # The server's own account. Nobody holds its key, so nobody logs in to it.
  ${systemAccount.publicKey}: ${quote(systemAccount.jwt)}
}
`
}

/** nats-server reads the escapes of double-quoted strings as JSON writes them. */
function quote(text: string): string {
  return JSON.stringify(text)
}
