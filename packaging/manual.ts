import type { ConfigKey } from './config-reference.ts'
import type { Command } from './help-text.ts'

/** The manual pages, from what the programs say about themselves and the page of the configuration. */

export function commandPage(command: Command, heading: Heading): string {
  const verbs = command.verbs.map(
    ({ name, summary, help }) =>
      `.SS metabind ${roff(name)}\n${roff(sentence(summary))}\n${verbatim(help)}`,
  )
  return `${title('METABIND', '1', heading)}
.SH NAME
metabind \\- speak to the metabind agent of this instance
.SH SYNOPSIS
.B metabind
.I VERB
.RI [ ARGUMENTS ]
.SH DESCRIPTION
metabind asks the agent, metabindd(8), for session tokens and metadata, and says how it is.
Session tokens are bound to this instance's TPM: a copy is refused on any other instance.
.SH VERBS
${verbs.join('\n')}
.SH EXIT STATUS
0 for success, 2 for wrong usage, 1 for any other failure.
Verbs that have further codes name them above.
.SH ENVIRONMENT
.TP
.BR METABIND_SOCKET ", " METABIND_ADMIN_SOCKET
the sockets of the agent, if no option names them
.SH SEE ALSO
.BR metabindd (8),
.BR metabind.toml (5)
${authors(heading)}`
}

export function daemonPage(help: string, heading: Heading): string {
  return `${title('METABINDD', '8', heading)}
.SH NAME
metabindd \\- the metabind agent
.SH SYNOPSIS
.B metabindd
.RB [ \\-\\-config
.IR FILE ].\\|.\\|.
.SH DESCRIPTION
${verbatim(help)}
.PP
The agent is started by systemd as metabindd.service, on the sockets of metabind.socket and
metabind-admin.socket.
It is ready when it can issue tokens; before that, callers wait in the queue of the socket.
.SH FILES
.TP
.I /etc/metabind/metabind.toml
the configuration
.TP
.I /usr/share/metabind/metabind.toml
all keys, with their defaults
.TP
.I /var/log/metabind
where the agent may write an audit file
.TP
.I /run/metabind/metadata.sock
where applications read metadata
.TP
.I /run/metabind/admin.sock
where root and the group metabind administer the agent
.TP
.I /run/metabind/salt
a salt of the token keys, made anew in each boot
.TP
.I /var/lib/metabind
kept over reboots; nothing secret
.SH SEE ALSO
.BR metabind (1),
.BR metabind.toml (5),
.BR systemctl (1)
${authors(heading)}`
}

export function configPage(keys: readonly ConfigKey[], heading: Heading): string {
  const lines: string[] = []
  let section = ''
  for (const key of keys) {
    if (key.section !== section) lines.push(`.SS [${roff(key.section)}]`)
    section = key.section
    const value = key.value ?? `(${key.words})`
    lines.push('.TP', `.BR ${roff(key.key)} " = ${roff(value).replaceAll('"', '\\(dq')}"`)
    lines.push(roff(sentence(key.meaning)), `Bounds: ${roff(key.bounds)}.`)
  }
  return `${title('METABIND.TOML', '5', heading)}
.SH NAME
metabind.toml \\- configuration of the metabind agent
.SH SYNOPSIS
.I /etc/metabind/metabind.toml
.SH DESCRIPTION
TOML.
Every key is optional; the values shown are the defaults.
An unknown key, a wrong type or a value out of its bounds is refused with file and line.
.B metabind config check
says whether a file is valid.
.SH KEYS
${lines.join('\n')}
.SH SEE ALSO
.BR metabindd (8),
.BR metabind (1)
${authors(heading)}`
}

export interface Heading {
  readonly version: string
  readonly maintainer: string
  readonly homepage: string
  /** YYYY-MM-DD */
  readonly date: string
}

function title(name: string, section: string, { version, date }: Heading): string {
  return `.TH ${name} ${section} "${date}" "metabind ${version}" "metabind"`
}

function authors({ maintainer, homepage }: Heading): string {
  return `.SH AUTHORS\n${roff(maintainer)}, ${roff(homepage)}\n`
}

function verbatim(text: string): string {
  return `.PP\n.nf\n${text.trimEnd().split('\n').map(roff).join('\n')}\n.fi`
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`
}

/** Backslashes, hyphens that must be copied as such, and a dot or quote that would begin a request. */
function roff(line: string): string {
  return line
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll('…', '\\&...')
    .replace(/^([.'])/, '\\&$1')
}
