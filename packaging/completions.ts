import type { Command, Kind, Verb } from './help-text.ts'

/**
 * Completions of three shells. Verbs, words, options and their values are written in here; roles and paths are
 * asked of the agent, by metabind itself, when somebody wants them. What it lists becomes words of a command
 * line, so names with other characters than metadata has are left out. Files are offered only where one belongs.
 */

/** Where the roles are: of whichever cloud this is, one of them is there. */
const ROLE_FOLDERS = 'ram/security-credentials/ iam/security-credentials/'
/** What stands beside meta-data, as metabind get has it. */
const BESIDE = 'user-data vendor-data dynamic/ maintenance/'
const NAME = '^[A-Za-z0-9@:_.=,+-]+/?$'

export function bashCompletion({ verbs }: Command): string {
  return `# bash completion for metabind
_metabind_names() {
  local name
  metabind get -- "$1" 2>/dev/null | while read -r name || [ -n "$name" ]; do
    [[ $name =~ ${NAME} ]] && printf '%s\\n' "$1$name"
  done
}

_metabind_paths() {
  local folder=
  [[ $1 != */* ]] || folder=\${1%/*}/
  _metabind_names "$folder"
  [ -n "$folder" ] || printf '%s\\n' ${BESIDE}
}

_metabind_roles() {
  local folder name
  for folder in ${ROLE_FOLDERS}; do
    _metabind_names "$folder" | while read -r name; do printf '%s\\n' "\${name#"$folder"}"; done
  done
}

# Of the lines of standard input those that begin with the argument. Not by compgen -W, which expands them.
_metabind_beginning() {
  local line
  while read -r line; do [[ $line != "$1"* ]] || COMPREPLY+=("$line"); done
}

_metabind_of() {
  local kind=$1 current=$2 whole colon at
  case $kind in
    file) compopt -o filenames 2>/dev/null; mapfile -t -O "\${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$current") ;;
    folder) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
    user) mapfile -t -O "\${#COMPREPLY[@]}" COMPREPLY < <(compgen -u -- "$current") ;;
    command) mapfile -t COMPREPLY < <(compgen -c -- "$current") ;;
    role) _metabind_beginning "$current" < <(_metabind_roles) ;;
    path)
      # A colon ends a word of bash, but not one of ours: all up to it is there already.
      whole=\${COMP_LINE:0:COMP_POINT} whole=\${whole##*[[:space:]]}
      colon=\${whole%"\${whole##*:}"}
      _metabind_beginning "$whole" < <(_metabind_paths "$whole")
      for at in "\${!COMPREPLY[@]}"; do COMPREPLY[at]=\${COMPREPLY[at]#"$colon"}; done
      [ "\${#COMPREPLY[@]}" -ne 1 ] || [[ \${COMPREPLY[0]} != */ ]] || compopt -o nospace 2>/dev/null
      ;;
    *) _metabind_beginning "$current" < <(printf '%s\\n' $kind) ;;
  esac
}

_metabind() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} verb=\${COMP_WORDS[1]}
  local word=\${COMP_WORDS[2]} at options= words= value= kind
  local -a kinds=()
  COMPREPLY=()
  if [ "$current" = = ]; then current=
  elif [ "$previous" = = ]; then previous=\${COMP_WORDS[COMP_CWORD-2]}; fi
  if [ "$COMP_CWORD" -eq 1 ] || [ "$COMP_CWORD $verb" = '2 help' ]; then
    _metabind_of '${names(verbs)} help version --help --version' "$current"
    return
  fi
  case "$verb $previous" in
${verbs.flatMap(({ name, options }) => options.filter(({ takesValue }) => takesValue).map((option) => `    '${name} ${option.name}') value='${shellKind(option.kind)}' ;;`)).join('\n')}
    *) value=no ;;
  esac
  if [ "$value" != no ]; then
    [ -z "$value" ] || _metabind_of "$value" "$current"
    return
  fi
  case "$verb" in
${verbs.map(({ name, options, words }) => `    ${name}) options='${options.map((option) => option.name).join(' ')}' words='${words.join(' ')}' ;;`).join('\n')}
  esac
  if [ "$verb" = exec ]; then
    for ((at = 2; at < COMP_CWORD; at++)); do
      case \${COMP_WORDS[at]} in
        --) ;;
        -* | =) [ "\${COMP_WORDS[at+1]}" = = ] || at=$((at + 1)) ;;
        *) [ "\${COMP_WORDS[at-1]}" = = ] || { _metabind_of file "$current"; return; } ;;
      esac
    done
  fi
  if [[ $current == -* ]]; then _metabind_of "$options" "$current"; return; fi
  if [ "$COMP_CWORD" -eq 2 ]; then
    [ -z "$words" ] || _metabind_of "$words" "$current"
    word=
  elif [[ " $words " != *" $word "* ]]; then word=; fi
  case "$verb $word" in
${verbs.flatMap((verb) => operandsOf(verb).map(([word, kinds]) => `    '${verb.name} ${word}') kinds=(${kinds.map((kind) => `'${shellKind(kind)}'`).join(' ')}) ;;`)).join('\n')}
  esac
  for kind in "\${kinds[@]}"; do _metabind_of "$kind" "$current"; done
}
complete -F _metabind metabind
`
}

