import type { ConfigKey } from './config-reference.ts'
import { helpAsRoff, roff } from './help-roff.ts'
import type { Command } from './help-text.ts'

/** The manual pages, from what the programs say about themselves and the page of the configuration. */

export function commandPage(command: Command, heading: Heading): string {
  const verbs = command.verbs.map(
    ({ name, summary, help }) =>
      `.SS metabind ${roff(name)}\n${roff(sentence(summary))}\n${helpAsRoff(help)}`,
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
.TP
.B 0
done, or the answer is yes
.TP
.B 1
not done, or the answer is no; a line on standard error says why
.TP
.B 2
wrong usage
.TP
.BR 3 ", " 4 ", " 5 ", " 6
other answers of some verbs, which are named above
.TP
.BR 126 ", " 127
.BR "metabind exec" :
the command cannot be executed, or is not there; else its own
.TP
.B 141
whoever read the output has closed it
.SH ENVIRONMENT
.TP
.BR METABIND_SOCKET ", " METABIND_ADMIN_SOCKET
the sockets of the agent, if no option names them
.TP
.B NO_COLOR
if it is set,
.B metabind status --watch
draws in no colour
.SH FILES
.TP
.I /run/metabind/metadata.sock
where applications and this command read metadata
.TP
.I /run/metabind/admin.sock
where root and the group metabind administer the agent
.TP
.I /etc/metabind/metabind.toml
the configuration of the agent, which
.B metabind config check
reads
.TP
.I /etc/metabind/policy.toml
who may read what, which
.B metabind policy check
reads
.SH EXAMPLES
${examples([
  ['How the agent is, and what it waits for:', 'metabind status'],
  [
    'A session token for ten minutes, in a file of mode 0600:',
    'metabind token --ttl 10m --out token',
  ],
  ['Metadata, with that token:', 'metabind get instance-id --token-file token'],
  ['A command with the credentials of the role:', 'metabind exec -- aliyun ecs DescribeRegions'],
  ['Why www-data may not read the user data:', 'metabind explain www-data user-data'],
  [
    'Only the agent reaches the metadata service, for ten minutes unless it is confirmed:',
    'metabind lockdown on --for 10m',
  ],
])}
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
${helpAsRoff(help)}
.PP
The agent is started by systemd as metabindd.service, on the sockets of metabind.socket and
metabind-admin.socket.
It is ready when it can issue tokens; before that, callers wait in the queue of the socket.
.SH FILES
.TP
${CONFIGURATION_FILES}
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
.SH EXIT STATUS
.TP
.B 0
ended by SIGTERM or SIGINT, or all was said
.TP
.B 1
it could not start or go on; a line on standard error says why
.TP
.B 2
wrong usage
.TP
.B 141
whoever read the help has closed it
.SH EXAMPLES
${examples([
  ['Start it, and see how it is:', 'systemctl start metabindd; metabind status'],
  ['Have it read its configuration again:', 'systemctl reload metabindd'],
  [
    'Run it by hand, with one more file of configuration:',
    'metabindd --config /etc/metabind/metabind.toml --config trial.toml',
  ],
])}
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
.SH FILES
.TP
${CONFIGURATION_FILES}
.SH EXAMPLES
${examples([
  [
    'A listener for redirected callers, and records of who read what in a file:',
    '[transparent]\nenabled = true\n\n[audit]\nfile = "/var/log/metabind/audit.log"',
  ],
  ['Is it valid?', 'metabind config check /etc/metabind/metabind.toml'],
])}
.SH EXIT STATUS
.B metabind config check
ends with 0 if the file is valid and with 1 if it is not.
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

const CONFIGURATION_FILES = `.I /etc/metabind/metabind.toml
the configuration
.TP
.I /usr/share/metabind/metabind.toml
all keys, with their defaults`

export function title(name: string, section: string, { version, date }: Heading): string {
  // Names of options and keys are not broken at their hyphens.
  return `.TH ${name} ${section} "${date}" "metabind ${version}" "metabind"\n.nh\n.ad l`
}

export function authors({ maintainer, homepage }: Heading): string {
  return `.SH AUTHORS\n${roff(maintainer)}, ${roff(homepage)}\n`
}

/** What is typed, each with what for. */
export function examples(all: readonly (readonly [what: string, typed: string])[]): string {
  return all
    .map(
      ([what, typed]) =>
        `.PP\n${roff(what)}\n.PP\n.in +4n\n.nf\n${typed.split('\n').map(roff).join('\n')}\n.fi\n.in`,
    )
    .join('\n')
}

export function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`
}
