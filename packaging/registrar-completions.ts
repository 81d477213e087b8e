/** Completions of three shells for metabind-registrar, from its help: verbs, options, and a file where one belongs. */

interface Words {
  readonly verbs: readonly { readonly name: string; readonly summary: string }[]
  readonly options: readonly { readonly name: string; readonly value: string | undefined }[]
}

const COMMAND = 'metabind-registrar'

/** @param help as `--help` prints it */
export function wordsOf(help: string): Words {
  const verbs = [...help.matchAll(/^ {2}([a-z]+)(?: \[?[A-Z]+\]?)? {2,}(.+)$/gm)]
  const options = [...help.matchAll(/^ {2}(?:-\w, )?(--[a-z-]+)(?: ([A-Z]+))? {2,}/gm)]
  return {
    verbs: verbs.map(([, name = '', summary = '']) => ({ name, summary })),
    options: options.map(([, name = '', value]) => ({ name, value })),
  }
}

/** The verbs that a file follows. */
function withFile(help: string): string[] {
  return [...help.matchAll(/^ {2}([a-z]+) \[?FILE\]? {2,}/gm)].map(([, name = '']) => name)
}

export function bashCompletion(help: string): string {
  const { verbs, options } = wordsOf(help)
  return `# bash completion for ${COMMAND}
_metabind_registrar() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]}
  COMPREPLY=()
  case "$previous" in
    --config | ${orNone(withFile(help))})
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      return
      ;;
    ${orNone(options.filter(({ name, value }) => value !== undefined && name !== '--config').map(({ name }) => name))}) return ;;
  esac
  if [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W '${names(options)}' -- "$current")
  elif [ "$COMP_CWORD" -eq 1 ]; then
    mapfile -t COMPREPLY < <(compgen -W '${names(verbs)}' -- "$current")
  fi
}
complete -F _metabind_registrar ${COMMAND}
`
}

export function zshCompletion(help: string): string {
  const { verbs, options } = wordsOf(help)
  const described = verbs.map(({ name, summary }) => `    '${name}:${quoted(summary)}'`)
  return `#compdef ${COMMAND}
_metabind_registrar() {
  local -a verbs=(
${described.join('\n')}
  )
  case $words[CURRENT-1] in
    --config | ${orNone(withFile(help))}) _files; return ;;
  esac
  if [[ $PREFIX == -* ]]; then compadd -- ${names(options)}
  elif (( CURRENT == 2 )); then _describe verb verbs; fi
}
_metabind_registrar "$@"
`
}

export function fishCompletion(help: string): string {
  const { verbs, options } = wordsOf(help)
  const lines = [
    `complete -c ${COMMAND} -f`,
    ...verbs.map(
      ({ name, summary }) =>
        `complete -c ${COMMAND} -n __fish_use_subcommand -a ${name} -d '${quoted(summary)}'`,
    ),
    ...withFile(help).map(
      (name) => `complete -c ${COMMAND} -n '__fish_seen_subcommand_from ${name}' -F`,
    ),
    ...options.map(
      ({ name, value }) =>
        `complete -c ${COMMAND} -l ${name.slice(2)}${value === undefined ? '' : value === 'FILE' ? ' -r -F' : ' -x'}`,
    ),
  ]
  return `# fish completion for ${COMMAND}\n${lines.join('\n')}\n`
}

function names(words: readonly { readonly name: string }[]): string {
  return words.map(({ name }) => name).join(' ')
}

/** Alternatives of a shell's \`case\`. */
function orNone(words: readonly string[]): string {
  return words.length === 0 ? "''" : words.join(' | ')
}

function quoted(text: string): string {
  return text.replaceAll("'", '’').replaceAll(':', ' ')
}
