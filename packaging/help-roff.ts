/** The help of a program as the source of a manual page: usage, paragraphs, and a list of options. */

const OPTION = /^ {2}((?:-\w, )?-?-?[a-z][\w-]*(?: \S+)?)(?: {2,}(.*))?$/
const MORE = /^ {6,}(\S.*)$/

/** @param help as `--help` prints it */
export function helpAsRoff(help: string): string {
  const [usage = '', ...rest] = help.trimEnd().split('\n\n')
  return [usageOf(usage), ...rest.map(blockOf)].join('\n')
}

function usageOf(text: string): string {
  const lines = text.replace('Usage:', '      ').split(/\n {7}(?=\S)/)
  const joined = lines.map((line) => line.replaceAll(/\s+/g, ' ').trim())
  return joined.map((line) => `.PP\n.HP 4\n.B ${roff(line)}`).join('\n')
}

/** A list if its lines are options or words, each with what it does; else a paragraph. */
function blockOf(block: string): string {
  const lines = block.split('\n')
  const isList = lines.some((line) => OPTION.test(line))
  if (!isList) return `.PP\n${lines.map((line) => roff(line.trim())).join('\n')}`
  const made = lines.map((line) => {
    const [, name, says] = OPTION.exec(line) ?? []
    if (name !== undefined) return `.TP\n.B ${roff(name)}${says ? `\n${roff(says)}` : ''}`
    const [, more] = MORE.exec(line) ?? []
    return more === undefined ? `.PP\n${roff(line)}` : roff(more)
  })
  return made.join('\n')
}

/** Backslashes, hyphens that must be copied as such, and a dot or quote that would begin a request. */
export function roff(line: string): string {
  return line
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll('…', '\\&...')
    .replace(/^([.'])/, '\\&$1')
}
