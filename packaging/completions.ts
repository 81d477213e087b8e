import type { Command } from './help-text.ts'

/** Completes verbs, then their options, then file names. */
export function bashCompletion({ verbs }: Command): string {
  const cases = verbs.map(({ name, options }) => `    ${name}) words='${options.join(' ')}' ;;`)
  return `# bash completion for metabind
_metabind() {
  local current=\${COMP_WORDS[COMP_CWORD]} words=
  if [ "$COMP_CWORD" -eq 1 ]; then
    mapfile -t COMPREPLY < <(compgen -W '${names({ verbs })} --help --version' -- "$current")
    return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
  esac
  case "$current" in
    -*) mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current") ;;
    *) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
  esac
}
complete -o filenames -F _metabind metabind
`
}

export function zshCompletion({ verbs }: Command): string {
  const described = verbs.map(({ name, summary }) => `    '${name}:${quote(summary)}'`)
  const cases = verbs.map(
    ({ name, options }) => `    ${name}) compadd -- ${options.join(' ')}; _files ;;`,
  )
  return `#compdef metabind
_metabind() {
  local -a verbs=(
${described.join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe verb verbs
    return
  fi
  case $words[2] in
${cases.join('\n')}
  esac
}
_metabind "$@"
`
}

export function fishCompletion({ verbs }: Command): string {
  const lines = ['# fish completion for metabind', 'complete -c metabind -f']
  for (const { name, summary, options } of verbs) {
    lines.push(
      `complete -c metabind -n __fish_use_subcommand -a ${name} -d '${quote(summary)}'`,
      `complete -c metabind -n '__fish_seen_subcommand_from ${name}' -F`,
    )
    for (const option of options) {
      const long = option.replace(/^--/, '')
      lines.push(`complete -c metabind -n '__fish_seen_subcommand_from ${name}' -l ${long}`)
    }
  }
  return `${lines.join('\n')}\n`
}

function names({ verbs }: Pick<Command, 'verbs'>): string {
  return verbs.map(({ name }) => name).join(' ')
}

function quote(text: string): string {
  return text.replaceAll("'", '').replaceAll(':', ' ')
}
