/**
 * A kernel command line, read as Linux does (lib/cmdline.c, next_arg): blanks separate words, but not within double
 * quotes. Quotes are taken off, single ones too, since systemd does: a reader that left them on would look for
 * `init=*` and not see `"init=/bin/sh"`.
 */

// Those of the kernel's own table (lib/ctype.c), which has U+00A0 among them.
const BLANKS: ReadonlySet<string> = new Set(' \t\n\v\f\r\u00a0')

/**
 * The words, without quotes, with `_` for each `-` in the name: to the kernel both are one (parameq).
 *
 * @param line a character for each byte
 */
export function kernelWords(line: string): string[] {
  return quotedWords(line).map(plainWord)
}

// What the kernel takes quotes off: a whole word, or a value. It leaves all others in, and single ones.
const AS_KERNEL_READS = /^(?:[^"']*|"[^"']*"|[^"'=]+="[^"']*")$/

/**
 * The words, in the same spelling, that are sure to be parameters of the kernel: not what stands behind `--`, which is for
 * init (kernel/params.c, parse_args), nor behind the first end of a line, where the EFI stub ends (efi_convert_cmdline),
 * nor a word that only a reader without its quotes would know.
 */
export function kernelParameters(line: string): string[] {
  const [read = ''] = line.split(/[\0\n]/, 1)
  const words = quotedWords(read)
  const end = words.findIndex((word) => /^"?--"?$/.test(word))
  return words
    .slice(0, end === -1 ? words.length : end)
    .filter((word) => AS_KERNEL_READS.test(word))
    .map(plainWord)
}

function quotedWords(line: string): string[] {
  const words: string[] = []
  let word = ''
  let isQuoted = false
  for (const character of line) {
    if (character === '"') isQuoted = !isQuoted
    if (isQuoted || !BLANKS.has(character)) word += character
    else {
      if (word !== '') words.push(word)
      word = ''
    }
  }
  if (word !== '') words.push(word)
  return words
}

/** A pattern of such words, in the same spelling. */
export function kernelWordPattern(pattern: string): string {
  return withOneSpelling(pattern)
}

function plainWord(word: string): string {
  return withOneSpelling(word.replaceAll(/["']/g, ''))
}

function withOneSpelling(word: string): string {
  const equals = word.indexOf('=')
  const name = equals === -1 ? word : word.slice(0, equals)
  return name.replaceAll('-', '_') + word.slice(name.length)
}
