import { helpAsRoff, roff } from './help-roff.ts'
import { authors, examples, type Heading, sentence, title } from './manual.ts'

/** The registrar's manual pages, from its help and the tables of keys on the pages of docs/. */

interface ConfigRow {
  /** `listen.address, listen.port` */
  readonly keys: string
  readonly fallback: string
  readonly meaning: string
}

const ROW = /^\| (`[a-z_.0-9]+`(?:, `[a-z_.0-9]+`)*) \| (.+?) \| (.+) \|$/gm

const TABLE = /^\| Key \| Default \| Means \|\n\|[-|]+\|\n((?:\|.*\n)+)/gm

/** @param pages docs/fleet.md and those beside it: each table of keys of one of them */
export function configRows(pages: readonly string[]): ConfigRow[] {
  const tables = pages.flatMap((page) => [...page.matchAll(TABLE)].map(([, table = '']) => table))
  return [...tables.join('').matchAll(ROW)].map(([, keys = '', fallback = '', meaning = '']) => ({
    keys: plain(keys),
    fallback: plain(fallback),
    meaning: plain(meaning),
  }))
}

export function commandPage(help: string, heading: Heading): string {
  return `${title('METABIND-REGISTRAR', '8', heading)}
.SH NAME
metabind\\-registrar \\- know the instances of a fleet, and issue tokens for them
.SH SYNOPSIS
.B metabind\\-registrar
.I VERB
.RI [ ARGUMENTS ]
.SH DESCRIPTION
${helpAsRoff(help)}
.PP
The registrar is started by systemd as metabind\\-registrar.service, and is ready when it listens.
SIGHUP has it read its configuration again; what it cannot take over it names in its log.
The verbs are for the user that owns the database, metabind\\-registrar.
.SH FILES
.TP
.I /etc/metabind/registrar.toml
the configuration
.TP
.I /var/lib/metabind\\-registrar
the database, and the master key that seals what is secret in it
.SH EXIT STATUS
.TP
.B 0
done
.TP
.B 1
it failed; a line on standard error says why
.TP
.B 2
wrong usage
.TP
.B 3
of events \\-\\-verify with \\-\\-key: whole, but the last events are not signed
.TP
.B 141
whoever read the output has closed it
.SH EXAMPLES
${examples([
  ['Who is known:', 'sudo -u metabind-registrar metabind-registrar list'],
  ['Let one in that is held:', 'sudo -u metabind-registrar metabind-registrar approve i-bp1'],
  ['Have it read its configuration again:', 'systemctl reload metabind-registrar'],
])}
.SH SEE ALSO
.BR metabind\\-registrar.toml (5),
.BR systemctl (1)
${authors(heading)}`
}

export function configPage(rows: readonly ConfigRow[], heading: Heading): string {
  const lines = rows.flatMap(({ keys, fallback, meaning }) => [
    '.TP',
    `.B ${roff(keys)}`,
    roff(sentence(meaning)),
    `Default: ${roff(fallback)}.`,
  ])
  return `${title('METABIND-REGISTRAR.TOML', '5', heading)}
.SH NAME
metabind\\-registrar.toml \\- configuration of the metabind registrar
.SH SYNOPSIS
.I /etc/metabind/registrar.toml
.SH DESCRIPTION
TOML.
Only
.B url
must be set; an unknown key, a wrong type or a value out of its bounds is refused with file and line.
.SH KEYS
${lines.join('\n')}
.SH FILES
.TP
.I /etc/metabind/registrar.toml
the configuration
.SH EXAMPLES
${examples([
  [
    'A registrar that trusts a folder of certificates, and issues tokens for one audience:',
    'url = "https://registrar.example"\n\n[trust]\nek_anchors = "/etc/metabind/anchors"\n\n[[audience]]\nname = "sts.amazonaws.com"',
  ],
])}
.SH SEE ALSO
.BR metabind\\-registrar (8)
${authors(heading)}`
}

/** Markdown as words: links as their text. */
function plain(markdown: string): string {
  return markdown
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replaceAll('`', '')
    .replaceAll('**', '')
    .replace(/\.$/, '')
}
