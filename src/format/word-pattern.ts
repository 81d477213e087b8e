/**
 * Patterns of words: `*` stands for any characters, none among them. There is nothing to go back for: each part is
 * looked for behind the one before, so that a hostile word cannot make a pattern slow.
 */
export function fitsPattern(word: string, pattern: string): boolean {
  const [first = '', ...others] = pattern.split('*')
  const last = others.pop()
  if (last === undefined) return word === pattern
  if (word.length < first.length + last.length) return false
  if (!word.startsWith(first) || !word.endsWith(last)) return false
  const end = word.length - last.length
  let at = first.length
  for (const part of others) {
    const found = word.indexOf(part, at)
    if (found === -1 || found + part.length > end) return false
    at = found + part.length
  }
  return true
}