export function zshCompletion({ verbs }: Command): string {
  const described = verbs.map(
    ({ name, summary }) => `    '${name}:${summary.replaceAll(':', ' ').replaceAll("'", "'\\''")}'`,
  )
  return `#compdef metabind
_metabind_names() {
  local name
  for name in \${(f)"$(metabind get -- "$1" 2>/dev/null)"}; do
    [[ $name =~ '${NAME}' ]] && print -r -- "$1$name"
  done
}

_metabind_paths() {
  local folder=
  [[ $PREFIX != */* ]] || folder=\${PREFIX%/*}/
  local -a found=(\${(f)"$(_metabind_names "$folder")"})
  [[ -n $folder ]] || found+=(${BESIDE})
  compadd -S '' -- \${(M)found:#*/}
  compadd -- \${found:#*/}
}

_metabind_roles() {
  local folder
  local -a found
  for folder in ${ROLE_FOLDERS}; do
    found=(\${(f)"$(_metabind_names $folder)"})
    compadd -- \${found#$folder}
  done
}

_metabind_of() {
  case $1 in
    file) _files ;;
    folder) _files -/ ;;
    user) _users ;;
    command) _command_names -e ;;
    role) _metabind_roles ;;
    path) _metabind_paths ;;
    *) compadd -- \${=1} ;;
  esac
}

_metabind() {
  local -a verbs=(
${described.join('\n')}
    'help:say how a verb is used'
    'version:print the version'
  )
  local verb=$words[2] word=$words[3] previous=$words[CURRENT-1] value=no options= these= kind
  local -a kinds=()
  integer at
  if (( CURRENT == 2 )) || [[ "$CURRENT $verb" == '3 help' ]]; then
    _describe verb verbs
    return
  fi
  if [[ $PREFIX == --*=* ]]; then
    previous=\${PREFIX%%=*}
    compset -P '*='
  fi
  case "$verb $previous" in
${verbs.flatMap(({ name, options }) => options.filter(({ takesValue }) => takesValue).map((option) => `    '${name} ${option.name}') value='${shellKind(option.kind)}' ;;`)).join('\n')}
  esac
  if [[ $value != no ]]; then
    [[ -z $value ]] || _metabind_of $value
    return
  fi
  case $verb in
${verbs.map(({ name, options, words }) => `    ${name}) options='${options.map((option) => option.name).join(' ')}' these='${words.join(' ')}' ;;`).join('\n')}
  esac
  if [[ $verb == exec ]]; then
    for (( at = 3; at < CURRENT; at++ )); do
      case $words[at] in
        -- | --*=*) ;;
        -*) (( at++ )) ;;
        *) _files; return ;;
      esac
    done
  fi
  if [[ $PREFIX == -* ]]; then compadd -- \${=options}; return; fi
  if (( CURRENT == 3 )); then
    [[ -z $these ]] || compadd -- \${=these}
    word=
  elif [[ " $these " != *" $word "* ]]; then word=; fi
  case "$verb $word" in
${verbs.flatMap((verb) => operandsOf(verb).map(([word, kinds]) => `    '${verb.name} ${word}') kinds=(${kinds.map((kind) => `'${shellKind(kind)}'`).join(' ')}) ;;`)).join('\n')}
  esac
  for kind in $kinds; do _metabind_of $kind; done
}
_metabind "$@"
`
}

