import type { Command } from './help-text.ts'

/** Completes verbs, then their words and options, then file names. */
export function bashCompletion({ verbs }: Command): string {
  const cases = verbs.map(
    ({ name, options, words }) =>
      `    ${name}) options='${options.join(' ')}' words='${words.join(' ')}' ;;`,
  )
  return `# bash completion for metabind
_metabind() {
  local current=\${COMP_WORDS[COMP_CWORD]} options= words=
  if [ "$COMP_CWORD" -eq 1 ]; then
    mapfile -t COMPREPLY < <(compgen -W '${names({ verbs })} --help --version' -- "$current")
    return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
  esac
  [ "$COMP_CWORD" -eq 2 ] || words=
  case "$current" in
    -*) mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current") ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$words" -f -- "$current") ;;
  esac
}
complete -o filenames -F _metabind metabind
`
}

export function zshCompletion({ verbs }: Command): string {
  const described = verbs.map(
    ({ name, summary }) => `    '${name}:${summary.replaceAll(':', ' ').replaceAll("'", "'\\''")}'`,
  )
  const cases = verbs.map(({ name, options, words }) => {
    const first = words.length > 0 ? ` (( CURRENT == 3 )) && compadd -- ${words.join(' ')};` : ''
    return `    ${name}) compadd -- ${options.join(' ')};${first} _files ;;`
  })
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
  for (const { name, summary, options, words } of verbs) {
    const seen = `complete -c metabind -n '__fish_seen_subcommand_from ${name}'`
    const described = summary.replaceAll("'", "\\'")
    lines.push(`complete -c metabind -n __fish_use_subcommand -a ${name} -d '${described}'`)
    lines.push(`${seen} -F`)
    if (words.length > 0) lines.push(`${seen} -a '${words.join(' ')}'`)
    for (const option of options) {
      lines.push(`${seen} -l ${option.replace(/^--/, '')}`)
    }
  }
  return `${lines.join('\n')}\n`
}

function names({ verbs }: Pick<Command, 'verbs'>): string {
  return verbs.map(({ name }) => name).join(' ')
}