export function fishCompletion({ verbs }: Command): string {
  const lines = verbs.flatMap((verb) => [
    `complete -c metabind -n __metabind_first -a ${verb.name} -d '${verb.summary.replaceAll("'", "\\'")}'`,
    `complete -c metabind -n '__metabind_help' -a ${verb.name}`,
    ...verb.words.map((word) => `complete -c metabind -n '__metabind_at ${verb.name}' -a ${word}`),
    ...verb.options.map(
      ({ name, takesValue, kind }) =>
        `complete -c metabind -n '__metabind_in ${verb.name}' -l ${name.slice(2)}${takesValue ? ` ${fishValue(kind)}` : ''}`,
    ),
    ...operandsOf(verb).flatMap(([word, kinds]) =>
      kinds.map(
        (kind) =>
          `complete -c metabind -n '__metabind_operand ${verb.name} ${word || '-'} ${verb.words.join(' ')}' ${fishOperand(kind)}`,
      ),
    ),
  ])
  return `# fish completion for metabind
function __metabind_first
    test (count (commandline -opc)) -eq 1
end

function __metabind_help
    set -l typed (commandline -opc)
    test (count $typed) -eq 2; and test $typed[2] = help
end

function __metabind_in
    set -l typed (commandline -opc)
    test "$typed[2]" = $argv[1]
end

# Right behind the verb, where a word of it stands.
function __metabind_at
    set -l typed (commandline -opc)
    test (count $typed) -eq 2; and test $typed[2] = $argv[1]
end

# VERB WORD WORDS...: behind the verb and this word of it; for a dash, behind the verb and none of its words.
function __metabind_operand
    set -l typed (commandline -opc)
    test "$typed[2]" = $argv[1]; or return 1
    if test $argv[2] = -
        not contains -- "$typed[3]" $argv[3..]
    else
        test "$typed[3]" = $argv[2]
    end
end

function __metabind_names
    metabind get -- $argv[1] 2>/dev/null | string match -r '${NAME}' | string replace -r '^' $argv[1]
end

function __metabind_paths
    set -l folder (string match -r '^.*/' -- (commandline -ct))
    __metabind_names "$folder"
    test -n "$folder"; or printf '%s\\n' ${BESIDE}
end

function __metabind_roles
    for folder in ${ROLE_FOLDERS}
        __metabind_names $folder | string replace $folder ''
    end
end

complete -c metabind -f
complete -c metabind -n __metabind_first -a 'help version'
complete -c metabind -n __metabind_first -l help
complete -c metabind -n __metabind_first -l version
${lines.join('\n')}
`
}

function operandsOf({ operands }: Verb): [string, readonly Kind[]][] {
  return Object.entries(operands).filter(([, kinds]) => kinds.length > 0)
}

/** A kind as the shells above take it: its name, or the words. */
function shellKind(kind: Kind | undefined): string {
  return typeof kind === 'object' ? kind.join(' ') : (kind ?? '')
}

function fishValue(kind: Kind | undefined): string {
  if (kind === 'file') return '-r -F'
  return kind === undefined ? '-x' : `-x ${fishOperand(kind)}`
}

function fishOperand(kind: Kind): string {
  if (typeof kind === 'object') return `-a '${kind.join(' ')}'`
  return {
    file: '-F',
    folder: "-a '(__fish_complete_directories)'",
    user: "-a '(__fish_complete_users)'",
    command: "-a '(__fish_complete_subcommand --fcs-skip=2)'",
    role: "-a '(__metabind_roles)'",
    path: "-a '(__metabind_paths)'",
  }[kind]
}

function names(verbs: Command['verbs']): string {
  return verbs.map(({ name }) => name).join(' ')
}
